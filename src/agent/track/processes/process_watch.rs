//! How the end of a process is noticed: by a descriptor of it, by the process connector, or by looking.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::connector::Connector;
use super::event::Event;
use crate::agent::os::epoll_registered::Watched;

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// pidfd_open(2), from Linux 5.3 on.
    Pidfd,
    /// Netlink's process connector, in the initial namespaces.
    Connector,
    /// Looking into /proc every so often.
    Poll,
}

impl Mechanism {
    /// For `status` and the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mechanism::Pidfd => "pidfd",
            Mechanism::Connector => "connector",
            Mechanism::Poll => "poll",
        }
    }
}

/// The connector's token in epoll; no process has this number.
const CONNECTOR: u64 = u64::MAX;

/// What is watched, behind one descriptor.
pub(super) struct Watch {
    mechanism: Mechanism,
    epoll: Rc<Epoll>,
    pidfds: BTreeMap<u32, Watched<OwnedFd>>,
    connector: Option<Connector>,
}

impl Watch {
    /// The first mechanism of `wanted` that this kernel gives us; looking always works.
    pub(super) fn open(wanted: &[Mechanism]) -> io::Result<Watch> {
        let mut watch = Watch {
            mechanism: Mechanism::Poll,
            epoll: Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?),
            pidfds: BTreeMap::new(),
            connector: None,
        };
        for mechanism in wanted {
            let usable = match mechanism {
                Mechanism::Pidfd => pidfd_open(std::process::id()).is_ok(),
                Mechanism::Connector => watch.connect().is_ok(),
                Mechanism::Poll => true,
            };
            if usable {
                watch.mechanism = *mechanism;
                break;
            }
        }
        Ok(watch)
    }

    fn connect(&mut self) -> io::Result<()> {
        let connector = Connector::open()?;
        // SAFETY: `self` keeps it open for as long as there is this epoll.
        let fd = unsafe { BorrowedFd::borrow_raw(connector.raw()) };
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, CONNECTOR))?;
        self.connector = Some(connector);
        Ok(())
    }

    pub(super) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Watches exactly these. Returns whether the end of each of them will be told.
    pub(super) fn set(&mut self, pids: impl Iterator<Item = u32>) -> bool {
        match self.mechanism {
            Mechanism::Pidfd => {}
            Mechanism::Connector => return true,
            Mechanism::Poll => return false,
        }
        let mut old = std::mem::take(&mut self.pidfds);
        let mut all = true;
        for pid in pids {
            if self.pidfds.contains_key(&pid) {
                continue;
            }
            let fd = match old.remove(&pid) {
                Some(fd) => Ok(fd),
                None => pidfd_open(pid).and_then(|fd| Watched::new(fd, &self.epoll, pid.into())),
            };
            match fd {
                Ok(fd) => drop(self.pidfds.insert(pid, fd)),
                Err(_) => all = false,
            }
        }
        all
    }

    /// What has happened since the last call.
    pub(super) fn events(&mut self, each: &mut dyn FnMut(Event)) {
        let mut ready = [EpollEvent::empty(); 64];
        loop {
            let n = self.epoll.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
            for event in &ready[..n] {
                match event.data() {
                    CONNECTOR => {
                        if let Some(connector) = &self.connector {
                            connector.events(each);
                        }
                    }
                    pid => {
                        // A process ends once; the number may be somebody else's tomorrow.
                        self.pidfds.remove(&(pid as u32));
                        each(Event::Ended(pid as u32));
                    }
                }
            }
            if n < ready.len() {
                return;
            }
        }
    }

    /// Descriptors of processes that are open.
    #[cfg(test)]
    pub(super) fn open_pidfds(&self) -> usize {
        self.pidfds.len()
    }
}

/// For the event loop: readable when [`Watch::events`] has something.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call; older kernels answer ENOSYS. The descriptor is closed on exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
