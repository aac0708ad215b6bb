//! Packages and package groups, by `yum` or `dnf`.

use std::time::Duration;

use crate::host::change::reactions;
use crate::host::change::staging::Worker;
use crate::host::os::error::{Error, Result};
use crate::host::os::exec::{self, Output};
use crate::host::os::rpm_erase;
use crate::host::record::undo::Undo;
use crate::state::Reaction;

/// A slow mirror and "Development Tools" together.
const INSTALL: Duration = Duration::from_secs(45 * 60);

/// The package manager: `yum` everywhere (on 8 and later it is dnf under its old name).
///
/// # Errors
/// Neither is installed.
pub fn manager() -> Result<String> {
    exec::which(&["yum", "dnf"]).ok_or_else(|| Error::new("neither yum nor dnf is installed on this host"))
}

pub(crate) fn install(worker: &mut Worker<'_>, names: &[String], repositories: &[String]) -> Result<()> {
    reactions::now(worker, &Reaction::MakeCache)?;
    let mut args = vec!["-y".to_owned()];
    if !repositories.is_empty() {
        args.push("--disablerepo=*".into());
        args.extend(repositories.iter().map(|r| format!("--enablerepo={r}")));
    }
    args.push("install".into());
    args.extend(names.iter().cloned());
    transaction(worker, &args, names)
}

pub(crate) fn group(worker: &mut Worker<'_>, name: &str, missing: &[String]) -> Result<()> {
    reactions::now(worker, &Reaction::MakeCache)?;
    let args = ["-y", "groupinstall", name].map(str::to_owned);
    transaction(worker, &args, missing)?;
    // yum calls a group that was once marked as installed done, whatever has been removed since.
    let absent = still_missing(missing);
    if absent.is_empty() {
        Ok(())
    } else {
        install(worker, &absent, &[])
    }
}

fn still_missing(names: &[String]) -> Vec<String> {
    let lacks = |name: &&String| !exec::run("rpm", &["-q", name], Duration::from_secs(60)).is_ok_and(|o| o.ok());
    names.iter().filter(lacks).cloned().collect()
}

/// `names`: what was missing before.
fn transaction(worker: &mut Worker<'_>, args: &[String], names: &[String]) -> Result<()> {
    let is_group = args.iter().any(|a| a == "groupinstall");
    let program = manager()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Before: a run that is killed meanwhile must not forget what it was about to install.
    worker.undo.add(&Undo::Installed {
        packages: names.to_vec(),
    })?;
    let before = rpm_erase::everything();
    let journal = &mut worker.journal;
    journal.log(&format!("{program} {}", args.join(" ")));
    let output = exec::run_lines(&program, &args, INSTALL, &mut |line| journal.log(line))?;
    if let (Some(before), Some(after)) = (before, rpm_erase::everything()) {
        let new = after.difference(&before).filter(|name| !names.contains(name));
        let packages: Vec<String> = new.cloned().collect();
        if !packages.is_empty() {
            worker.undo.add(&Undo::CameAlong { packages })?;
        }
    }
    if !output.ok() {
        return Err(explain(&program, &args.join(" "), &output, INSTALL));
    }
    let absent = if is_group { Vec::new() } else { still_missing(names) };
    if absent.is_empty() {
        return Ok(());
    }
    // yum 3 exits 0 when only some of the names were found.
    Err(no_such(&absent.join(" ")))
}

fn no_such(names: &str) -> Error {
    Error::new(format!("no such package in the enabled repositories: {names}"))
        .hint("check the name, and `repositories` in the inventory; `yum repolist` on the host shows what is enabled")
}

/// Turns the package manager's output into what failed and what to do.
pub fn explain(program: &str, args: &str, output: &Output, limit: Duration) -> Error {
    let text = format!("{}\n{}", output.stdout, output.stderr);
    let line = |needles: &[&str]| {
        text.lines()
            .find(|l| needles.iter().any(|n| l.contains(n)))
            .map(|l| l.trim().to_owned())
    };
    if output.timed_out {
        return exec::failed(program, &[args], output, limit).hint("a mirror that stalls: try another one");
    }
    if let Some(found) = line(&[
        "No package ",
        "Unable to find a match",
        "No match for argument",
        "Nothing to do",
    ]) {
        let names = found
            .trim_start_matches("Error: ")
            .trim_start_matches("Unable to find a match: ")
            .trim_start_matches("No match for argument: ")
            .trim_start_matches("No package ")
            .trim_end_matches(" available.");
        return no_such(names);
    }
    if let Some(found) = line(&[
        "GPG check FAILED",
        "is not signed",
        "Public key for",
        "GPG key",
        "not trusted",
        "NOKEY",
    ]) {
        return Error::new(format!("a package's signature does not check: {found}"))
            .hint("the repository's `gpgkey` must name the key that signed it; nothing was installed");
    }
    if let Some(found) = line(&["No space left", "At least", "needs more space", "Disk Requirements"]) {
        return Error::new(format!("not enough disk space to install packages: {found}"))
            .hint("free some space (`yum clean all` empties the cache) and apply again");
    }
    if let Some(found) = line(&[
        "Could not resolve host",
        "Couldn't resolve host",
        "Cannot find a valid baseurl",
        "Cannot download repomd",
        "Failed to download metadata",
        "Cannot retrieve",
        "Failed connect",
        "Connection timed out",
        "HTTP Error",
        "Curl error",
        "Status code:",
        "Connection refused",
        "Errno 14",
        "Errno 256",
    ]) {
        return Error::new(format!("a package repository cannot be used: {found}"))
            .hint("one dead enabled repository breaks every command of yum: check its address and the host's DNS")
            .hint("`repositories: {base: vault}` serves releases whose mirrors are gone (CentOS 7 since 2024)");
    }
    if let Some(found) = line(&[
        "Another app is currently holding",
        "Waiting for process",
        "Failed to obtain",
    ]) {
        return Error::new(format!("the package manager is locked: {found}")).hint("wait for the other one to end");
    }
    exec::failed(program, &[args], output, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_a_reason() {
        for (text, reason) in [
            (
                "No package nginxx available.\nError: Nothing to do",
                "no such package in the enabled repositories: nginxx",
            ),
            (
                "Error: Unable to find a match: nope",
                "no such package in the enabled repositories: nope",
            ),
            (
                "Could not retrieve mirrorlist\n14: curl#6 - \"Could not resolve host: mirrorlist.centos.org\"",
                "a package repository cannot be used",
            ),
            (
                "Package nginx-1.rpm is not signed\n",
                "a package's signature does not check",
            ),
            (
                "  At least 12MB more space needed on the / filesystem.",
                "not enough disk space",
            ),
        ] {
            let output = Output {
                code: Some(1),
                stderr: text.into(),
                ..Output::default()
            };
            let error = explain("yum", "install x", &output, INSTALL);
            assert!(error.message.starts_with(reason), "{error}");
        }
    }
}
