//! The command lines of the two execs, and becoming root around them.
//!
//! sudo is asked with a prompt of our own making, unique to the connection: the password is sent when that prompt is
//! seen and never before, so it cannot land in the executor's input where sudo does not ask, and a second prompt tells
//! that it was wrong. Where sudo asks, this costs one round trip.

use super::wire::Ending;
use crate::state::Error;

/// How the executor becomes root on one connection.
#[derive(Debug, Clone)]
pub(super) struct Become {
    /// Through sudo at all.
    pub(super) sudo: bool,
    /// On a pseudo terminal, where sudoers has `requiretty`.
    pub(super) pty: bool,
    /// sudo's prompt.
    pub(super) prompt: String,
}

impl Become {
    /// For one connection.
    pub(super) fn new(sudo: bool) -> Become {
        use std::hash::{BuildHasher, Hasher};
        // Need not be secret, only absent from what hosts print: any fresh number will do.
        let nonce = std::hash::RandomState::new().build_hasher().finish();
        Become {
            sudo,
            pty: false,
            prompt: format!("hapair-sudo-{nonce:016x}: "),
        }
    }

    /// A POSIX shell script as a command line that any login shell understands.
    pub(super) fn command_line(&self, script: &str) -> String {
        let script = format!("LC_ALL=C; export LC_ALL; {script}");
        // A terminal would turn newlines, echo our frames, and stop at 4096 bytes a line.
        let script = if self.pty {
            format!("stty raw -echo 2>/dev/null; {script}")
        } else {
            script
        };
        if !self.sudo {
            return format!("exec /bin/sh -c {}", quote(&script));
        }
        let inner = format!(
            "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/bin:/usr/local/bin; \
             exec sudo -S -p {} -- /bin/sh -c {}",
            quote(&self.prompt),
            quote(&script)
        );
        format!("exec /bin/sh -c {}", quote(&inner))
    }
}

/// Single quotes for a POSIX shell; csh and fish read them the same way as long as no `!` is inside.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What sudo's complaint means.
#[derive(Debug)]
pub(super) enum SudoTrouble {
    /// Try again on a pseudo terminal.
    NeedsTty,
    /// Told to the operator.
    Fatal(Error),
}

/// Recognises sudo's own complaints, in the C locale.
pub(super) fn sudo_trouble(output: &str, ending: &Ending, user: &str) -> Option<SudoTrouble> {
    let has = |needle: &str| output.contains(needle);
    if has("you must have a tty to run sudo") || has("a terminal is required to read the password") {
        return Some(SudoTrouble::NeedsTty);
    }
    let fatal = |message: String, hint: String| Some(SudoTrouble::Fatal(Error::new(message).hint(hint)));
    let rule = format!("as root: echo '{user} ALL=(ALL) ALL' > /etc/sudoers.d/{user}; chmod 440 /etc/sudoers.d/{user}");
    if has("is not in the sudoers file") {
        return fatal(format!("{user} may not use sudo: it is not in the sudoers file"), rule);
    }
    if has("is not allowed to execute") || has("may not run sudo") || has("is not allowed to run sudo") {
        return fatal(format!("sudo does not allow {user} to run the executor as root"), rule);
    }
    let missing = has("sudo: not found") || has("sudo: command not found") || has("sudo: No such file");
    if missing && *ending == Ending::Exited(127) {
        return fatal(
            "sudo is not installed on the host".to_owned(),
            "install sudo there, or log in as root and leave `ssh.become` out".to_owned(),
        );
    }
    if has("account validation failure") || has("password is expired") || has("password expired") {
        return fatal(
            format!("sudo refuses {user}: the account or its password has expired"),
            "log in once by hand and change it".to_owned(),
        );
    }
    if has("must be owned by uid 0 and have the setuid bit set") || has("no new privileges") {
        return fatal(
            "sudo on the host cannot become root".to_owned(),
            "repair sudo on the host".to_owned(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_survives_a_shell() {
        for sudo in [false, true] {
            let mut become_root = Become::new(sudo);
            become_root.pty = true;
            let line = become_root.command_line("echo \"it's $((1+1))\"; echo 'a  b'");
            // A stand-in for sudo that runs what comes after `--`.
            let dir = tempfile::tempdir().unwrap();
            let fake = dir.path().join("sudo");
            std::fs::write(
                &fake,
                "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
            )
            .unwrap();
            std::process::Command::new("chmod")
                .arg("755")
                .arg(&fake)
                .status()
                .unwrap();
            let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
            let out = std::process::Command::new("sh")
                .arg("-c")
                .arg(&line)
                .env("PATH", path)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "it's 2\na  b\n", "{line}");
        }
    }

    #[test]
    fn sudo_complaints() {
        let at = |text: &str, status| sudo_trouble(text, &Ending::Exited(status), "admin");
        assert!(matches!(
            at("sudo: sorry, you must have a tty to run sudo", 1),
            Some(SudoTrouble::NeedsTty)
        ));
        let message = |text: &str, status| match at(text, status) {
            Some(SudoTrouble::Fatal(error)) => error.message,
            other => panic!("{text}: {other:?}"),
        };
        assert!(message("admin is not in the sudoers file.  This incident will be reported.", 1).contains("sudoers"));
        assert!(message("/bin/sh: 1: exec: sudo: not found", 127).contains("sudo is not installed"));
        assert!(message("/bin/sh: line 0: exec: sudo: not found", 127).contains("sudo is not installed"));
        assert!(at("whatever", 1).is_none());
    }
}
