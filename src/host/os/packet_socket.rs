//! Packets of one interface below this host's own packet filter (packet(7)). The kernel puts the Ethernet header on and takes it off.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use crate::agent::sys;
use crate::state::arp::Mac;

/// Most packets that one wait returns: a flood must not keep its reader from looking at the clock.
const MOST: usize = 256;

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// A packet socket that is bound to one interface.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
    index: i32,
    ethertype: u16,
    /// Most bytes of a packet that are read.
    room: usize,
}

/// A packet that arrived.
#[derive(Debug)]
pub(super) struct Packet {
    /// Without its Ethernet header.
    pub(super) bytes: Vec<u8>,
    /// `PACKET_HOST`, `PACKET_OUTGOING` and the like.
    pub(super) kind: u8,
}

impl PacketSocket {
    /// A socket for packets of this EtherType on the interface of this number. `prepare` is done before anything can arrive.
    ///
    /// # Errors
    /// A system call failed: not root, or there is no such interface.
    pub(super) fn open(
        index: i32,
        ethertype: u16,
        room: usize,
        prepare: impl FnOnce(&PacketSocket) -> io::Result<()>,
    ) -> io::Result<PacketSocket> {
        // Protocol 0: nothing is received before the bind names interface and protocol.
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?;
        let socket = PacketSocket {
            fd,
            index,
            ethertype,
            room,
        };
        prepare(&socket)?;
        sys::bind(&socket.fd, &socket.address())?;
        Ok(socket)
    }

    /// Sets an option of the socket.
    pub(super) fn set<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        sys::set(&self.fd, level, name, value)
    }

    /// Where packets arrive from, and are sent to everybody.
    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: sockaddr_ll is plain data and valid when zeroed.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = self.ethertype.to_be();
        address.sll_ifindex = self.index;
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&Mac::BROADCAST.0);
        address
    }

    /// Sends a packet to everybody on the segment.
    pub(super) fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        let to = self.address();
        // SAFETY: both pointers and lengths are those of values that outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const to).cast(),
                ADDRESS_LENGTH,
            )
        };
        check(sent).map(drop)
    }

    /// Waits for packets, and returns those that are there: none when the time is over.
    pub(super) fn receive(&self, wait: Duration) -> io::Result<Vec<Packet>> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // Rounded up, so that the last fraction of a millisecond does not spin.
        let milliseconds = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: one valid pollfd, and the count says one.
        let ready = check(unsafe { libc::poll(&raw mut poll, 1, milliseconds) } as isize);
        if let Err(error) = ready
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        let mut packets = Vec::new();
        while packets.len() < MOST {
            match self.next() {
                Ok(packet) => packets.push(packet),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(packets)
    }

    fn next(&self) -> io::Result<Packet> {
        let mut bytes = vec![0_u8; self.room];
        // SAFETY: sockaddr_ll is plain data and valid when zeroed.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = ADDRESS_LENGTH;
        // SAFETY: pointers and lengths are those of `bytes`, `from` and `length`, which outlive the call.
        let got = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        bytes.truncate(check(got)?);
        Ok(Packet {
            bytes,
            kind: from.sll_pkttype,
        })
    }
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
