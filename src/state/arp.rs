//! ARP for IPv4 over Ethernet (RFC 826): asking who has an address, announcing that one has it, and what a packet says.

use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::Serialize;

/// ARP's EtherType.
pub const ETHERTYPE: u16 = 0x0806;
/// Length of an ARP packet in bytes.
pub const LENGTH: usize = 28;
/// Length of an Ethernet header in bytes.
pub const ETHERNET: usize = 14;
/// Offset of the sender's IPv4 address in an ARP packet.
pub const SENDER_IP: usize = 14;
/// Hardware Ethernet, protocol IPv4, address lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// An Ethernet address; shown in lower case with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the segment.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// What a question has in the place of the address that it asks for.
    const UNKNOWN: Mac = Mac([0; 6]);
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Not six bytes in hexadecimal with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Mac, NotAMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = parts
                .next()
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or(NotAMac)?;
        }
        parts.next().map_or(Ok(Mac(bytes)), |_| Err(NotAMac))
    }
}

/// Who has `wanted`? `sender` is our own address there, or 0.0.0.0 to ask without having one (RFC 5227).
pub fn question(from: Mac, sender: Ipv4Addr, wanted: Ipv4Addr) -> [u8; LENGTH] {
    packet(REQUEST, (from, sender), (Mac::UNKNOWN, wanted))
}

/// Gratuitous ARP request (RFC 5227, 3): this station has the address now.
pub fn announcement(from: Mac, address: Ipv4Addr) -> [u8; LENGTH] {
    packet(REQUEST, (from, address), (Mac::BROADCAST, address))
}

fn packet(operation: [u8; 2], sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[..6].copy_from_slice(&KIND);
    packet[6..8].copy_from_slice(&operation);
    packet[8..14].copy_from_slice(&sender.0.0);
    packet[14..18].copy_from_slice(&sender.1.octets());
    packet[18..24].copy_from_slice(&target.0.0);
    packet[24..].copy_from_slice(&target.1.octets());
    packet
}

/// The Ethernet frame that carries a packet to everybody.
pub fn broadcast(from: Mac, packet: &[u8; LENGTH]) -> [u8; ETHERNET + LENGTH] {
    let mut frame = [0; ETHERNET + LENGTH];
    frame[..6].copy_from_slice(&Mac::BROADCAST.0);
    frame[6..12].copy_from_slice(&from.0);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    frame[ETHERNET..].copy_from_slice(packet);
    frame
}

/// The ARP packet in an Ethernet frame.
pub fn of_frame(frame: &[u8]) -> Option<&[u8]> {
    (frame.get(12..14)? == ETHERTYPE.to_be_bytes()).then(|| &frame[ETHERNET..])
}

/// How a station shows that it has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It answers a question.
    Reply,
    /// It announces the address unasked.
    Gratuitous,
    /// It asks for another address, from this one.
    Asks,
}

/// The station that sent a packet, and the address that it says to have. Padding after the packet does no harm.
pub fn sender(packet: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let packet = packet.get(..LENGTH).filter(|packet| packet[..6] == KIND)?;
    let ip: [u8; 4] = packet[SENDER_IP..18].try_into().ok()?;
    Some((Mac(packet[8..SENDER_IP].try_into().ok()?), ip.into()))
}

/// Who says in this packet to have `address`, and how.
pub fn claim(packet: &[u8], address: Ipv4Addr) -> Option<(Mac, Claim)> {
    let (mac, _) = sender(packet).filter(|(_, ip)| *ip == address)?;
    let packet = &packet[..LENGTH];
    let claim = if packet[24..] == address.octets() {
        Claim::Gratuitous
    } else if packet[6..8] == REPLY {
        Claim::Reply
    } else {
        Claim::Asks
    };
    Some((mac, claim))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const THEIRS: Mac = Mac([0x52, 0x54, 0, 0x6c, 1, 0]);
    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

    #[test]
    fn claims_are_told_apart_and_our_own_question_is_none() {
        let frame = broadcast(OURS, &question(OURS, HERE, VIP));
        let asked = of_frame(&frame).unwrap();
        assert_eq!(claim(asked, VIP), None, "our own question is no answer");
        assert_eq!(claim(asked, HERE), Some((OURS, Claim::Asks)));
        assert_eq!(claim(&question(OURS, Ipv4Addr::UNSPECIFIED, VIP), VIP), None);
        let reply = packet(REPLY, (THEIRS, VIP), (OURS, HERE));
        assert_eq!(claim(&reply, VIP), Some((THEIRS, Claim::Reply)));
        assert_eq!(claim(&reply, HERE), None);
        assert_eq!(claim(&reply[..20], VIP), None);
        assert_eq!(
            claim(&announcement(THEIRS, VIP), VIP),
            Some((THEIRS, Claim::Gratuitous))
        );
        let padded = [&reply[..], &[0; 18]].concat();
        assert_eq!(claim(&padded, VIP), Some((THEIRS, Claim::Reply)));
    }

    #[test]
    fn a_sender_is_read_from_ethernet_and_ipv4_alone() {
        let good = question(THEIRS, HERE, VIP);
        assert_eq!(sender(&good), Some((THEIRS, HERE)));
        for at in 0..KIND.len() {
            let mut bad = good;
            bad[at] ^= 4;
            assert_eq!(sender(&bad), None);
        }
    }

    #[test]
    fn a_frame_of_another_protocol_holds_no_packet() {
        let mut frame = broadcast(OURS, &question(OURS, HERE, VIP));
        assert_eq!(frame.len(), 42);
        frame[13] = 0;
        assert_eq!(of_frame(&frame), None);
    }

    #[test]
    fn addresses_are_read_as_sysfs_writes_them() {
        assert_eq!("52:54:00:6c:01:00".parse(), Ok(THEIRS));
        assert_eq!(THEIRS.to_string(), "52:54:00:6c:01:00");
        for text in ["", "52:54:00", "52:54:00:6c:01:0a:0b", "52:54:00:6c:01:xx"] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = of_frame(&bytes).map(|packet| claim(packet, VIP));
            let _ = claim(&bytes, VIP);
        }
    }
}
