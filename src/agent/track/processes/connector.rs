//! The process connector (linux/cn_proc.h): the kernel tells of forks, execs and exits. Only in the initial namespaces.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::event::Event;
use crate::agent::os::sys;

const NLMSGHDR: usize = 16;
/// struct cn_msg.
const CN_MSG: usize = 20;
/// struct proc_event up to its union: what, cpu, timestamp.
const EVENT: usize = 16;
/// The kernel confirms a subscription at once, or, in a namespace of its own, never.
const CONFIRMATION_MS: i32 = 250;

/// A socket that is subscribed.
#[derive(Debug)]
pub(super) struct Connector(OwnedFd);

impl Connector {
    /// Subscribes; fails where the kernel does not tell (another network, user or process namespace, no privilege).
    pub(super) fn open() -> io::Result<Connector> {
        let fd = sys::socket(libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_CONNECTOR)?;
        let room = 1024 * 1024i32;
        if sys::set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &room).is_err() {
            sys::set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &room)?;
        }
        // SAFETY: all zero is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = libc::CN_IDX_PROC;
        sys::bind(&fd, &address)?;
        let connector = Connector(fd);
        connector.subscribe()?;
        let mut poll = libc::pollfd {
            fd: connector.raw(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&mut poll, 1, CONFIRMATION_MS) } != 1 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not confirm"));
        }
        Ok(connector)
    }

    fn subscribe(&self) -> io::Result<()> {
        let message = subscription();
        // SAFETY: pointer and length describe `message`.
        let sent = unsafe { libc::send(self.raw(), message.as_ptr().cast(), message.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// What has happened; [`Event::Missed`] where the kernel had more than fits.
    pub(super) fn events(&self, each: &mut dyn FnMut(Event)) {
        let mut buffer = [0u8; 4096];
        loop {
            // SAFETY: pointer and length describe `buffer`.
            let got = unsafe { libc::recv(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if got >= 0 {
                if let Some(event) = decode(&buffer[..got as usize]) {
                    each(event);
                }
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => each(Event::Missed),
                _ => return,
            }
        }
    }
}

fn subscription() -> Vec<u8> {
    let len = (NLMSGHDR + CN_MSG + 4) as u32;
    let mut m = len.to_ne_bytes().to_vec();
    m.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
    m.extend(0u16.to_ne_bytes());
    m.extend([0; 8]);
    m.extend(libc::CN_IDX_PROC.to_ne_bytes());
    m.extend(libc::CN_VAL_PROC.to_ne_bytes());
    m.extend([0; 8]);
    m.extend(4u16.to_ne_bytes());
    m.extend([0; 2]);
    m.extend(libc::PROC_CN_MCAST_LISTEN.to_ne_bytes());
    m
}

/// A datagram of the connector; threads other than the first say nothing of their process.
fn decode(datagram: &[u8]) -> Option<Event> {
    let event = datagram.get(NLMSGHDR + CN_MSG..)?;
    let word = |at: usize| event.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let data = |n: usize| word(EVENT + 4 * n);
    match word(0)? {
        libc::PROC_EVENT_FORK if data(2)? == data(3)? => Some(Event::Forked {
            parent: data(1)?,
            child: data(2)?,
        }),
        libc::PROC_EVENT_EXEC | libc::PROC_EVENT_COMM if data(0)? == data(1)? => Some(Event::Renamed(data(1)?)),
        libc::PROC_EVENT_EXIT if data(0)? == data(1)? => Some(Event::Ended(data(1)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(what: u32, data: &[u32]) -> Vec<u8> {
        let mut d = vec![0; NLMSGHDR + CN_MSG];
        d.extend(what.to_ne_bytes());
        d.extend([0; 12]);
        data.iter().for_each(|n| d.extend(n.to_ne_bytes()));
        d
    }

    #[test]
    fn events_are_read_and_threads_passed_over() {
        let fork = datagram(libc::PROC_EVENT_FORK, &[1, 1, 7, 7]);
        assert_eq!(decode(&fork), Some(Event::Forked { parent: 1, child: 7 }));
        assert_eq!(decode(&datagram(libc::PROC_EVENT_FORK, &[1, 1, 8, 7])), None);
        assert_eq!(
            decode(&datagram(libc::PROC_EVENT_EXEC, &[7, 7])),
            Some(Event::Renamed(7))
        );
        assert_eq!(
            decode(&datagram(libc::PROC_EVENT_EXIT, &[7, 7, 0, 17])),
            Some(Event::Ended(7))
        );
        assert_eq!(decode(&datagram(libc::PROC_EVENT_EXIT, &[8, 7, 0, 17])), None);
        assert_eq!(decode(&fork[..50]), None);
        assert_eq!(subscription().len(), 40);
    }

    #[test]
    fn it_tells_of_processes_or_says_why_not() {
        match Connector::open() {
            Ok(connector) => {
                let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
                let pid = child.id();
                child.wait().unwrap();
                let mut seen = Vec::new();
                let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
                while !seen.contains(&Event::Ended(pid)) {
                    assert!(std::time::Instant::now() < end, "no end of {pid} in {seen:?}");
                    connector.events(&mut |e| seen.push(e));
                }
            }
            Err(e) => {
                let reason = (e.raw_os_error(), e.kind());
                let expected = matches!(
                    reason,
                    (
                        Some(
                            libc::ECONNREFUSED
                                | libc::EPERM
                                | libc::EACCES
                                | libc::EPROTONOSUPPORT
                                | libc::EAFNOSUPPORT
                        ),
                        _
                    ) | (_, io::ErrorKind::TimedOut)
                );
                assert!(expected, "{e}");
            }
        }
    }
}
