//! rtnetlink(7): interfaces and addresses, read, changed in batches, watched.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::sys;

/// Interface address message (linux/if_addr.h).
const IFADDRMSG: usize = 8;
/// Interface message (linux/rtnetlink.h).
const IFINFOMSG: usize = 16;
const NLMSGHDR: usize = 16;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kernel's number.
    pub index: u32,
    /// `eth0`.
    pub name: String,
    /// Hardware address, if it is Ethernet-like.
    pub mac: Option<[u8; 6]>,
    /// Administratively up and with a carrier.
    pub running: bool,
}

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assigned {
    /// Interface number.
    pub index: u32,
    /// Address.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// An address to put on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAddress {
    /// Where and what.
    pub at: Assigned,
    /// IPv4 broadcast.
    pub broadcast: Option<IpAddr>,
    /// IPv4 label, at most 15 bytes.
    pub label: Option<String>,
    /// rtnetlink's scope.
    pub scope: u8,
    /// IPv6: seconds of being preferred; `None`: for ever.
    pub preferred: Option<u32>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface is new or different.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// An address is there.
    Address(Assigned),
    /// An address is gone.
    AddressGone(Assigned),
    /// The kernel dropped messages: read everything again.
    Overrun,
}

/// What the kernel has.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// By number.
    pub links: BTreeMap<u32, Link>,
    /// In the kernel's order: primary addresses first.
    pub addresses: Vec<Assigned>,
}

impl Links {
    /// The interface of that name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// Keeps up with a change; an overrun is the caller's.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(link) => drop(self.links.insert(link.index, link.clone())),
            Change::LinkGone(index) => {
                self.links.remove(index);
                self.addresses.retain(|a| a.index != *index);
            }
            Change::Address(a) if !self.addresses.contains(a) => self.addresses.push(*a),
            Change::AddressGone(a) => self.addresses.retain(|other| other != a),
            Change::Address(_) | Change::Overrun => {}
        }
    }
}

/// A socket for questions and changes.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// Messages of a batch.
const BATCH: usize = 256;

/// Where a datagram is read into: the kernel cuts the answer to a question to what is read at once.
fn buffer() -> Box<[u8]> {
    vec![0; 16 * 1024].into()
}

fn open(groups: u32) -> io::Result<OwnedFd> {
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

impl Netlink {
    /// Opens it.
    pub fn open() -> io::Result<Netlink> {
        Ok(Netlink {
            fd: open(0)?,
            sequence: 0,
            buffer: buffer(),
        })
    }

    /// Interfaces and addresses as they are now.
    pub fn read(&mut self) -> io::Result<Links> {
        let mut all = Links::default();
        for (kind, body) in [(libc::RTM_GETLINK, IFINFOMSG), (libc::RTM_GETADDR, IFADDRMSG)] {
            let mut message = Message::new(kind, libc::NLM_F_REQUEST | libc::NLM_F_DUMP, self.next());
            message.bytes.resize(NLMSGHDR + body, 0);
            self.send(&message.finish())?;
            let mut done = false;
            while !done {
                let mut error = None;
                self.receive(|kind, _, body| match i32::from(kind) {
                    libc::NLMSG_DONE => done = true,
                    libc::NLMSG_ERROR => error = error_of(body),
                    _ => {
                        if let Some(change) = change(kind, body) {
                            all.apply(&change);
                        }
                    }
                })?;
                if let Some(error) = error {
                    return Err(error);
                }
            }
        }
        Ok(all)
    }

    /// Adds addresses, all in one batch. What is there already is no error. The first error counts, the rest is tried.
    pub fn add(&mut self, addresses: &[NewAddress]) -> io::Result<()> {
        self.batch(addresses, libc::EEXIST, |a, flags, sequence| {
            add_message(a, flags | libc::NLM_F_CREATE | libc::NLM_F_EXCL, sequence)
        })
    }

    /// Removes addresses, all in one batch. What is not there is no error.
    pub fn remove(&mut self, addresses: &[Assigned]) -> io::Result<()> {
        self.batch(addresses, libc::EADDRNOTAVAIL, |a, flags, sequence| {
            let mut m = Message::new(libc::RTM_DELADDR, flags, sequence);
            m.address_header(a, 0, 0);
            m.ip(libc::IFA_LOCAL, a.ip);
            m.ip(libc::IFA_ADDRESS, a.ip);
            m
        })
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends the messages that `one` makes, as one batch. The kernel has done everything when the call returns; only the
    /// last message asks for an acknowledgement, so that it answers once and else for errors alone.
    fn batch<T>(&mut self, items: &[T], harmless: i32, one: impl Fn(&T, i32, u32) -> Message) -> io::Result<()> {
        let mut first = None;
        // The answers to one batch must fit into our receive buffer.
        for part in items.chunks(BATCH) {
            let mut bytes = Vec::with_capacity(part.len() * 64);
            for (n, item) in part.iter().enumerate() {
                let ack = if n + 1 == part.len() { libc::NLM_F_ACK } else { 0 };
                let sequence = self.next();
                bytes.extend(one(item, libc::NLM_F_REQUEST | ack, sequence).finish());
            }
            self.send(&bytes)?;
            let last = self.sequence;
            let mut open = true;
            while open {
                self.receive(|kind, sequence, body| {
                    if i32::from(kind) == libc::NLMSG_ERROR {
                        open &= sequence != last;
                        let error = error_of(body);
                        let gone = error.as_ref().and_then(io::Error::raw_os_error) == Some(libc::ENODEV);
                        if let Some(error) = error.filter(|e| e.raw_os_error() != Some(harmless) && !gone) {
                            first.get_or_insert(error);
                        }
                    }
                })?;
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe `bytes`.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Waits for one datagram and hands out its messages.
    fn receive(&mut self, mut each: impl FnMut(u16, u32, &[u8])) -> io::Result<()> {
        // What the kernel was asked it has answered by now, so as a rule there is nothing to wait for.
        if let Some(got) = datagram(self.fd.as_raw_fd(), &mut self.buffer)? {
            split(&self.buffer[..got], &mut each);
            return Ok(());
        }
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        let ready = unsafe { libc::poll(&mut poll, 1, 2000) };
        if ready == 0 {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the kernel does not answer on netlink",
            ));
        }
        Ok(())
    }
}

/// A socket that tells of changes.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Monitor {
    /// Opens it. Whoever reads the state afterwards misses nothing.
    pub fn open() -> io::Result<Monitor> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        Ok(Monitor {
            fd: open(groups as u32)?,
            buffer: buffer(),
        })
    }

    /// For epoll.
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Every change that waits.
    pub fn changes(&mut self) -> io::Result<Vec<Change>> {
        let mut all = Vec::new();
        loop {
            match datagram(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(None) => return Ok(all),
                Ok(Some(got)) => split(&self.buffer[..got], &mut |kind, _, body| all.extend(change(kind, body))),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => all.push(Change::Overrun),
                Err(e) => return Err(e),
            }
        }
    }
}

fn datagram(fd: RawFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: pointer and length describe `buffer`.
        let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
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

/// Walks the messages of a datagram: kind, sequence number, body.
fn split(mut bytes: &[u8], each: &mut dyn FnMut(u16, u32, &[u8])) {
    while let Some(header) = bytes.get(..NLMSGHDR) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = bytes.get(NLMSGHDR..len) else { return };
        let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        each(kind, sequence, body);
        bytes = bytes.get(align(len)..).unwrap_or_default();
    }
}

fn align(len: usize) -> usize {
    len.div_ceil(4) * 4
}

/// The error of an NLMSG_ERROR; 0 is an acknowledgement.
fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

/// Attributes after a fixed header.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let Some(header) = bytes.get(..4) {
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = bytes.get(4..len) else { break };
        all.push((u16::from_ne_bytes([header[2], header[3]]) & 0x3fff, value));
        bytes = bytes.get(align(len)..).unwrap_or_default();
    }
    all
}

fn change(kind: u16, body: &[u8]) -> Option<Change> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => {
            if kind == libc::RTM_DELLINK {
                return Some(Change::LinkGone(index));
            }
            let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
            let wanted = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
            let (mut name, mut mac) = (String::new(), None);
            for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
                match kind {
                    libc::IFLA_IFNAME => name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
                    libc::IFLA_ADDRESS => mac = value.try_into().ok(),
                    _ => {}
                }
            }
            // Messages of other families (bridge ports) carry no name and say nothing about the interface.
            (!name.is_empty() && body[0] == 0).then_some(Change::Link(Link {
                index,
                name,
                mac,
                running: flags & wanted == wanted,
            }))
        }
        libc::RTM_NEWADDR | libc::RTM_DELADDR => {
            let (mut local, mut address) = (None, None);
            for (kind, value) in attributes(body.get(IFADDRMSG..)?) {
                let ip = match value.len() {
                    4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
                    16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
                    _ => None,
                };
                match kind {
                    libc::IFA_LOCAL => local = ip,
                    libc::IFA_ADDRESS => address = ip,
                    _ => {}
                }
            }
            let assigned = Assigned {
                index,
                ip: local.or(address)?,
                prefix: body[1],
            };
            Some(if kind == libc::RTM_NEWADDR {
                Change::Address(assigned)
            } else {
                Change::AddressGone(assigned)
            })
        }
        _ => None,
    }
}

struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32, sequence: u32) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags as u16).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        Message { bytes }
    }

    fn address_header(&mut self, a: &Assigned, flags: u8, scope: u8) {
        let family = if a.ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        self.bytes.extend([family as u8, a.prefix, flags, scope]);
        self.bytes.extend(a.index.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    fn ip(&mut self, kind: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => self.attribute(kind, &ip.octets()),
        }
    }

    /// The bytes with their length, padded for the next message of a batch.
    fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(align(self.bytes.len()), 0);
        self.bytes
    }
}

fn add_message(a: &NewAddress, flags: i32, sequence: u32) -> Message {
    let mut m = Message::new(libc::RTM_NEWADDR, flags, sequence);
    // Another host had it until now: waiting for duplicate address detection would only delay.
    let address_flags = if a.at.ip.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
    m.address_header(&a.at, address_flags, a.scope);
    m.ip(libc::IFA_LOCAL, a.at.ip);
    m.ip(libc::IFA_ADDRESS, a.at.ip);
    if let Some(broadcast) = a.broadcast {
        m.ip(libc::IFA_BROADCAST, broadcast);
    }
    if let Some(label) = &a.label {
        let mut text = label.as_bytes().to_vec();
        text.truncate(15);
        text.push(0);
        m.attribute(libc::IFA_LABEL, &text);
    }
    if let Some(preferred) = a.preferred {
        let mut info = preferred.to_ne_bytes().to_vec();
        info.extend(u32::MAX.to_ne_bytes());
        info.extend([0; 8]);
        m.attribute(libc::IFA_CACHEINFO, &info);
    }
    m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_send_is_what_we_read() {
        for ip in ["10.0.0.9", "fd00::9"] {
            let at = Assigned {
                index: 7,
                ip: ip.parse().unwrap(),
                prefix: 24,
            };
            let new = NewAddress {
                at,
                broadcast: None,
                label: Some("eth0:1".to_owned()),
                scope: 0,
                preferred: Some(0),
            };
            let mut two = add_message(&new, 0, 1).finish();
            two.extend(add_message(&new, 0, 2).finish());
            let mut seen = Vec::new();
            split(&two, &mut |kind, _, body| seen.extend(change(kind, body)));
            assert_eq!(seen, [Change::Address(at), Change::Address(at)]);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), kind in 14..22u16) {
            split(&bytes, &mut |kind, _, body| drop(change(kind, body)));
            change(kind, &bytes);
        }
    }
}
