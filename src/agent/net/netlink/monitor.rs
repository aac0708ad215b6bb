//! What the kernel tells unasked: changes of interfaces and addresses.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::link::Change;
use super::message::{change, split};
use super::socket::{buffer, datagram, open};

/// A socket that tells of changes.
#[derive(Debug)]
pub(crate) struct Monitor {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Monitor {
    /// Opens it. A caller that reads the state after this misses no change.
    pub(crate) fn open() -> io::Result<Monitor> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        Ok(Monitor {
            fd: open(groups as u32)?,
            buffer: buffer(),
        })
    }

    /// Every change that waits.
    pub(crate) fn changes(&mut self) -> io::Result<Vec<Change>> {
        let mut all = Vec::new();
        loop {
            match datagram(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(None) => return Ok(all),
                Ok(Some(got)) => match self.buffer.get(..got) {
                    Some(whole) => split(whole, &mut |header, body| all.extend(change(header.kind, body))),
                    // It was cut off: whatever it was about is not known.
                    None => all.push(Change::Overrun),
                },
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => all.push(Change::Overrun),
                Err(e) => return Err(e),
            }
        }
    }
}

/// For epoll.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
