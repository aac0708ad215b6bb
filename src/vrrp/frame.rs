//! IPv4 headers and unsolicited neighbour advertisements.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::packet::{PROTOCOL, PacketError, fold, words};

/// What the IP header says about a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Packet<'b> {
    /// Sender.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// What follows the header, without Ethernet's padding.
    pub payload: &'b [u8],
}

/// Reads an IPv4 packet as a raw socket gives it: header with options, payload, perhaps padding.
pub fn parse_ipv4(bytes: &[u8]) -> Result<Ipv4Packet<'_>, PacketError> {
    let header = bytes.get(..20).ok_or(PacketError::Ip)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < 20 || header[9] != PROTOCOL {
        return Err(PacketError::Ip);
    }
    let payload = bytes.get(header_len..total).ok_or(PacketError::Ip)?;
    let quad = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Ok(Ipv4Packet {
        src: quad(12),
        dst: quad(16),
        ttl: header[8],
        payload,
    })
}

/// An IPv4 packet as keepalived sends it: precedence "internetwork control", no fragment flags.
pub fn build_ipv4(src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()).min(usize::from(u16::MAX)) as u16;
    let mut out = vec![0x45, 0xc0];
    out.extend(total.to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend([0, 0, ttl, PROTOCOL, 0, 0]);
    out.extend(src.octets());
    out.extend(dst.octets());
    let sum = fold(words(&out));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend(payload);
    out
}

/// Unsolicited neighbour advertisement (RFC 4861, 4.4) to all nodes, from the address itself, override set.
pub fn neighbour_advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ICMPV6: u8 = 58;
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    // Option 2: target link-layer address, in units of 8 bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let pseudo = words(&address.octets()) + words(&ALL_NODES.octets()) + message.len() as u64 + u64::from(ICMPV6);
    let sum = fold(pseudo + words(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut out = Vec::with_capacity(86);
    out.extend([0x33, 0x33, 0, 0, 0, 1]);
    out.extend(mac);
    out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    out.extend((message.len() as u16).to_be_bytes());
    out.extend([ICMPV6, 255]);
    out.extend(address.octets());
    out.extend(ALL_NODES.octets());
    out.extend(message);
    out
}
