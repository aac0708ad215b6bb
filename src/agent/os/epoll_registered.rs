//! A descriptor that epoll watches for as long as it is open.

use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::rc::Rc;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// Leaves epoll before it is closed. By itself it would leave only with the last copy of the descriptor, and a child has
/// copies of all between fork and exec: until then epoll would tell of something that nobody reads any more.
pub(crate) struct Watched<T: AsFd> {
    what: T,
    epoll: Rc<Epoll>,
}

impl<T: AsFd> Watched<T> {
    /// `token` is what epoll tells when it can be read.
    pub(crate) fn new(what: T, epoll: &Rc<Epoll>, token: u64) -> io::Result<Watched<T>> {
        epoll.add(&what, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        let epoll = Rc::clone(epoll);
        Ok(Watched { what, epoll })
    }
}

impl<T: AsFd> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.what
    }
}

impl<T: AsFd> std::ops::DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.what
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        let _ = self.epoll.delete(&self.what);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use nix::sys::epoll::{EpollCreateFlags, EpollTimeout};

    use super::*;

    #[test]
    fn a_closed_one_is_forgotten_though_a_copy_lives_on() {
        let epoll = Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap());
        let told = |epoll: &Epoll| epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO).unwrap();
        let (read, mut write) = UnixStream::pair().unwrap();
        // As a child has one between fork and exec.
        let copy = read.try_clone().unwrap();
        let watched = Watched::new(read, &epoll, 1).unwrap();
        write.write_all(b"x").unwrap();
        assert_eq!(told(&epoll), 1);
        drop(watched);
        assert_eq!(told(&epoll), 0);
        drop(copy);
    }
}
