//! `yum` or `dnf`: which one, and what its output means.

use std::time::Duration;

use crate::host::os::error::{Error, Result};
use crate::host::os::exec::{self, Output};

/// The package manager: `yum` everywhere (on 8 and later it is dnf under its old name).
///
/// # Errors
/// Neither is installed.
pub fn manager() -> Result<String> {
    exec::which(&["yum", "dnf"]).ok_or_else(|| Error::new("neither yum nor dnf is installed on this host"))
}

pub(crate) fn no_such(names: &str) -> Error {
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
        return exec::failed(program, &[args], output, limit).hint("the mirror may be stalled: try another one");
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
        return Error::new(format!("a package's signature check failed: {found}"))
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
            .hint("one unreachable enabled repository breaks every yum command: check its address and the host's DNS")
            .hint("`repositories: {base: vault}` serves releases whose mirrors are gone (CentOS 7 since 2024)");
    }
    if let Some(found) = line(&[
        "Another app is currently holding",
        "Waiting for process",
        "Failed to obtain",
    ]) {
        return Error::new(format!("the package manager is locked: {found}")).hint("wait for the other process to end");
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
                "a package's signature check failed",
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
            let error = explain("yum", "install x", &output, Duration::from_secs(60));
            assert!(error.message.starts_with(reason), "{error}");
        }
    }
}
