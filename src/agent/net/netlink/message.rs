//! Messages of rtnetlink(7): made, walked, understood.

use std::io;
use std::net::IpAddr;

use super::link::{Assigned, Change, Link, NewAddress};
use crate::state::arp::Mac;

/// Interface address message (linux/if_addr.h).
pub(super) const IFADDRMSG: usize = 8;
/// Interface message (linux/rtnetlink.h).
pub(super) const IFINFOMSG: usize = 16;
pub(super) const NLMSGHDR: usize = 16;
/// Attribute with all flags of an address (linux/if_addr.h).
const IFA_FLAGS: u16 = 8;

/// What the header of a message says.
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
}

/// Walks the messages of a datagram.
pub(super) fn split(mut bytes: &[u8], each: &mut dyn FnMut(&Header, &[u8])) {
    while let Some(header) = bytes.get(..NLMSGHDR) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = bytes.get(NLMSGHDR..len) else { return };
        let header = Header {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
        };
        each(&header, body);
        bytes = bytes.get(align(len)..).unwrap_or_default();
    }
}

fn align(len: usize) -> usize {
    len.div_ceil(4) * 4
}

/// The error of an NLMSG_ERROR; 0 is an acknowledgement.
pub(super) fn error_of(body: &[u8]) -> Option<io::Error> {
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

pub(super) fn change(kind: u16, body: &[u8]) -> Option<Change> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    match kind {
        // Messages of other families are about a role of the interface: one that leaves a bridge is told as deleted by the
        // bridge, and is as alive as before.
        libc::RTM_NEWLINK | libc::RTM_DELLINK if i32::from(body[0]) != libc::AF_UNSPEC => None,
        libc::RTM_DELLINK => Some(Change::LinkGone(index)),
        libc::RTM_NEWLINK => {
            let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
            let wanted = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
            let (mut name, mut mac) = (String::new(), None);
            for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
                match kind {
                    libc::IFLA_IFNAME => name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
                    libc::IFLA_ADDRESS => mac = value.try_into().ok().map(Mac),
                    _ => {}
                }
            }
            (!name.is_empty()).then_some(Change::Link(Link {
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
            Some(match kind {
                libc::RTM_DELADDR => Change::AddressGone(assigned),
                _ if usable(body[2].into()) => Change::Address(assigned),
                _ => Change::Unusable(assigned),
            })
        }
        _ => None,
    }
}

/// Whether packets can be sent from an address with these flags: not while duplicate address detection runs (RFC 4862, 5.4), or
/// once it has found another host. Our own addresses go on without it.
fn usable(flags: u32) -> bool {
    let is = |flag: u32| flags & flag != 0;
    is(libc::IFA_F_NODAD) || is(libc::IFA_F_OPTIMISTIC) || !is(libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED)
}

pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, flags: i32, sequence: u32) -> Message {
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
    pub(super) fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(align(self.bytes.len()), 0);
        self.bytes
    }
}

pub(super) fn add_message(a: &NewAddress, flags: i32, sequence: u32) -> Message {
    let mut m = Message::new(libc::RTM_NEWADDR, flags, sequence);
    m.address_header(&a.at, a.flags as u8, a.scope);
    m.ip(libc::IFA_LOCAL, a.at.ip);
    m.ip(libc::IFA_ADDRESS, a.at.ip);
    // The header has room for the first eight. Kernels before 3.14 pass over the rest.
    if a.flags > u8::MAX.into() {
        m.attribute(IFA_FLAGS, &a.flags.to_ne_bytes());
    }
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

pub(super) fn remove_message(at: &Assigned, flags: i32, sequence: u32) -> Message {
    let mut m = Message::new(libc::RTM_DELADDR, flags, sequence);
    m.address_header(at, 0, 0);
    m.ip(libc::IFA_LOCAL, at.ip);
    m.ip(libc::IFA_ADDRESS, at.ip);
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
                flags: 0x202,
            };
            let mut two = add_message(&new, 0, 1).finish();
            two.extend(add_message(&new, 0, 2).finish());
            let mut seen = Vec::new();
            split(&two, &mut |header, body| seen.extend(change(header.kind, body)));
            assert_eq!(seen, [Change::Address(at), Change::Address(at)]);
        }
    }

    #[test]
    fn flags_go_into_the_header_and_those_that_do_not_fit_into_an_attribute() {
        let new = |flags| NewAddress {
            at: Assigned {
                index: 7,
                ip: [10, 0, 0, 9].into(),
                prefix: 30,
            },
            broadcast: None,
            label: None,
            scope: 0,
            preferred: None,
            flags,
        };
        let sent = |flags| {
            let bytes = add_message(&new(flags), 0, 1).finish();
            let (header, rest) = bytes[NLMSGHDR..].split_at(IFADDRMSG);
            let all = attributes(rest).into_iter().find(|(kind, _)| *kind == IFA_FLAGS);
            (header[2], all.map(|(_, value)| value.to_vec()))
        };
        assert_eq!(sent(0x12), (0x12, None));
        assert_eq!(sent(0x202), (2, Some(0x202u32.to_ne_bytes().to_vec())));
    }

    #[test]
    fn an_interface_that_leaves_a_bridge_is_not_gone() {
        let mut body = vec![0; IFINFOMSG];
        body[4] = 7;
        assert_eq!(change(libc::RTM_DELLINK, &body), Some(Change::LinkGone(7)));
        body[0] = libc::AF_BRIDGE as u8;
        assert_eq!(change(libc::RTM_DELLINK, &body), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), kind in 14..22u16) {
            split(&bytes, &mut |header, body| drop(change(header.kind, body)));
            change(kind, &bytes);
        }
    }
}
