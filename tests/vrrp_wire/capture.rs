//! What goes over an interface, in order: adverts and gratuitous ARPs.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::net::Net;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Advert { src: Ipv4Addr, vrid: u8, priority: u8 },
    Garp { vip: Ipv4Addr, mac: [u8; 6] },
}

/// A VRRP message over IPv4, as it went.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) bytes: Vec<u8>,
}

/// A packet socket on `eth0` of a namespace. The kernel keeps what nobody has read yet.
pub(crate) struct Capture {
    socket: OwnedFd,
    /// Everything since the beginning or since [`Capture::forget`].
    pub(crate) seen: Vec<Frame>,
    /// The adverts among them.
    pub(crate) messages: Vec<Message>,
}

impl Capture {
    pub(crate) fn new(net: &Net) -> Capture {
        let inside = std::fs::File::open(net.path()).unwrap();
        // A thread of its own enters the namespace, and ends there; the socket stays in it.
        let socket = std::thread::spawn(move || {
            // SAFETY: plain system calls; the address is a valid sockaddr_ll of its own size.
            unsafe {
                assert_eq!(libc::setns(inside.as_raw_fd(), libc::CLONE_NEWNET), 0);
                let every = (libc::ETH_P_ALL as u16).to_be();
                let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0);
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
                address.sll_protocol = every;
                address.sll_ifindex = libc::if_nametoindex(c"eth0".as_ptr()) as i32;
                let len = size_of::<libc::sockaddr_ll>() as u32;
                assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
                OwnedFd::from_raw_fd(fd)
            }
        });
        Capture {
            socket: socket.join().unwrap(),
            seen: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Reads what has come since, and gives everything.
    pub(crate) fn read(&mut self) -> &[Frame] {
        let mut buffer = [0u8; 2048];
        loop {
            // SAFETY: pointer and length describe `buffer`.
            let got = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if got < 0 {
                return &self.seen;
            }
            let frame = &buffer[..got as usize];
            self.seen.extend(parse(frame));
            self.messages.extend(message(frame));
        }
    }

    pub(crate) fn forget(&mut self) {
        self.read();
        self.seen.clear();
        self.messages.clear();
    }

    /// How many frames so far are of a kind.
    pub(crate) fn count(&mut self, wanted: impl Fn(&Frame) -> bool) -> usize {
        self.read().iter().filter(|f| wanted(f)).count()
    }
}

fn message(frame: &[u8]) -> Option<Message> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    if frame.get(12..14)? != [0x08, 0x00] || *frame.get(23)? != 112 {
        return None;
    }
    let (header, total) = (
        usize::from(frame[14] & 0xf) * 4,
        usize::from(frame[16]) << 8 | usize::from(frame[17]),
    );
    Some(Message {
        src: address(26)?,
        dst: address(30)?,
        bytes: frame.get(14 + header..14 + total)?.to_vec(),
    })
}

fn parse(frame: &[u8]) -> Option<Frame> {
    let quad = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    match frame.get(12..14)? {
        [0x08, 0x06] if quad(28)? == quad(38)? => Some(Frame::Garp {
            vip: quad(28)?,
            mac: frame.get(22..28)?.try_into().ok()?,
        }),
        [0x08, 0x00] if *frame.get(23)? == 112 => {
            let message = frame.get(14 + usize::from(frame[14] & 0xf) * 4..)?;
            Some(Frame::Advert {
                src: quad(26)?,
                vrid: *message.get(1)?,
                priority: *message.get(2)?,
            })
        }
        _ => None,
    }
}
