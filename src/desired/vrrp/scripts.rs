//! The check scripts: the seed's two, made safe, and the operator's own.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::desired::build::{Build, TextFile};
use crate::desired::error::DesiredError;
use crate::desired::escape::Syntax;
use crate::desired::nginx;
use crate::inventory::{Script, ScriptKind};
use crate::state::Stage;

/// Where SELinux's policy lets keepalived's scripts run unconfined (facts: scripts elsewhere may not call systemctl).
const DIRECTORY: &str = "/usr/libexec/keepalived";
const RESTART: &str = "usr/libexec/keepalived/RESTART.sh.tera";
const HTTP: &str = "usr/libexec/keepalived/HTTP.sh.tera";

/// Seconds that the restart check spends on everything but starting nginx: killing a start that hangs, and waiting for
/// the process to show up.
const RESTART_OVERHEAD: u32 = 3;

/// What the template of an HTTP check is given.
#[derive(Serialize)]
struct HttpView<'a> {
    name: &'a str,
    url: String,
    try_timeout: u32,
    tries: u32,
    pause: u32,
}

/// What the template of the check that restarts nginx is given.
#[derive(Serialize)]
struct RestartView<'a> {
    name: &'a str,
    unit: &'a str,
    binary: Option<&'a str>,
    process: String,
    start_timeout: u32,
}

/// Command line of each script, in order of writing; scripts that hapair renders are added to the state.
pub(crate) fn add(build: &mut Build, scripts: &[Script]) -> Result<Vec<String>, DesiredError> {
    let mut taken = BTreeSet::new();
    let mut commands = Vec::new();
    for script in scripts {
        let rendered = match &script.kind {
            ScriptKind::Command { command } => {
                build.guard(
                    Syntax::KeepalivedQuoted,
                    &format!("script {}: command", script.name),
                    command,
                )?;
                commands.push(command.clone());
                continue;
            }
            ScriptKind::Http {
                url,
                try_timeout,
                tries,
                pause,
            } => {
                let url = url
                    .clone()
                    .or_else(|| nginx::health_url(build.inventory))
                    .ok_or_else(|| {
                        build.impossible(
                            format!(
                                "script {} has no url, and hapair renders no nginx with a health location",
                                script.name
                            ),
                            "write `url` for the script, or `nginx.servers`",
                        )
                    })?;
                let view = HttpView {
                    name: &script.name,
                    url,
                    try_timeout: *try_timeout,
                    tries: *tries,
                    pause: *pause,
                };
                build.render(HTTP, &view)?
            }
            ScriptKind::Restart { unit, binary } => {
                let view = RestartView {
                    name: &script.name,
                    unit: unit.as_deref().unwrap_or("nginx.service"),
                    binary: binary.as_deref(),
                    process: binary.as_deref().map_or_else(|| "nginx".to_owned(), process_name),
                    start_timeout: script.timeout.saturating_sub(RESTART_OVERHEAD).max(1),
                };
                build.render(RESTART, &view)?
            }
        };
        let path = format!("{DIRECTORY}/{}", file_name(&script.name, &mut taken));
        build.push_file(
            Stage::Vrrp,
            TextFile {
                path: &path,
                content: rendered,
                mode: 0o755,
                validator: None,
                reactions: Vec::new(),
            },
        );
        commands.push(path);
    }
    Ok(commands)
}

/// What the kernel calls a process of a program, as a pattern for pgrep(1): 15 bytes of its file name.
fn process_name(program: &str) -> String {
    let file = program.rsplit('/').next().unwrap_or(program);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '.'
        }
    };
    file.chars().take(15).map(plain).collect()
}

/// A file name for a script: never one that contains `nginx`, whatever the case, because `pgrep nginx` would find the
/// check itself (the seed's warning), and never the same twice.
fn file_name(script: &str, taken: &mut BTreeSet<String>) -> String {
    let mut stem: String = script
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    // Replacing may bring two halves together; each round shortens the name, so this ends.
    while let Some(at) = stem.to_ascii_lowercase().find("nginx") {
        stem.replace_range(at..at + 5, "ng");
    }
    let mut name = format!("{stem}.sh");
    let mut n = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-{n}.sh");
        n += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_seed_name_becomes_the_seed_file() {
        let mut taken = BTreeSet::new();
        assert_eq!(file_name("check_nginx", &mut taken), "check_ng.sh");
        assert_eq!(file_name("check_ng", &mut taken), "check_ng-2.sh");
    }

    #[test]
    fn a_program_has_the_name_of_its_process() {
        assert_eq!(process_name("/usr/local/nginx/sbin/nginx"), "nginx");
        assert_eq!(process_name("/opt/a+b/nginx++.of-long-name"), "nginx...of-long");
    }

    proptest! {
        #[test]
        fn no_file_name_contains_nginx(names in prop::collection::vec("(a|nginx|NgInX|ngi|nx|_|-| |/){1,6}", 1..6)) {
            let mut taken = BTreeSet::new();
            let files: Vec<String> = names.iter().map(|n| file_name(n, &mut taken)).collect();
            for file in &files {
                prop_assert!(!file.to_ascii_lowercase().contains("nginx"), "{file}");
                prop_assert!(!file.contains(['/', ' ']), "{file}");
            }
            let distinct: BTreeSet<_> = files.iter().collect();
            prop_assert_eq!(distinct.len(), files.len());
        }
    }
}
