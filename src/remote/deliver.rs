//! The executor on the host: run it if it is there, else put it there.

use std::borrow::Cow;

use crate::state::hex::hex;

use super::escalate::quote;

/// Printed by the first exec where there is no executor.
pub(super) const MISSING: &str = "HAPAIR-MISSING";
/// Printed by the second exec when it is ready to take the bytes.
pub(super) const READY: &str = "HAPAIR-READY";
/// Printed with what failed.
pub(super) const FAILED: &str = "HAPAIR-FAILED";

/// The executor that is to be on the host.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The executable file.
    pub bytes: Cow<'static, [u8]>,
    /// Identifies the bytes; part of the file's name. Only ASCII letters and digits.
    pub hash: String,
    /// Where it lives: a directory that SELinux policy labels `bin_t`. No `'` and no white space.
    pub directory: String,
    /// What `uname -m` must say; `None`: it runs anywhere.
    pub architecture: Option<String>,
    /// Where the host has unit files, those of `systemd-run` among them. An older executor that one of them names is
    /// still to be run: by the timer of a hold (up to 30 days), of a drill, or of an unconfirmed change.
    pub unit_directories: Vec<String>,
}

/// Transient units are in the first (systemd 219) or the second, boot guards in the last.
const UNIT_DIRECTORIES: [&str; 3] = ["/run/systemd/system", "/run/systemd/transient", "/etc/systemd/system"];

impl Default for Payload {
    /// The agent that this program was built with.
    fn default() -> Payload {
        let path = crate::payload::executor_path();
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory).to_owned();
        Payload {
            bytes: Cow::Borrowed(crate::payload::AGENT),
            hash: crate::payload::agent_hash().to_owned(),
            directory,
            architecture: Some("x86_64".to_owned()),
            unit_directories: UNIT_DIRECTORIES.map(str::to_owned).to_vec(),
        }
    }
}

impl Payload {
    /// The executor's file on the host.
    pub fn path(&self) -> String {
        format!("{}/hapair-agent-{}", self.directory, self.hash)
    }

    /// Becomes the executor, or says that it is missing and on what machine.
    pub(super) fn run_script(&self) -> String {
        let path = quote(&self.path());
        format!("test -x {path} && exec {path} serve; echo {MISSING} `uname -m`")
    }

    /// Takes the bytes from standard input, proves that they run, puts them in place, and becomes the executor.
    ///
    /// One line of POSIX shell with coreutils only, without `!` (csh). Nothing is left behind on failure.
    pub(super) fn install_script(&self) -> String {
        use sha2::{Digest, Sha256};
        let sum = hex(&Sha256::digest(&self.bytes));
        let length = self.bytes.len();
        let directory = quote(&self.directory);
        let name = format!("hapair-agent-{}", self.hash);
        let units: Vec<String> = self.unit_directories.iter().map(|d| quote(d)).collect();
        let units = units.join(" ");
        [
            // The host's own PATH may lack the directories of root's tools.
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH; umask 022".to_owned(),
            format!("d={directory}; t=$d/.{name}.$$"),
            // What a command said goes to stderr by itself; the word says which step it was.
            format!("fail() {{ rm -f \"$t\"; echo \"{FAILED} $*\"; exit 1; }}"),
            "trap 'rm -f \"$t\"; exit 1' HUP INT TERM PIPE".to_owned(),
            "mkdir -p \"$d\" || fail mkdir".to_owned(),
            "(umask 077; : > \"$t\") || fail create".to_owned(),
            format!("echo {READY}"),
            format!("head -c {length} > \"$t\" || fail write"),
            format!("test `wc -c < \"$t\"` -eq {length} || fail short"),
            format!(
                "if command -v sha256sum >/dev/null 2>&1; then s=`sha256sum < \"$t\"`; \
                 test \"${{s%% *}}\" = {sum} || fail sum; fi"
            ),
            "chmod 755 \"$t\" || fail chmod".to_owned(),
            "\"$t\" --version </dev/null >/dev/null || fail run $?".to_owned(),
            // A file whose name lasts and whose bytes do not would be found after a power cut.
            "sync \"$t\" 2>/dev/null || sync".to_owned(),
            format!("mv -f \"$t\" \"$d/{name}\" || fail mv"),
            format!("if command -v restorecon >/dev/null 2>&1; then restorecon -F \"$d\" \"$d/{name}\"; fi"),
            // The newest two of the others stay: a transaction may still run from one. So do those that a unit names.
            format!(
                "ls -1t \"$d\" | grep '^hapair-agent-[0-9A-Za-z]*$' | grep -v '^{name}$' | tail -n +3 | \
                 while read o; do grep -rqsF \"$d/$o\" {units} || rm -f \"$d/$o\"; done"
            ),
            format!("exec \"$d/{name}\" serve"),
        ]
        .join("; ")
    }

    /// What a failed step means.
    pub(super) fn explain(&self, report: &str, stderr: &str) -> (String, String) {
        let mut words = report.split_ascii_whitespace();
        let step = words.next().unwrap_or_default();
        let directory = &self.directory;
        let said = if stderr.is_empty() {
            String::new()
        } else {
            format!(": {stderr}")
        };
        let full = stderr.contains("No space left");
        if full || step == "short" {
            let hint = format!("free some space on the file system of {directory} on the host: df -h {directory}");
            return (format!("cannot put the executor into {directory}{said}"), hint);
        }
        match step {
            "mkdir" | "create" | "write" | "chmod" | "mv" => (
                format!("cannot put the executor into {directory} ({step}){said}"),
                "is the login root (else set `ssh.become`), and the file system writable?".to_owned(),
            ),
            "sum" => (
                "the executor arrived damaged".to_owned(),
                "try again; if it happens again, check the memory and disk of the host".to_owned(),
            ),
            "run" if words.next() == Some("126") => (
                format!("the executor may not be run from {directory}{said}"),
                format!(
                    "the file system is mounted noexec, or a policy (fapolicyd) forbids it: findmnt -T {directory}"
                ),
            ),
            _ => (
                format!("the executor does not run on the host ({report}){said}"),
                "look at it by hand".to_owned(),
            ),
        }
    }
}
