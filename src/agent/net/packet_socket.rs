//! The daemon's packet socket: sends whole Ethernet frames (gratuitous ARP, neighbour advertisements) and hears ARP.
//!
//! There is one for both. When a process dies, the kernel waits an RCU grace period (about 10 ms) for each packet socket that it had
//! before it tells the parent; until then systemd does not run the stop step, and the peer of a crashed owner does not take over.

use std::os::fd::{AsRawFd, OwnedFd};
use std::{io, mem};

use libc::socklen_t;

use crate::agent::os::sys;

/// Bytes of the receive buffer: the kernel makes of it the least that it allows.
const ROOM: i32 = 2048;

/// A packet socket (packet(7)).
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    /// Whether ARP arrives: only once there is a filter.
    hears_arp: bool,
}

impl PacketSocket {
    /// A socket that sends.
    ///
    /// # Errors
    /// The system call's, e.g. without CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<PacketSocket> {
        // Protocol 0: nothing arrives.
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        sys::room(&fd, sys::Buffer::Send, sys::BURST)?;
        Ok(PacketSocket { fd, hears_arp: false })
    }

    /// Sends frames on an interface with one system call for about a thousand. The first error counts, the rest is tried.
    pub(crate) fn send(&self, index: u32, frames: &[&[u8]]) -> io::Result<()> {
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index as i32;
        to.sll_halen = 6;
        let mut iovs: Vec<libc::iovec> = frames.iter().map(|f| sys::iovec(f)).collect();
        let mut messages: Vec<libc::mmsghdr> = iovs
            .iter_mut()
            .map(|iov| {
                let mut m = sys::empty_message();
                m.msg_hdr.msg_name = (&raw mut to).cast();
                m.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_ll>() as socklen_t;
                m.msg_hdr.msg_iov = iov;
                m.msg_hdr.msg_iovlen = 1;
                m
            })
            .collect();
        // SAFETY: every pointer in `messages` is to a live local or to a frame, with its length.
        let failed = unsafe { sys::send_all(&self.fd, &mut messages) };
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// From now on ARP frames of every interface arrive that this filter (bpf(4), over the frame with its Ethernet header) lets pass.
    /// What this host sends does not come back to it.
    pub(crate) fn hear_arp(&mut self, filter: &[libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        sys::set(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        if self.hears_arp {
            return Ok(());
        }
        sys::set(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &ROOM)?;
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
        sys::bind(&self.fd, &address)?;
        self.hears_arp = true;
        Ok(())
    }

    /// The next frame that was heard: its first `N` bytes, and the number of its interface. Shorter frames are left out.
    /// Whatever goes wrong is as if there were none.
    pub(crate) fn receive<const N: usize>(&self) -> Option<(u32, [u8; N])> {
        let mut frame = [0u8; N];
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut length = mem::size_of::<libc::sockaddr_ll>() as socklen_t;
        // SAFETY: both pointers are to live locals, each with its length.
        let got = unsafe {
            let (fd, bytes) = (self.fd.as_raw_fd(), frame.as_mut_ptr().cast());
            let flags = libc::MSG_DONTWAIT;
            libc::recvfrom(fd, bytes, N, flags, (&raw mut from).cast(), &raw mut length)
        };
        (got == N as isize).then_some((from.sll_ifindex as u32, frame))
    }
}
