//! The host's thread: everything about one connection, in order.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ssh2::{MethodType, Session};
use tokio::sync::{mpsc, oneshot};

use super::ask::Ask;
use super::auth::authenticate;
use super::config::{Resolved, resolve};
use super::deadline::Deadline;
use super::dial::{ProxyChild, dial};
use super::error::{RemoteError, RemoteErrorKind};
use super::framed::{Conversation, Patience};
use super::handshake::Opening;
use super::hostkey::Known;
use super::target::{Escalate, Target};
use super::tuning::Tuning;
use super::wire::{ChildWire, Wire};
use crate::state::{Error, Facts, Reply, Request};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(800);

/// To the thread.
pub(super) enum Order {
    /// A frame with its newline.
    Send(Vec<u8>),
    /// Say goodbye and end.
    Close,
}

/// What the open conversation told first.
pub(super) struct Opened {
    /// Of the host.
    pub(super) facts: Facts,
    /// Fingerprint; empty for a local child.
    pub(super) host_key: String,
}

/// Where the result of opening goes: the thread's, or the watchdog's when the thread does not come back.
pub(super) struct Report(Mutex<Option<oneshot::Sender<Result<Opened, RemoteError>>>>);

impl Report {
    pub(super) fn new(to: oneshot::Sender<Result<Opened, RemoteError>>) -> Arc<Report> {
        Arc::new(Report(Mutex::new(Some(to))))
    }

    /// The first word counts; false: there was one, or nobody listens any more.
    pub(super) fn tell(&self, result: Result<Opened, RemoteError>) -> bool {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        sender.is_some_and(|sender| sender.send(result).is_ok())
    }
}

/// The thread's ends of everything.
pub(super) struct Ends {
    /// The host's name in the inventory.
    pub(super) host: String,
    /// Watchdog.
    pub(super) deadline: Arc<Deadline>,
    /// First result.
    pub(super) report: Arc<Report>,
    /// From the link.
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// To the link.
    pub(super) replies: mpsc::UnboundedSender<Reply>,
    /// Why it ended, for later requests.
    pub(super) failure: Arc<Mutex<Option<RemoteError>>>,
    /// Readable when there are orders.
    pub(super) woken: UnixStream,
    /// Dropped when all is over.
    pub(super) finished: oneshot::Sender<()>,
}

impl Ends {
    /// A failure while opening. After the deadline the reason is the deadline, whatever broke because of the cut.
    fn unreachable(&self, within: Duration, failure: Error) -> RemoteError {
        if self.deadline.expired() {
            return timed_out(&self.host, within, &self.deadline);
        }
        failure.with_kind(RemoteErrorKind::Unreachable).at_host(&self.host)
    }
}

/// The error of a deadline that passed.
pub(super) fn timed_out(host: &str, within: Duration, deadline: &Deadline) -> RemoteError {
    let message = format!("no answer within {:.0?} while {}", within, deadline.current_stage());
    RemoteError::on(host, RemoteErrorKind::Unreachable, message)
        .hint("is the host overloaded, or something between here and there dropping packets?")
}

/// Over SSH, from dialling to goodbye.
pub(super) fn run_ssh(ends: Ends, target: &Target, ask: &dyn Ask, tuning: &Tuning) {
    let within = target.connect_timeout;
    match open_ssh(&ends, target, ask, tuning) {
        Ok((conversation, opened, child)) => {
            converse(ends, conversation, opened);
            drop(child);
        }
        Err(failure) => {
            let error = ends.unreachable(within, failure);
            ends.deadline.cut();
            ends.report.tell(Err(error));
        }
    }
}

type OpenSsh = (Conversation<super::wire::SshWire>, Opened, Option<ProxyChild>);

fn open_ssh(ends: &Ends, target: &Target, ask: &dyn Ask, tuning: &Tuning) -> Result<OpenSsh, Error> {
    let deadline = &*ends.deadline;
    deadline.stage("reading the ssh configuration");
    let to = resolve(target, tuning).map_err(|e| e.hint("correct it, or try `ssh -G` by hand"))?;
    let known = Known::read(&to, target.pinned_host_key.as_deref())?;
    let (socket, mut child) = dial(&to, deadline)?;
    deadline.stage("exchanging keys");
    let mut session = Session::new().map_err(|e| Error::new(format!("libssh2: {}", e.message())))?;
    // Fails only for lists without a single algorithm that libssh2 has.
    let _ = session.method_pref(MethodType::HostKey, &known.preferred_algorithms());
    session.set_tcp_stream(socket);
    if let Err(e) = session.handshake() {
        return Err(handshake_failure(&e, &to, child.as_mut()));
    }
    let blob = session.host_key().map(|(blob, _)| blob.to_vec()).unwrap_or_default();
    let host_key = known.check(&blob, to.strict, ask, deadline)?;
    authenticate(&session, &to, target.password.as_ref(), ask, deadline)?;
    let sudo_password = match &target.escalate {
        Escalate::Sudo(password) => password.as_ref(),
        Escalate::No => None,
    };
    let opening = Opening {
        payload: &tuning.payload,
        user: &to.user,
        sudo_password,
        ask,
        host: &ends.host,
        deadline,
        patience: patience(tuning),
    };
    // root needs no sudo even where the inventory allows it.
    let sudo = matches!(target.escalate, Escalate::Sudo(_)) && to.user != "root";
    let (conversation, facts) = opening.over_ssh(session, &ends.woken, sudo)?;
    Ok((conversation, Opened { facts, host_key }, child))
}

fn patience(tuning: &Tuning) -> Patience {
    Patience {
        probe_after: tuning.probe_after,
        give_up_after: tuning.give_up_after,
    }
}

fn handshake_failure(error: &ssh2::Error, to: &Resolved, child: Option<&mut ProxyChild>) -> Error {
    // LIBSSH2_ERROR_KEX_FAILURE, KEY_EXCHANGE_FAILURE: no method in common.
    if matches!(error.code(), ssh2::ErrorCode::Session(-5 | -8)) {
        return Error::new(format!(
            "{} port {}: no key exchange method in common ({})",
            to.address,
            to.port,
            error.message()
        ))
        .hint("servers older than OpenSSH 6.5 (CentOS 6) offer SHA-1 only and cannot be reached");
    }
    if let (Some(child), Some(proxy)) = (child, &to.proxy) {
        let complaint = child.complaint();
        let said = if complaint.is_empty() {
            String::new()
        } else {
            format!(": {complaint}")
        };
        return Error::new(format!(
            "{proxy} gives no connection to {} port {}{said}",
            to.address, to.port
        ))
        .hint("it cannot ask for anything here: make the connection work by hand first, with keys in the SSH agent");
    }
    Error::new(format!(
        "{} port {} does not speak SSH: {}",
        to.address,
        to.port,
        error.message()
    ))
    .hint("check that this is sshd's port; sshd also hangs up on too many connections at once (MaxStartups)")
}

/// Over a child process' standard streams.
pub(super) fn run_local(ends: Ends, command: std::process::Command, ask: &dyn Ask, within: Duration, tuning: &Tuning) {
    let opened = (|| {
        let program = command.get_program().to_string_lossy().into_owned();
        let broken = |e: std::io::Error| Error::new(format!("cannot run {program}")).because(e);
        let wire = ChildWire::spawn(command).map_err(broken)?;
        let woken = ends.woken.try_clone().map_err(broken)?;
        ends.deadline.stage("waiting for the executor's first frame");
        let mut conversation = Conversation::new(wire, woken, None, patience(tuning));
        let opening = Opening {
            payload: &tuning.payload,
            user: "",
            sudo_password: None,
            ask,
            host: &ends.host,
            deadline: &ends.deadline,
            patience: patience(tuning),
        };
        let facts = opening.over(&mut conversation)?;
        Ok((
            conversation,
            Opened {
                facts,
                host_key: String::new(),
            },
        ))
    })();
    match opened {
        Ok((conversation, opened)) => converse(ends, conversation, opened),
        Err(failure) => {
            let error = ends.unreachable(within, failure);
            ends.report.tell(Err(error));
        }
    }
}

/// Frames both ways until somebody hangs up.
fn converse<W: Wire>(mut ends: Ends, mut conversation: Conversation<W>, opened: Opened) {
    ends.deadline.disarm();
    if ends.report.tell(Ok(opened)) {
        let failure = exchange(&mut ends, &mut conversation);
        if let Some(error) = failure {
            *ends.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        } else {
            say_goodbye(&mut conversation);
        }
    }
    conversation.wire.hang_up();
    // Before the session is freed: freeing a living one waits for the peer.
    ends.deadline.cut();
    drop(conversation);
    let _ = ends.finished.send(());
}

/// `None`: we are the ones who want to end.
fn exchange<W: Wire>(ends: &mut Ends, conversation: &mut Conversation<W>) -> Option<RemoteError> {
    let lost = |ends: &Ends, conversation: &Conversation<W>, what: String| {
        let said = conversation.stderr.last_lines(3);
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(" (its last output: {said})")
        };
        let error = RemoteError::on(&ends.host, RemoteErrorKind::Lost, format!("{what}{said}"));
        Some(error.hint("work that was begun continues on the host; run the same command again to see the result"))
    };
    loop {
        let turn = match conversation.turn(None) {
            Ok(turn) => turn,
            Err(e) => return lost(ends, conversation, format!("the connection broke: {e}")),
        };
        for line in turn.lines {
            match serde_json::from_slice::<Reply>(&line) {
                Ok(reply) => {
                    let _ = ends.replies.send(reply);
                }
                Err(e) if line.starts_with(b"{\"reply\"") => {
                    return lost(
                        ends,
                        conversation,
                        format!("the host sent a frame that cannot be read: {e}"),
                    );
                }
                // Somebody else wrote to the executor's output: on a terminal, its own stderr.
                Err(_) => {
                    conversation.stderr.push(&line);
                    conversation.stderr.push(b"\n");
                }
            }
        }
        if let Some(ending) = turn.ended {
            return lost(ends, conversation, format!("the executor {ending}"));
        }
        loop {
            match ends.orders.try_recv() {
                Ok(Order::Send(frame)) => conversation.send(&frame),
                Ok(Order::Close) | Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => break,
            }
        }
    }
}

fn say_goodbye<W: Wire>(conversation: &mut Conversation<W>) {
    if let Ok(mut frame) = serde_json::to_vec(&Request::Bye) {
        frame.push(b'\n');
        conversation.send(&frame);
    }
    let end = Instant::now() + GOODBYE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match conversation.turn(Some(left)) {
            Ok(turn) if turn.ended.is_none() && !left.is_zero() => {}
            _ => return,
        }
    }
}
