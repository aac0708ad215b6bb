//! `vrrp_track_process`: who runs, by /proc.

use std::fs;
use std::time::Duration;

use crate::keepalived::{Config, TrackProcess};
use crate::vrrp::Time;

/// Between two looks at the processes that are known.
const LOOK: Duration = Duration::from_millis(200);

struct Tracked {
    rule: TrackProcess,
    pids: Vec<u32>,
    good: bool,
    /// Since when the other state has been seen.
    differs_since: Option<Time>,
}

/// All tracked processes.
#[derive(Default)]
pub(super) struct Processes {
    all: Vec<Tracked>,
    next: Option<Time>,
}

impl Processes {
    /// Rules of a configuration; the first look counts at once.
    pub(super) fn configure(&mut self, config: &Config, now: Time) {
        self.all = config
            .track_processes
            .iter()
            .map(|rule| Tracked {
                rule: rule.clone(),
                pids: Vec::new(),
                good: true,
                differs_since: None,
            })
            .collect();
        self.next = (!self.all.is_empty()).then_some(now + LOOK);
        for tracked in &mut self.all {
            tracked.pids = scan(&tracked.rule);
            tracked.good = tracked.pids.len() >= tracked.rule.quorum as usize;
        }
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        self.next
    }

    pub(super) fn good(&self, name: &str) -> bool {
        self.all.iter().find(|t| t.rule.name == name).is_none_or(|t| t.good)
    }

    /// Looks, if it is time. Returns whether something changed.
    pub(super) fn tick(&mut self, now: Time) -> bool {
        if self.next.is_none_or(|at| now < at) {
            return false;
        }
        self.next = Some(now + LOOK);
        let mut changed = false;
        for t in &mut self.all {
            t.pids.retain(|pid| matches(&t.rule, *pid));
            let quorum = t.rule.quorum as usize;
            // Only who misses somebody has to look at every process.
            if t.pids.len() < quorum {
                t.pids = scan(&t.rule);
            }
            let seen = t.pids.len() >= quorum;
            if seen == t.good {
                t.differs_since = None;
                continue;
            }
            let since = *t.differs_since.get_or_insert(now);
            let delay = if seen {
                t.rule.fork_delay
            } else {
                t.rule.terminate_delay
            };
            if now >= since + delay {
                (t.good, t.differs_since) = (seen, None);
                changed = true;
            }
        }
        changed
    }
}

fn scan(rule: &TrackProcess) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| matches(rule, *pid)).collect()
}

/// A living process (no zombie) of that name.
fn matches(rule: &TrackProcess, pid: u32) -> bool {
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
    if rule.full_command {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else {
            return false;
        };
        let args = line
            .split(|b| *b == 0)
            .filter(|a| !a.is_empty())
            .map(String::from_utf8_lossy);
        return args.eq(rule.process.iter().map(|p| std::borrow::Cow::Borrowed(p.as_str())));
    }
    // The kernel keeps 15 bytes of a name.
    let wanted = rule.process.first().map_or("", |p| p.rsplit('/').next().unwrap_or(p));
    let name = &stat[open + 1..close];
    name == wanted || (wanted.len() > 15 && wanted.as_bytes().get(..15) == Some(name.as_bytes()))
}
