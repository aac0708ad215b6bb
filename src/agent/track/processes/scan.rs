//! Who runs, by /proc.

use std::fs;

use crate::keepalived::{ParamMatch, TrackProcess};

/// Every living process that a rule means.
pub(super) fn all(rule: &TrackProcess) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| matches(rule, *pid)).collect()
}

/// A living process (no zombie) that the rule means.
pub(super) fn matches(rule: &TrackProcess, pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // pid (comm) state …; the name may itself hold parentheses.
    let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
        return false;
    };
    if matches!(stat[close + 1..].trim_start().chars().next(), Some('Z' | 'X') | None) {
        return false;
    }
    let name = &stat[open + 1..close];
    // Most have another name: their command lines, each a page of their memory, need not be read.
    if !rule.full_command && !same_name(rule, name) {
        return false;
    }
    if !rule.full_command && rule.params == ParamMatch::Any {
        return true;
    }
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let line = String::from_utf8_lossy(&line);
    let args: Vec<&str> = line.split('\0').filter(|a| !a.is_empty()).collect();
    same_command(rule, name, &args)
}

/// The kernel keeps 15 bytes of a name.
fn same_name(rule: &TrackProcess, name: &str) -> bool {
    let wanted = rule.process.first().map_or("", |p| p.rsplit('/').next().unwrap_or(p));
    name == wanted || (wanted.len() > 15 && wanted.as_bytes().get(..15) == Some(name.as_bytes()))
}

fn same_command(rule: &TrackProcess, name: &str, args: &[&str]) -> bool {
    let named = if rule.full_command {
        args.first().copied() == rule.process.first().map(String::as_str)
    } else {
        same_name(rule, name)
    };
    let (wanted, got) = (rule.process.get(1..).unwrap_or(&[]), args.get(1..).unwrap_or(&[]));
    named
        && match rule.params {
            // The whole command line is meant: no parameters are parameters too.
            ParamMatch::Any if rule.full_command => wanted == got,
            ParamMatch::Any => true,
            ParamMatch::Exact => wanted == got,
            ParamMatch::Partial => got.len() >= wanted.len() && wanted == &got[..wanted.len()],
            ParamMatch::Initial => match (wanted.split_last(), got.split_last()) {
                (Some((last, wanted)), Some((got_last, got))) => wanted == got && got_last.starts_with(last.as_str()),
                (wanted, got) => wanted.is_none() && got.is_none(),
            },
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(words: &[&str], params: ParamMatch) -> TrackProcess {
        TrackProcess {
            process: words.iter().map(|w| (*w).to_owned()).collect(),
            params,
            ..crate::agent::track::processes::tracker::tests::rule("t", "x")
        }
    }

    #[test]
    fn parameters_match_as_asked() {
        let exact = rule(&["/usr/bin/p", "-c", "a"], ParamMatch::Exact);
        assert!(same_command(&exact, "p", &["/bin/p", "-c", "a"]));
        assert!(!same_command(&exact, "p", &["p", "-c", "a", "b"]));
        assert!(!same_command(&exact, "q", &["p", "-c", "a"]));
        let partial = rule(&["p", "-c"], ParamMatch::Partial);
        assert!(same_command(&partial, "p", &["p", "-c", "a"]));
        assert!(!same_command(&partial, "p", &["p"]));
        let initial = rule(&["p", "-c", "/etc/"], ParamMatch::Initial);
        assert!(same_command(&initial, "p", &["p", "-c", "/etc/p.conf"]));
        assert!(!same_command(&initial, "p", &["p", "-d", "/etc/p.conf"]));
        assert!(!same_command(&initial, "p", &["p"]));
        let none = rule(&["p"], ParamMatch::Exact);
        assert!(same_command(&none, "p", &["p"]) && !same_command(&none, "p", &["p", "-c"]));
    }

    #[test]
    fn a_long_name_is_known_by_what_the_kernel_keeps_of_it() {
        let long = rule(&["/usr/sbin/a-very-long-process-name"], ParamMatch::Any);
        assert!(same_name(&long, "a-very-long-pro") && !same_name(&long, "a-very-long"));
    }
}
