//! Packets of somebody who is no peer, with whatever they claim.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use hapair::vrrp::Advert;
use hapair::vrrp::frame::build_ipv4;

use crate::net::{Net, VIP};

/// Sends whole IPv4 packets from a namespace, with whatever source they name.
pub(crate) struct Forger(OwnedFd);

impl Forger {
    pub(crate) fn new(net: &Net) -> Forger {
        let inside = std::fs::File::open(net.path()).unwrap();
        let socket = std::thread::spawn(move || {
            // SAFETY: plain system calls; IPPROTO_RAW includes the header.
            unsafe {
                assert_eq!(libc::setns(inside.as_raw_fd(), libc::CLONE_NEWNET), 0);
                let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW);
                assert!(fd >= 0);
                OwnedFd::from_raw_fd(fd)
            }
        });
        Forger(socket.join().unwrap())
    }

    pub(crate) fn send(&self, src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, payload: &[u8]) {
        let packet = build_ipv4(src, dst, ttl, 1, payload);
        // SAFETY: a valid sockaddr_in of its own size; pointer and length describe `packet`.
        let sent = unsafe {
            let mut to: libc::sockaddr_in = std::mem::zeroed();
            to.sin_family = libc::AF_INET as u16;
            to.sin_addr.s_addr = u32::from_ne_bytes(dst.octets());
            let (bytes, len) = (packet.as_ptr().cast(), packet.len());
            let size = size_of::<libc::sockaddr_in>() as u32;
            libc::sendto(self.0.as_raw_fd(), bytes, len, 0, (&raw const to).cast(), size)
        };
        assert_eq!(sent, packet.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

/// An advert for the VIP of the tests.
pub(crate) fn advert(version: u8, priority: u8) -> Advert {
    Advert {
        version,
        vrid: 51,
        priority,
        interval: if version == 2 { 1 } else { 20 },
        auth_type: u8::from(version == 2),
        auth_data: if version == 2 { *b"secret12" } else { [0; 8] },
        addresses: vec![VIP.parse().unwrap()],
    }
}
