//! Asking the kernel for what it has, and changing addresses in batches.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::link::{Assigned, Links, NewAddress};
use super::message::{
    Header, IFADDRMSG, IFINFOMSG, Message, NLMSGHDR, add_message, change, error_of, remove_message, split,
};
use super::socket::{another, buffer, datagram, open};

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
