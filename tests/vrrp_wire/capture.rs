//! What goes over an interface, in order: adverts and gratuitous ARPs.

use std::net::Ipv4Addr;

use crate::net::{Net, Tap};

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

/// The frames of `eth0` of a namespace.
pub(crate) struct Capture {
    tap: Tap,
    /// Everything since the beginning or since [`Capture::forget`].
    pub(crate) seen: Vec<Frame>,
    /// The adverts among them.
    pub(crate) messages: Vec<Message>,
}

impl Capture {
    pub(crate) fn new(net: &Net) -> Capture {
        Capture {
            tap: Tap::on(net, "eth0"),
            seen: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Reads what has come since, and gives everything.
    pub(crate) fn read(&mut self) -> &[Frame] {
        while let Some(frame) = self.tap.next() {
            self.seen.extend(parse(&frame));
            self.messages.extend(message(&frame));
        }
        &self.seen
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
