//! A netlink socket and its datagrams.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use crate::agent::os::sys;

/// Where a datagram is read into: the kernel cuts the answer to a question to what is read at once.
pub(super) fn buffer() -> Box<[u8]> {
    vec![0; 16 * 1024].into()
}

pub(super) fn open(groups: u32) -> io::Result<OwnedFd> {
    let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    // SAFETY: all zero is a valid sockaddr_nl.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = groups;
    sys::room(&fd, sys::Buffer::Receive, sys::BURST)?;
    sys::room(&fd, sys::Buffer::Send, sys::BURST)?;
    sys::bind(&fd, &address)?;
    Ok(fd)
}

/// The same error once more, as far as errors can be copied.
pub(super) fn another(error: &io::Error) -> io::Error {
    let code = error.raw_os_error().map(io::Error::from_raw_os_error);
    code.unwrap_or_else(|| io::Error::new(error.kind(), error.to_string()))
}

/// Reads one datagram. Returns its whole length, also if it is longer than the buffer; `None`: there is none.
pub(super) fn datagram(fd: RawFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: pointer and length describe `buffer`.
        let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_TRUNC) };
        if got >= 0 {
            return Ok(Some(got as usize));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(None),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}
