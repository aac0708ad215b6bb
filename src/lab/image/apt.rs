//! Where the image's Debian packages come from: this machine's own apt, its sources and how it reaches them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::error::{Doing, LabError};
use crate::lab::{process, requirements};

/// This machine's own sources for the image's release, as (extension, text); empty: mmdebstrap's default.
pub(super) fn apt_sources() -> Result<Vec<(&'static str, String)>, LabError> {
    let mut found = Vec::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(requirements::files_in(Path::new("/etc/apt/sources.list.d"))?);
    for file in files.iter().filter(|f| f.is_file()) {
        let extension = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => "list",
            Some("sources") => "sources",
            _ => continue,
        };
        let text = fs::read_to_string(file).at("read", file)?;
        let kept = if extension == "list" {
            wanted_lines(&text)
        } else {
            wanted_stanzas(&text)
        };
        if !kept.is_empty() {
            found.push((extension, kept));
        }
    }
    // Only updates and no release: the default mirror is the better answer.
    let whole = found
        .iter()
        .any(|(_, text)| text.split_whitespace().any(|word| word == SUITE));
    Ok(if whole { found } else { Vec::new() })
}

/// The release itself, its updates and its security fixes; not third parties' suites and not backports.
fn is_wanted_suite(suite: &str) -> bool {
    suite
        .strip_prefix(SUITE)
        .is_some_and(|rest| matches!(rest, "" | "-updates" | "-security"))
}

/// One-line sources: `deb [options] URI SUITE COMPONENT…`.
fn wanted_lines(text: &str) -> String {
    let keep = |line: &&str| {
        let mut words = line.split_whitespace().peekable();
        if words.next() != Some("deb") {
            return false;
        }
        if words.peek().is_some_and(|w| w.starts_with('[')) {
            while words.next().is_some_and(|w| !w.ends_with(']')) {}
        }
        let (_uri, suite) = (words.next(), words.next());
        suite.is_some_and(is_wanted_suite) && words.any(|component| component == "main")
    };
    text.lines()
        .map(str::trim)
        .filter(keep)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// deb822 sources: stanzas all of whose suites are wanted.
fn wanted_stanzas(text: &str) -> String {
    let mut stanzas: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines() {
        if line.trim().is_empty() {
            stanzas.push(Vec::new());
        } else if !line.starts_with('#') {
            stanzas.last_mut().expect("never empty").push(line);
        }
    }
    let field = |stanza: &[&str], name: &str| {
        stanza.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let keep = |stanza: &&Vec<&str>| {
        let suites = field(stanza, "Suites").unwrap_or_default();
        let components = field(stanza, "Components").unwrap_or_default();
        let types = field(stanza, "Types").unwrap_or_default();
        field(stanza, "Enabled").is_none_or(|e| !e.eq_ignore_ascii_case("no"))
            && types.split_whitespace().any(|t| t == "deb")
            && !suites.is_empty()
            && suites.split_whitespace().all(is_wanted_suite)
            && components.split_whitespace().any(|c| c == "main")
    };
    stanzas
        .iter()
        .filter(keep)
        .map(|stanza| format!("{}\n\n", stanza.join("\n")))
        .collect()
}

/// How this machine's apt reaches its sources: proxies, certificates, timeouts.
pub(super) fn apt_options() -> Result<String, LabError> {
    let dump = process::run("apt-config", ["dump"])?;
    let mut options = String::from("APT::Install-Recommends \"false\";\nAcquire::Retries \"3\";\n");
    options.push_str(&transport_options(&String::from_utf8_lossy(&dump.stdout)));
    Ok(options)
}

fn transport_options(dump: &str) -> String {
    const WANTED: [&str; 6] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Retries ",
        "Acquire::ForceIPv4 ",
        "Acquire::ForceIPv6 ",
        "Acquire::Check-Valid-Until ",
    ];
    dump.lines()
        .filter(|line| {
            WANTED
                .iter()
                .any(|w| line.get(..w.len()).is_some_and(|start| start.eq_ignore_ascii_case(w)))
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Debian release of the image; its versions are the ones the facts were tried with.
pub(super) const SUITE: &str = "bookworm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_distributions_own_sources_are_used() {
        let list = "# comment\ndeb http://mirror.example/debian bookworm main contrib\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian-security bookworm-security main\n\
                    deb [arch=amd64] https://download.docker.example/linux/debian bookworm stable\n\
                    deb http://apt.postgresql.example/pub bookworm-pgdg main\n\
                    deb http://mirror.example/debian bookworm-backports main\n";
        assert_eq!(
            wanted_lines(list),
            "deb http://mirror.example/debian bookworm main contrib\n\
             deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian-security bookworm-security main\n"
        );
        let sources = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                       Components: main\n\nTypes: deb\nURIs: https://deb.nodesource.example/node\nSuites: nodistro\n\
                       Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://x.example\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            wanted_stanzas(sources),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n"
        );
    }

    #[test]
    fn proxies_and_certificates_travel_into_the_build() {
        let dump = "APT \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::https::CAInfo \"/etc/ca.pem\";\nAcquire::IndexTargets::deb \"\";\n";
        assert_eq!(
            transport_options(dump),
            "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::CAInfo \"/etc/ca.pem\";\n"
        );
    }
}
