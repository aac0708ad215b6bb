//! A packet socket on an interface of a namespace.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::Net;

/// Sees every frame that the interface sends or receives, but not what is sent through this very socket. The kernel keeps what
/// nobody has read yet.
pub(crate) struct Tap(OwnedFd);

impl Tap {
    pub(crate) fn on(net: &Net, interface: &str) -> Tap {
        let interface = CString::new(interface).unwrap();
        let socket = net.inside(move || {
            // SAFETY: plain system calls; the address is a valid sockaddr_ll of its own size, and the descriptor is ours.
            unsafe {
                // Protocol 0: nothing arrives before it is bound.
                let fd = libc::socket(
                    libc::AF_PACKET,
                    libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                    0,
                );
                assert!(fd >= 0);
                let room = 32 * 1024 * 1024i32;
                libc::setsockopt(
                    fd,
                    libc::SOL_SOCKET,
                    libc::SO_RCVBUFFORCE,
                    (&raw const room).cast(),
                    size_of::<i32>() as u32,
                );
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
                address.sll_ifindex = libc::if_nametoindex(interface.as_ptr()) as i32;
                assert_ne!(address.sll_ifindex, 0, "no interface {interface:?}");
                let len = size_of::<libc::sockaddr_ll>() as u32;
                assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
                OwnedFd::from_raw_fd(fd)
            }
        });
        Tap(socket.join().unwrap())
    }

    /// The next frame that waits, if there is one. An interface that went down in between is no end.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        let mut buffer = [0u8; 4096];
        loop {
            // SAFETY: pointer and length describe `buffer`.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if got >= 0 {
                return Some(buffer[..got as usize].to_vec());
            }
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ENETDOWN) {
                return None;
            }
        }
    }

    /// Puts a frame on the wire; on an interface that is down it is lost, as everything there.
    pub(crate) fn send(&self, frame: &[u8]) {
        // SAFETY: pointer and length describe `frame`.
        unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    }
}
