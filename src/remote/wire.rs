//! What a conversation runs over: the channel of an SSH session, or a child process.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

/// Which of the peer's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Frames.
    Out,
    /// Everything else.
    Err,
}

/// How the peer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Exit status.
    Exited(i32),
    /// Killed by this signal: `KILL`.
    Signalled(String),
    /// It closed its output and nobody said why.
    Unknown,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "ended with status {status}"),
            Ending::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Ending::Unknown => f.write_str("closed the connection"),
        }
    }
}

/// Non-blocking bytes both ways. `WouldBlock` means: wait as [`Wire::waits_for`] says.
pub(super) trait Wire {
    /// Reads; 0 is the end of that stream.
    fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes some of it. After `WouldBlock` the next call must begin with the same bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Bytes have arrived that no descriptor will announce.
    fn has_queued(&self) -> bool;
    /// Descriptors and events for poll(2).
    fn waits_for(&self, want_write: bool) -> Vec<(RawFd, libc::c_short)>;
    /// After the end of output: how it ended; `None`: not known yet.
    fn ending(&mut self) -> Option<Ending>;
    /// Provokes a sign of life; false when this kind of wire needs none.
    fn probe(&mut self) -> bool;
    /// Ends it, politely if that costs nothing.
    fn hang_up(&mut self);
}

/// The channel of an SSH session.
pub(super) struct SshWire {
    // Order matters: the channel is freed before the session.
    channel: ssh2::Channel,
    session: ssh2::Session,
}

impl SshWire {
    /// Takes over an executed channel; the session becomes non-blocking.
    pub(super) fn new(session: ssh2::Session, channel: ssh2::Channel) -> SshWire {
        session.set_blocking(false);
        session.set_keepalive(true, 2);
        SshWire { channel, session }
    }

    /// Ends this channel and gives the session back, blocking again, for another.
    pub(super) fn into_session(mut self) -> ssh2::Session {
        self.session.set_blocking(true);
        // A failure shows at once in the next call on the session.
        let _ = self.channel.close();
        self.session
    }
}

impl Wire for SshWire {
    fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let id = match stream {
            Stream::Out => 0,
            Stream::Err => ssh2::EXTENDED_DATA_STDERR,
        };
        match self.channel.stream(id).read(buffer) {
            // libssh2 also says 0 when the other stream got all that arrived.
            Ok(0) if !self.channel.eof() => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.channel.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }

    fn has_queued(&self) -> bool {
        self.channel.read_window().available > 0
    }

    fn waits_for(&self, _want_write: bool) -> Vec<(RawFd, libc::c_short)> {
        use ssh2::BlockDirections::{Both, Outbound};
        // A full SSH window is reopened by a packet that arrives, so wanting to write is no reason to wait for POLLOUT;
        // a full socket is, and then libssh2 says so.
        let outbound = matches!(self.session.block_directions(), Both | Outbound);
        let events = if outbound {
            libc::POLLIN | libc::POLLOUT
        } else {
            libc::POLLIN
        };
        vec![(self.session.as_raw_fd(), events)]
    }

    fn ending(&mut self) -> Option<Ending> {
        if let Err(e) = self.channel.wait_close() {
            let again = io::Error::from(e).kind() == io::ErrorKind::WouldBlock;
            return if again { None } else { Some(Ending::Unknown) };
        }
        // The signal first: exit_status() says 0 after a kill.
        if let Ok(ssh2::ExitSignal {
            exit_signal: Some(signal),
            ..
        }) = self.channel.exit_signal()
        {
            return Some(Ending::Signalled(signal));
        }
        Some(self.channel.exit_status().map_or(Ending::Unknown, Ending::Exited))
    }

    fn probe(&mut self) -> bool {
        use ssh2::BlockDirections::{Both, Outbound};
        // Not with a packet half sent: libssh2 cannot resume a keepalive that did not fit into the socket.
        if !matches!(self.session.block_directions(), Both | Outbound) {
            let _ = self.session.keepalive_send();
        }
        true
    }

    fn hang_up(&mut self) {
        let _ = self.session.disconnect(None, "done", None);
    }
}

/// A child process' standard streams.
pub(super) struct ChildWire {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
}

impl ChildWire {
    /// Starts the command.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn spawn(mut command: Command) -> io::Result<ChildWire> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let wire = ChildWire {
            input: Some(child.stdin.take().ok_or_else(missing)?),
            output: child.stdout.take().ok_or_else(missing)?,
            errors: child.stderr.take().ok_or_else(missing)?,
            child,
        };
        for fd in [wire.output.as_raw_fd(), wire.errors.as_raw_fd()] {
            set_nonblocking(fd)?;
        }
        if let Some(input) = &wire.input {
            set_nonblocking(input.as_raw_fd())?;
        }
        Ok(wire)
    }
}

impl Drop for ChildWire {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Wire for ChildWire {
    fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match stream {
            Stream::Out => self.output.read(buffer),
            Stream::Err => self.errors.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn has_queued(&self) -> bool {
        false
    }

    fn waits_for(&self, want_write: bool) -> Vec<(RawFd, libc::c_short)> {
        let mut out = vec![
            (self.output.as_raw_fd(), libc::POLLIN),
            (self.errors.as_raw_fd(), libc::POLLIN),
        ];
        if let (true, Some(input)) = (want_write, &self.input) {
            out.push((input.as_raw_fd(), libc::POLLOUT));
        }
        out
    }

    fn ending(&mut self) -> Option<Ending> {
        use std::os::unix::process::ExitStatusExt;
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Exited(code),
                (None, Some(signal)) => Ending::Signalled(signal.to_string()),
                (None, None) => Ending::Unknown,
            }),
            Err(_) => Some(Ending::Unknown),
        }
    }

    fn probe(&mut self) -> bool {
        false
    }

    fn hang_up(&mut self) {
        drop(self.input.take());
    }
}

/// Sets O_NONBLOCK on a descriptor that the standard library has no such call for.
pub(super) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system call on a descriptor that the caller owns.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
