//! rtnetlink(7): interfaces and addresses, read, changed in batches, watched.

mod message;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use self::message::{
    Header, IFADDRMSG, IFINFOMSG, Message, NLMSGHDR, add_message, change, error_of, remove_message, split,
};
use crate::agent::os::sys;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Kernel's number.
    pub(crate) index: u32,
    /// `eth0`.
    pub(crate) name: String,
    /// Hardware address, if it is Ethernet-like.
    pub(crate) mac: Option<[u8; 6]>,
    /// Administratively up and with a carrier.
    pub(crate) running: bool,
}

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Assigned {
    /// Interface number.
    pub(crate) index: u32,
    /// Address.
    pub(crate) ip: IpAddr,
    /// Prefix length.
    pub(crate) prefix: u8,
}

/// An address to put on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAddress {
    /// Where and what.
    pub(crate) at: Assigned,
    /// IPv4 broadcast.
    pub(crate) broadcast: Option<IpAddr>,
    /// IPv4 label, at most 15 bytes.
    pub(crate) label: Option<String>,
    /// rtnetlink's scope.
    pub(crate) scope: u8,
    /// IPv6: seconds of being preferred; `None`: for ever.
    pub(crate) preferred: Option<u32>,
    /// `IFA_F_…` of linux/if_addr.h.
    pub(crate) flags: u32,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An interface is new or different.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// An address is there, and can be used.
    Address(Assigned),
    /// An address is gone.
    AddressGone(Assigned),
    /// An address is there and cannot be used: its duplicate address detection is not over, or has failed.
    Unusable(Assigned),
    /// The kernel dropped messages: read everything again.
    Overrun,
}

/// What the kernel has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// By number.
    pub(crate) links: BTreeMap<u32, Link>,
    /// In the kernel's order: primary addresses first.
    pub(crate) addresses: Vec<Assigned>,
}

impl Links {
    /// The interface of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// Keeps up with a change; an overrun is the caller's.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(link) => drop(self.links.insert(link.index, link.clone())),
            Change::LinkGone(index) => {
                self.links.remove(index);
                self.addresses.retain(|a| a.index != *index);
            }
            Change::Address(a) if !self.addresses.contains(a) => self.addresses.push(*a),
            Change::AddressGone(a) | Change::Unusable(a) => self.addresses.retain(|other| other != a),
            Change::Address(_) | Change::Overrun => {}
        }
    }

    /// What the kernel would have told on the way from here to `new`.
    pub(crate) fn changes_to(&self, new: &Links) -> Vec<Change> {
        let gone = self.addresses.iter().filter(|a| !new.addresses.contains(a));
        let links_gone = self.links.keys().filter(|index| !new.links.contains_key(index));
        let links = new.links.values().filter(|l| self.links.get(&l.index) != Some(l));
        let come = new.addresses.iter().filter(|a| !self.addresses.contains(a));
        gone.map(|a| Change::AddressGone(*a))
            .chain(links_gone.map(|index| Change::LinkGone(*index)))
            .chain(links.map(|l| Change::Link(l.clone())))
            .chain(come.map(|a| Change::Address(*a)))
            .collect()
    }
}

/// What could not be done, by position in what was asked for.
pub(crate) type Failures = Vec<(usize, io::Error)>;

/// A socket for questions and changes.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// Messages of a batch.
const BATCH: usize = 256;
/// The kernel says that something changed while it told: part of it may be missing (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;
/// So often everything is asked for again because of that.
const DUMPS: u32 = 8;

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
    pub(crate) fn open() -> io::Result<Netlink> {
        Ok(Netlink {
            fd: open(0)?,
            sequence: 0,
            buffer: buffer(),
        })
    }

    /// Interfaces and addresses as they are now.
    pub(crate) fn read(&mut self) -> io::Result<Links> {
        let (mut links, mut whole) = self.dump()?;
        for _ in 1..DUMPS {
            if whole {
                break;
            }
            (links, whole) = self.dump()?;
        }
        Ok(links)
    }

    /// Interfaces and addresses, and whether they stayed the same meanwhile.
    fn dump(&mut self) -> io::Result<(Links, bool)> {
        let mut all = Links::default();
        let mut whole = true;
        for (kind, body) in [(libc::RTM_GETLINK, IFINFOMSG), (libc::RTM_GETADDR, IFADDRMSG)] {
            let asked = self.next();
            let mut message = Message::new(kind, libc::NLM_F_REQUEST | libc::NLM_F_DUMP, asked);
            message.bytes.resize(NLMSGHDR + body, 0);
            self.send(&message.finish())?;
            let mut done = false;
            while !done {
                let mut error = None;
                self.receive(|header, body| {
                    // An answer that came too late for an earlier question.
                    if header.sequence != asked {
                        return;
                    }
                    whole &= header.flags & NLM_F_DUMP_INTR == 0;
                    match i32::from(header.kind) {
                        libc::NLMSG_DONE => done = true,
                        libc::NLMSG_ERROR => error = error_of(body),
                        _ => {
                            if let Some(change) = change(header.kind, body) {
                                all.apply(&change);
                            }
                        }
                    }
                })?;
                if let Some(error) = error {
                    return Err(error);
                }
            }
        }
        Ok((all, whole))
    }

    /// Adds addresses, all in one batch. What is there already is no error; an error of one keeps no other from being tried.
    pub(crate) fn add(&mut self, addresses: &[NewAddress]) -> Failures {
        self.batch(addresses, &[libc::EEXIST], |a, flags, sequence| {
            add_message(a, flags | libc::NLM_F_CREATE | libc::NLM_F_EXCL, sequence)
        })
    }

    /// Removes addresses, all in one batch. What is not there, as on an interface that is gone or has no addresses of that
    /// family, is no error; an error of one keeps no other from being tried.
    pub(crate) fn remove(&mut self, addresses: &[Assigned]) -> Failures {
        let not_there = [libc::EADDRNOTAVAIL, libc::ENODEV, libc::ENXIO];
        self.batch(addresses, &not_there, remove_message)
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends the messages that `one` makes, as few batches. The kernel has done everything when a batch is sent; only the
    /// last message asks for an acknowledgement, so that it answers once and else for errors alone.
    fn batch<T>(&mut self, items: &[T], harmless: &[i32], one: impl Fn(&T, i32, u32) -> Message) -> Failures {
        let mut failed = Failures::new();
        // The answers to one batch must fit into our receive buffer.
        for (n, part) in items.chunks(BATCH).enumerate() {
            let start = n * BATCH;
            match self.part(part, harmless, &one) {
                Ok(some) => failed.extend(some.into_iter().map(|(at, e)| (start + at, e))),
                // Nobody knows what was done of it.
                Err(e) => failed.extend((0..part.len()).map(|at| (start + at, another(&e)))),
            }
        }
        failed
    }

    fn part<T>(&mut self, part: &[T], harmless: &[i32], one: impl Fn(&T, i32, u32) -> Message) -> io::Result<Failures> {
        let mut bytes = Vec::with_capacity(part.len() * 64);
        let first = self.sequence.wrapping_add(1);
        for (n, item) in part.iter().enumerate() {
            let ack = if n + 1 == part.len() { libc::NLM_F_ACK } else { 0 };
            let sequence = self.next();
            bytes.extend(one(item, libc::NLM_F_REQUEST | ack, sequence).finish());
        }
        self.send(&bytes)?;
        let mut failed = Failures::new();
        let mut open = true;
        while open {
            self.receive(|header, body| {
                let at = header.sequence.wrapping_sub(first) as usize;
                // An answer that came too late for an earlier batch is none to this one.
                if i32::from(header.kind) != libc::NLMSG_ERROR || at >= part.len() {
                    return;
                }
                open &= at + 1 != part.len();
                let error = error_of(body).filter(|e| !e.raw_os_error().is_some_and(|code| harmless.contains(&code)));
                failed.extend(error.map(|e| (at, e)));
            })?;
        }
        Ok(failed)
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
    fn receive(&mut self, mut each: impl FnMut(&Header, &[u8])) -> io::Result<()> {
        // What the kernel was asked it has answered by now, so as a rule there is nothing to wait for.
        if let Some(got) = datagram(self.fd.as_raw_fd(), &mut self.buffer)? {
            let whole = self.buffer.get(..got);
            split(whole.ok_or(io::ErrorKind::InvalidData)?, &mut each);
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
pub(crate) struct Monitor {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Monitor {
    /// Opens it. Whoever reads the state afterwards misses nothing.
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

/// The same error once more, as far as errors can be copied.
fn another(error: &io::Error) -> io::Error {
    let code = error.raw_os_error().map(io::Error::from_raw_os_error);
    code.unwrap_or_else(|| io::Error::new(error.kind(), error.to_string()))
}

/// Reads one datagram. Returns its whole length, also if it is longer than the buffer; `None`: there is none.
fn datagram(fd: RawFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, running: bool) -> Link {
        Link {
            index,
            name: format!("eth{index}"),
            mac: None,
            running,
        }
    }

    #[test]
    fn the_difference_leads_from_the_old_to_the_new() {
        let at = |index, last| Assigned {
            index,
            ip: IpAddr::from([10, 0, 0, last]),
            prefix: 24,
        };
        let (mut old, mut new) = (Links::default(), Links::default());
        for change in [
            Change::Link(link(1, true)),
            Change::Link(link(2, true)),
            Change::Link(link(3, true)),
            Change::Address(at(1, 1)),
            Change::Address(at(2, 2)),
            Change::Address(at(3, 3)),
        ] {
            old.apply(&change);
        }
        for change in [
            Change::Link(link(1, true)),
            Change::Link(link(3, false)),
            Change::Link(link(4, true)),
            Change::Address(at(1, 1)),
            Change::Address(at(4, 4)),
        ] {
            new.apply(&change);
        }
        let changes = old.changes_to(&new);
        assert!(changes.contains(&Change::AddressGone(at(2, 2))) && changes.contains(&Change::AddressGone(at(3, 3))));
        assert!(changes.contains(&Change::LinkGone(2)) && changes.contains(&Change::Link(link(3, false))));
        assert_eq!(changes.len(), 6, "nothing of what stayed: {changes:?}");
        changes.iter().for_each(|c| old.apply(c));
        assert_eq!((old.links, old.addresses), (new.links.clone(), new.addresses.clone()));
        assert!(new.changes_to(&new).is_empty());
    }
}
