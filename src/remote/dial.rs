//! The byte stream under SSH: TCP with dead-peer detection, or a child process for ProxyJump and ProxyCommand.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::config::{Proxy, Resolved};
use super::deadline::{Cutter, Deadline};
use super::tail::Tail;
use super::wire::set_nonblocking;
use crate::state::Error;

/// Idle time before the kernel asks whether the peer lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
/// Between such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Unanswered ones until the connection is dead.
const KEEPALIVE_RETRIES: u32 = 3;
/// Unacknowledged data that old means the connection is dead (tcp(7), TCP_USER_TIMEOUT).
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected stream, owned by the SSH session.
#[derive(Debug)]
pub(super) enum Socket {
    /// Straight to the host.
    Tcp(TcpStream),
    /// To a child process.
    Unix(UnixStream),
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// The child that carries a proxied connection; killed when dropped.
#[derive(Debug)]
pub(super) struct ProxyChild {
    child: Child,
    errors: Option<std::process::ChildStderr>,
}

impl ProxyChild {
    /// What the child wrote to its stderr so far, for messages.
    pub(super) fn complaint(&mut self) -> String {
        use std::io::Read;
        let mut tail = Tail::new(2048);
        if let Some(errors) = &mut self.errors {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = errors.read(&mut buffer) {
                tail.push(&buffer[..n]);
            }
        }
        tail.last_lines(3)
    }
}

impl Drop for ProxyChild {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let group = self.child.id().cast_signed();
            // SAFETY: plain system call; the child leads this process group and has not been waited for.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.wait();
    }
}

/// Connects: every address the name has is tried in turn, within what is left of the deadline.
pub(super) fn dial(to: &Resolved, deadline: &Deadline) -> Result<(Socket, Option<ProxyChild>), Error> {
    let (socket, child) = match &to.proxy {
        None => (Socket::Tcp(dial_tcp(to, deadline)?), None),
        Some(proxy) => {
            deadline.stage(format!("connecting through {proxy}"));
            let (stream, child) = dial_proxy(to, proxy)?;
            (Socket::Unix(stream), Some(child))
        }
    };
    let cutter = match &socket {
        Socket::Tcp(stream) => stream.try_clone().map(Cutter::Tcp),
        Socket::Unix(stream) => stream.try_clone().map(Cutter::Unix),
    };
    let cutter = cutter.map_err(|e| {
        Error::new("cannot duplicate the socket")
            .because(e)
            .hint("raise `ulimit -n`")
    })?;
    deadline.attach(cutter);
    Ok((socket, child))
}

fn dial_tcp(to: &Resolved, deadline: &Deadline) -> Result<TcpStream, Error> {
    let (address, port) = (to.address.as_str(), to.port);
    deadline.stage(format!("resolving {address}"));
    let addresses: Vec<_> = (address, port)
        .to_socket_addrs()
        .map_err(|e| {
            Error::new(format!("cannot resolve {address}"))
                .because(e)
                .hint("check `address` of the host in the inventory, or the resolver of this machine")
        })?
        .collect();
    let mut failures = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        deadline.stage(format!("connecting to {address}"));
        // What is left is shared, so that a silent first address does not starve the second.
        let left = deadline.remaining().unwrap_or(USER_TIMEOUT) / (addresses.len() - index) as u32;
        let left = to.connect_timeout.map_or(left, |limit| left.min(limit));
        let failure = match left.is_zero() {
            true => io::Error::from(io::ErrorKind::TimedOut),
            false => match TcpStream::connect_timeout(address, left) {
                Ok(stream) => {
                    tune(&stream).map_err(|e| Error::new("cannot set socket options").because(e))?;
                    return Ok(stream);
                }
                Err(e) => e,
            },
        };
        failures.push((address, failure));
    }
    let hint = match failures.first().map(|(_, e)| e.kind()) {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("the machine answers, but nothing listens there: is sshd running, and on port {port}?")
        }
        _ => "is the machine up and on this network? try `ssh` by hand to see whether the fault is hapair's".to_owned(),
    };
    let what: Vec<String> = failures.iter().map(|(a, e)| format!("{a}: {}", plain(e))).collect();
    let what = if what.is_empty() {
        format!("{address} has no address")
    } else {
        what.join("; ")
    };
    Err(Error::new(format!("cannot connect to {what}")).hint(hint))
}

/// The system's message without Rust's `(os error N)`.
fn plain(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        return "no answer in time".to_owned();
    }
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A peer that vanished is noticed within about 6 s, idle or not.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let alive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

fn dial_proxy(to: &Resolved, proxy: &Proxy) -> Result<(UnixStream, ProxyChild), Error> {
    let broken = |e: io::Error| {
        Error::new(format!("cannot start {proxy}"))
            .because(e)
            .hint("raise `ulimit -n` or `-u`")
    };
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let mut command = match proxy {
        Proxy::Jump { through, ssh_options } => {
            let mut command = Command::new("ssh");
            // It has no terminal to ask on: a question would be a hang.
            command
                .args(["-o", "BatchMode=yes"])
                .args(ssh_options)
                .args(jump_arguments(through, to));
            command
        }
        Proxy::Command(line) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("exec {line}"));
            command
        }
    };
    let input: OwnedFd = theirs.try_clone().map_err(broken)?.into();
    command
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped());
    // A group of its own: it dies with our connection, not with the terminal's Ctrl-C.
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::new(format!(
            "{proxy} needs the OpenSSH client, and `ssh` is not installed on this machine"
        ))
        .hint("install openssh-client(s), or give the host an address that is reachable directly"),
        _ => broken(e),
    })?;
    let errors = child.stderr.take();
    if let Some(errors) = &errors {
        set_nonblocking(errors.as_raw_fd()).map_err(broken)?;
    }
    Ok((ours, ProxyChild { child, errors }))
}

/// `ssh`'s arguments for the last of a comma separated list of jump hosts, reached through the others.
fn jump_arguments(through: &str, to: &Resolved) -> Vec<String> {
    let (before, last) = match through.rsplit_once(',') {
        Some((before, last)) => (Some(before), last),
        None => (None, through),
    };
    let (user, rest) = match last.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, last),
    };
    let rest = rest.strip_prefix("ssh://").unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (rest, None),
        },
    };
    let mut out = Vec::new();
    for (flag, value) in [
        ("-J", before),
        ("-l", user.map(|u| u.trim_start_matches("ssh://"))),
        ("-p", port),
    ] {
        if let Some(value) = value {
            out.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    out.extend([
        "-W".to_owned(),
        format!("[{}]:{}", to.address, to.port),
        "--".to_owned(),
        host.to_owned(),
    ]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_become_arguments() {
        let to = Resolved {
            address: "10.0.0.1".into(),
            port: 22,
            ..Resolved::default()
        };
        let line = |through| jump_arguments(through, &to).join(" ");
        assert_eq!(line("bastion"), "-W [10.0.0.1]:22 -- bastion");
        assert_eq!(line("me@bastion:2222"), "-l me -p 2222 -W [10.0.0.1]:22 -- bastion");
        assert_eq!(
            line("a,me@[fe80::1]:22"),
            "-J a -l me -p 22 -W [10.0.0.1]:22 -- fe80::1"
        );
        assert_eq!(line("ssh://me@bastion:2"), "-l me -p 2 -W [10.0.0.1]:22 -- bastion");
    }
}
