//! Address changes, from the kernel as they happen (netlink), not by polling.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::host::observe::facts::net;
use crate::host::os::clock;
use crate::host::serve::output::Output;
use crate::state::Reply;

/// A watch that runs until it is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reports which of these addresses are on the host: now, and whenever that changes.
///
/// # Errors
/// No netlink socket is to be had.
pub fn start(addresses: Vec<String>, output: Output) -> std::io::Result<Watch> {
    let socket = subscribe()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        let mut last: Option<Vec<String>> = None;
        while !stopped.load(Ordering::Relaxed) {
            let owned = net::owned(&addresses);
            if last.as_ref() != Some(&owned) {
                output.send(&Reply::Owned {
                    at_ms: clock::now_ms(),
                    addresses: owned.clone(),
                });
                last = Some(owned);
            }
            let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            // The time limit is for `stop`, and heals a message lost to a full socket buffer.
            if matches!(poll(&mut ready, PollTimeout::from(200_u16)), Ok(n) if n > 0) {
                drain(&socket);
            }
        }
    });
    Ok(Watch { stop })
}

/// A routing netlink socket that hears of addresses, IPv4 and IPv6 (rtnetlink(7)).
fn subscribe() -> std::io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain system calls; the descriptor is owned as soon as it is known to be one, and the address is
    // all zero but for what is set.
    unsafe {
        let raw = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        if raw < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(raw);
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        address.nl_groups = u32::try_from(libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR).unwrap_or_default();
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or_default();
        if libc::bind(raw, (&raw const address).cast(), length) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(socket)
    }
}

/// The messages only wake us: what is on the host is read afresh.
fn drain(socket: &OwnedFd) {
    let mut buffer = [0_u8; 8192];
    while matches!(nix::unistd::read(socket, &mut buffer), Ok(n) if n > 0) {}
}
