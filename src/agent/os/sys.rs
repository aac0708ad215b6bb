//! The system calls that neither std nor nix wraps as needed: sockets, their buffers, bursts of messages.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;
use std::{io, mem};

use libc::{c_int, c_void, socklen_t};

/// Time since boot without suspend (CLOCK_MONOTONIC): the clock of the state machine and of the timerfd.
pub(crate) fn now() -> Duration {
    clock(libc::CLOCK_MONOTONIC)
}

/// Time since 1970 (CLOCK_REALTIME), the clock of the kernel's time stamps: may jump.
pub(crate) fn real_time() -> Duration {
    clock(libc::CLOCK_REALTIME)
}

fn clock(which: libc::clockid_t) -> Duration {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(which, &mut ts) };
    Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain system call without pointers.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn set<T>(fd: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        let len = mem::size_of::<T>() as socklen_t;
        libc::setsockopt(fd.as_raw_fd(), level, name, (value as *const T).cast::<c_void>(), len)
    };
    check(result).map(drop)
}

/// Bytes for a burst: the announcements of 255 addresses, or their netlink messages, with the kernel's own overhead.
pub(crate) const BURST: i32 = 4 * 1024 * 1024;

/// One of a socket's buffers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Buffer {
    /// What waits to be sent.
    Send,
    /// What waits to be read.
    Receive,
}

/// Makes room in a buffer; without the privilege (CAP_NET_ADMIN) the kernel's limit holds.
pub(crate) fn room(fd: &OwnedFd, buffer: Buffer, bytes: i32) -> io::Result<()> {
    let (force, plain) = match buffer {
        Buffer::Send => (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        Buffer::Receive => (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
    };
    set(fd, libc::SOL_SOCKET, force, &bytes).or_else(|_| set(fd, libc::SOL_SOCKET, plain, &bytes))
}

/// Binds to, or is sent to, a kernel address structure.
pub(crate) fn bind<T>(fd: &OwnedFd, address: &T) -> io::Result<()> {
    // SAFETY: `address` is a socket address structure of its own size.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (address as *const T).cast::<libc::sockaddr>(),
            mem::size_of::<T>() as socklen_t,
        )
    };
    check(result).map(drop)
}

/// Bytes to be sent, as the kernel wants to be told.
pub(crate) fn iovec(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// A message without address, bytes or control data.
pub(crate) fn empty_message() -> libc::mmsghdr {
    // SAFETY: all zero is a valid mmsghdr.
    unsafe { mem::zeroed() }
}

/// Sends messages in order, by as few calls of sendmmsg(2) (Linux 3.0) as can be. Returns those that failed, by position.
///
/// # Safety
/// Every pointer in `messages` is to something that lives and has the length that stands beside it.
pub(crate) unsafe fn send_all(fd: &OwnedFd, messages: &mut [libc::mmsghdr]) -> Vec<(usize, io::Error)> {
    let (mut at, mut failed) = (0, Vec::new());
    while at < messages.len() {
        let rest = &mut messages[at..];
        // The system call itself: musl's function of that name is a loop around sendmsg(2), for fear of padding that is not
        // zero; ours is.
        // SAFETY: `rest` is an array of that many headers; what they point to is the caller's promise.
        let sent = unsafe {
            let (fd, flags) = (fd.as_raw_fd(), libc::MSG_NOSIGNAL);
            libc::syscall(libc::SYS_sendmmsg, fd, rest.as_mut_ptr(), rest.len(), flags)
        };
        if sent > 0 {
            at += sent as usize;
            continue;
        }
        // The call reports an error only of its first message.
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            failed.push((at, error));
            at += 1;
        }
    }
    failed
}
