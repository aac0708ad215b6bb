//! From a logged-in session to the executor's first frame.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use ssh2::{PtyModeOpcode, PtyModes, Session};

use super::ask::Ask;
use super::deadline::Deadline;
use super::deliver::{FAILED, MISSING, Payload, READY};
use super::escalate::{Become, SudoTrouble, sudo_trouble};
use super::framed::{Conversation, Patience, find};
use super::tail::Tail;
use super::wire::{Ending, SshWire, Wire};
use crate::state::frame::PROTOCOL;
use crate::state::{Error, Facts, Reply, Secret};

/// How an executor's greeting begins, whatever a login script printed before it on the same line.
const HELLO: &[u8] = b"{\"reply\":\"hello\"";
/// Where a stalled delivery counts as progressing: any byte within this time.
const DELIVERY_PROGRESS: Duration = Duration::from_secs(10);

/// What one exec led to.
enum Heard {
    Hello(Box<Facts>),
    /// No executor, on a machine of this architecture.
    Missing(String),
    /// It is there and did not greet; a fresh copy may.
    Unsound(String),
    /// sudo wants a terminal.
    NeedsTty,
}

/// One exec of the executor.
#[derive(Clone, Copy)]
struct Exec {
    /// Through sudo.
    sudo: bool,
    /// With the installer, which waits for the executor's bytes.
    delivering: bool,
}

/// What the dialogue before the first frame needs to know.
pub(super) struct Opening<'a> {
    /// The executor.
    pub(super) payload: &'a Payload,
    /// Login, for messages.
    pub(super) user: &'a str,
    /// sudo's password where the inventory has it.
    pub(super) sudo_password: Option<&'a Secret>,
    /// Asked where it has not.
    pub(super) ask: &'a dyn Ask,
    /// Of the host, for questions.
    pub(super) host: &'a str,
    /// Watchdog.
    pub(super) deadline: &'a Deadline,
    /// For the conversation.
    pub(super) patience: Patience,
}

impl Opening<'_> {
    /// Runs the executor, delivering it if need be: one exec where it is there already, else two.
    pub(super) fn over_ssh(
        &self,
        mut session: Session,
        woken: &UnixStream,
        sudo: bool,
    ) -> Result<(Conversation<SshWire>, Facts), Error> {
        let mut become_root = Become::new(sudo);
        let mut delivering = false;
        loop {
            let script = if delivering {
                self.payload.install_script()
            } else {
                self.payload.run_script()
            };
            self.deadline.stage(if delivering {
                "delivering the executor"
            } else {
                "starting the executor"
            });
            let channel = self.exec(&session, &become_root, &script)?;
            let woken = woken
                .try_clone()
                .map_err(|e| Error::new("cannot duplicate a socket").because(e))?;
            let prompt = sudo.then_some(become_root.prompt.as_str());
            let mut conversation = Conversation::new(SshWire::new(session, channel), woken, prompt, self.patience);
            let heard = self
                .listen(&mut conversation, Exec { sudo, delivering })
                .inspect_err(|_| {
                    // Before the channel is freed: freeing one of a living session waits for the peer.
                    conversation.wire.hang_up();
                    self.deadline.cut();
                })?;
            match heard {
                Heard::Hello(facts) => return Ok((conversation, *facts)),
                Heard::NeedsTty if !become_root.pty => become_root.pty = true,
                Heard::NeedsTty => {
                    return Err(Error::new("sudo requires a terminal and refuses the one it was given")
                        .hint(format!("as root on the host: Defaults:{} !requiretty", self.user)));
                }
                Heard::Missing(machine) => {
                    let wanted = self.payload.architecture.as_deref();
                    if let Some(wanted) = wanted.filter(|w| !machine.is_empty() && *w != machine) {
                        return Err(Error::new(format!(
                            "the host is {machine}, and this build of hapair serves {wanted} only"
                        ))
                        .hint("build hapair for that architecture"));
                    }
                    delivering = true;
                }
                Heard::Unsound(why) if delivering => return Err(Error::new(why).hint("look at it by hand")),
                Heard::Unsound(_) => delivering = true,
            }
            session = conversation.wire.into_session();
        }
    }

    /// Waits for the first frame of a local child.
    pub(super) fn over<W: Wire>(&self, conversation: &mut Conversation<W>) -> Result<Facts, Error> {
        let local = Exec {
            sudo: false,
            delivering: false,
        };
        match self.listen(conversation, local)? {
            Heard::Hello(facts) => Ok(*facts),
            Heard::Unsound(why) => Err(Error::new(why)),
            Heard::Missing(_) | Heard::NeedsTty => Err(Error::new("the executor is missing")),
        }
    }

    fn exec(&self, session: &Session, become_root: &Become, script: &str) -> Result<ssh2::Channel, Error> {
        let refused = |what: &str, e: &ssh2::Error| {
            Error::new(format!("the server refuses {what} after login: {}", e.message()))
                .hint("is the login's shell /sbin/nologin, or does sshd_config have ForceCommand or MaxSessions 0?")
        };
        let mut channel = session.channel_session().map_err(|e| refused("a session", &e))?;
        if become_root.pty {
            // No echo: a password must not come back as output; raw: what goes in comes out.
            let mut modes = PtyModes::new();
            use PtyModeOpcode::{ECHO, ECHONL, ICANON, ICRNL, IEXTEN, INLCR, ISIG, IXON, ONLCR, OPOST};
            for mode in [ECHO, ECHONL, ICANON, ICRNL, IEXTEN, INLCR, ISIG, IXON, ONLCR, OPOST] {
                modes.set_boolean(mode, false);
            }
            channel
                .request_pty("dumb", Some(modes), None)
                .map_err(|e| refused("a terminal", &e))?;
        }
        channel
            .exec(&become_root.command_line(script))
            .map_err(|e| refused("a command", &e))?;
        Ok(channel)
    }

    /// Reads until the greeting; answers sudo, feeds the installer.
    fn listen<W: Wire>(&self, conversation: &mut Conversation<W>, exec: Exec) -> Result<Heard, Error> {
        let delivering = exec.delivering;
        let mut junk = Tail::new(4096);
        let mut asked = 0;
        let mut failed: Option<String> = None;
        loop {
            let turn = conversation
                .turn(self.deadline.remaining())
                .map_err(|e| self.broken(&e, conversation, &junk))?;
            if self.deadline.is_cut() || self.deadline.remaining().is_some_and(|left| left.is_zero()) {
                let e = std::io::ErrorKind::TimedOut.into();
                return Err(self.broken(&e, conversation, &junk));
            }
            if delivering && turn.sent > 0 {
                self.deadline.extend(DELIVERY_PROGRESS);
            }
            for line in turn.lines {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if let Some(at) = find(&line, HELLO) {
                    conversation.no_more_prompts();
                    return Ok(self.greeting(&line[at..]));
                } else if let Some((_, machine)) = text.split_once(MISSING).filter(|_| !delivering) {
                    return Ok(Heard::Missing(machine.trim().to_owned()));
                } else if delivering && text.ends_with(READY) {
                    conversation.no_more_prompts();
                    conversation.send(&self.payload.bytes);
                    self.deadline.stage("waiting for the delivered executor's first frame");
                } else if let Some((_, report)) = text.split_once(FAILED).filter(|_| delivering) {
                    failed = Some(report.trim().to_owned());
                } else {
                    junk.push(&line);
                    junk.push(b"\n");
                }
            }
            if conversation.prompts() > asked {
                asked = conversation.prompts();
                self.answer_sudo(conversation, asked)?;
            }
            if let Some(ending) = turn.ended {
                if let Some(report) = failed {
                    let (message, hint) = self.payload.explain(&report, &conversation.stderr.last_lines(2));
                    return Err(Error::new(message).hint(hint));
                }
                junk.push(conversation.unfinished());
                return self.unexpected_end(conversation, exec, &junk, &ending);
            }
        }
    }

    fn answer_sudo<W: Wire>(&self, conversation: &mut Conversation<W>, prompts: usize) -> Result<(), Error> {
        let wrong = || {
            Error::new(format!(
                "sudo on the host does not accept the password of {}",
                self.user
            ))
            .hint("check `ssh.become.password`: sudo asks for the login's own password, not root's")
        };
        if prompts > 1 {
            return Err(wrong());
        }
        self.deadline.stage("waiting for sudo");
        let asked;
        let password = match self.sudo_password {
            Some(password) => password,
            None => {
                let prompt = format!("sudo password of {} on {}", self.user, self.host);
                asked = self.deadline.paused(|| self.ask.secret(&prompt)).ok_or_else(|| {
                    Error::new(format!(
                        "sudo on the host wants the password of {}, and none is given",
                        self.user
                    ))
                    .hint("give `ssh.become.password`, or allow it without: NOPASSWD in sudoers")
                })?;
                &asked
            }
        };
        if password.reveal().contains('\n') {
            return Err(wrong());
        }
        conversation.send(password.reveal().as_bytes());
        conversation.send(b"\n");
        Ok(())
    }

    fn greeting(&self, line: &[u8]) -> Heard {
        match serde_json::from_slice(line) {
            Ok(Reply::Hello {
                protocol: PROTOCOL,
                facts,
            }) => Heard::Hello(facts),
            Ok(Reply::Hello { protocol, .. }) => Heard::Unsound(format!(
                "the executor speaks version {protocol} of the protocol, not {PROTOCOL}"
            )),
            Ok(_) => Heard::Unsound("the executor's first frame is not a greeting".to_owned()),
            Err(e) => Heard::Unsound(format!("the executor's greeting cannot be read: {e}")),
        }
    }

    /// The exec ended before a greeting.
    fn unexpected_end<W: Wire>(
        &self,
        conversation: &Conversation<W>,
        exec: Exec,
        junk: &Tail,
        ending: &Ending,
    ) -> Result<Heard, Error> {
        let said = format!("{}\n{}", junk.text(), conversation.stderr.text());
        if exec.sudo {
            match sudo_trouble(&said, ending, self.user) {
                Some(SudoTrouble::NeedsTty) => return Ok(Heard::NeedsTty),
                Some(SudoTrouble::Fatal(error)) => return Err(error),
                None => {}
            }
        }
        let mut said = conversation.stderr.last_lines(3);
        if said.is_empty() {
            said = junk.last_lines(3);
        }
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        let what = format!("the executor {ending} before it printed anything{said}");
        match ending {
            // An empty or foreign file under the right name: what a shell makes of those.
            Ending::Exited(0 | 126 | 127) => Ok(Heard::Unsound(what)),
            _ => Err(Error::new(what)
                .hint("log in by hand and look whether the login's shell runs commands: ssh HOST echo ok")),
        }
    }

    fn broken<W: Wire>(&self, error: &std::io::Error, conversation: &Conversation<W>, junk: &Tail) -> Error {
        let mut said = conversation.stderr.last_lines(2).replace("hapair-sudo-", "");
        if said.is_empty() {
            said = junk.last_lines(2);
        }
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(" (the host said: {said})")
        };
        let stage = self.deadline.current_stage();
        Error::new(format!("the connection broke while {stage}: {error}{said}"))
    }
}
