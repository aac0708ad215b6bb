//! Hearing other routers: VRRP as it is on the segment, below this host's own packet filter and without joining an election.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::host::os::packet_socket::{Packet, PacketSocket};
use crate::host::os::root::Root;
use crate::vrrp::Advert;
use crate::vrrp::frame::parse_ipv4;
use crate::vrrp::packet::PROTOCOL;

const ETH_P_ALL: u16 = 0x0003;
/// The groups 224.0.0.18 and ff02::12 as hardware addresses.
const GROUPS: [[u8; 6]; 2] = [[0x01, 0, 0x5e, 0, 0, 0x12], [0x33, 0x33, 0, 0, 0, 0x12]];
/// Largest packet that is looked at: the head of IPv6, 255 addresses, a trailer.
const ROOM: usize = 4300;
/// Different adverts that are kept: more than a segment has routers, and no more than a flood of forged ones may cost.
pub const MOST: usize = 1024;

/// Wanted adverts of other hosts that arrive on an interface within `patience`, each different one once, the first [`MOST`] of them.
///
/// # Errors
/// A system call failed: not root, or the interface went away.
pub fn listen(
    root: &Root,
    interface: &str,
    patience: Duration,
    wanted: impl Fn(&Advert) -> bool,
) -> io::Result<Vec<(IpAddr, Advert)>> {
    let index = root.line(&format!("/sys/class/net/{interface}/ifindex"));
    let index: i32 = index.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let socket = open(index)?;
    let mut heard: Vec<(IpAddr, Advert)> = Vec::new();
    let began = Instant::now();
    while let Some(left) = patience.checked_sub(began.elapsed()) {
        for packet in socket.receive(left)?.iter().filter(|packet| is_from_another(packet)) {
            let new = advert(&packet.bytes).filter(|new| wanted(&new.1) && !heard.contains(new));
            heard.extend(new.filter(|_| heard.len() < MOST));
        }
    }
    Ok(heard)
}

/// An advert in an IP packet.
fn advert(packet: &[u8]) -> Option<(IpAddr, Advert)> {
    let (source, destination, payload) = match packet.first()? >> 4 {
        4 => {
            let packet = parse_ipv4(packet).ok()?;
            (IpAddr::V4(packet.src), IpAddr::V4(packet.dst), packet.payload)
        }
        6 => ipv6(packet)?,
        _ => return None,
    };
    Advert::decode(payload, source, destination)
        .ok()
        .map(|(advert, _)| (source, advert))
}

/// Without extension headers: nobody sends adverts with them.
fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let (head, rest) = packet.split_at_checked(40)?;
    if head[6] != PROTOCOL {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let address = |at: usize| {
        Some(IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(&head[at..at + 16]).ok()?,
        )))
    };
    Some((address(8)?, address(24)?, rest.get(..length)?))
}

/// Lets only VRRP pass: a busy interface must not keep us busy. What comes with a VLAN tag is for another segment.
fn filter() -> [libc::sock_filter; 11] {
    const LD_W: u16 = 0x20;
    const LD_B: u16 = 0x30;
    const AND: u16 = 0x54;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    const VLAN_TAG_PRESENT: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        step(LD_W, 0, 0, VLAN_TAG_PRESENT),
        step(JEQ, 0, 8, 0),
        step(LD_B, 0, 0, 0),
        step(AND, 0, 0, 0xf0),
        step(JEQ, 0, 2, 0x40),
        // IPv4: the protocol; else IPv6: the next header. Whatever else has that byte is refused when it is read.
        step(LD_B, 0, 0, 9),
        step(JEQ, 2, 3, PROTOCOL.into()),
        step(LD_B, 0, 0, 6),
        step(JEQ, 0, 1, PROTOCOL.into()),
        step(RET, 0, 0, 0xffff),
        step(RET, 0, 0, 0),
    ]
}

/// A socket that hears VRRP only, on the interface of this number.
fn open(index: i32) -> io::Result<PacketSocket> {
    PacketSocket::open(index, ETH_P_ALL, ROOM, |socket| {
        let filter = filter();
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        socket.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        for group in GROUPS {
            let mut address = [0; 8];
            address[..6].copy_from_slice(&group);
            // The network card lets the group pass, without anybody joining it by IGMP.
            let membership = libc::packet_mreq {
                mr_ifindex: index,
                mr_type: libc::PACKET_MR_MULTICAST as u16,
                mr_alen: 6,
                mr_address: address,
            };
            socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        }
        Ok(())
    })
}

/// Whether it came from another host: what this host sends passes the socket too, and what is for other hosts or other VLANs.
fn is_from_another(packet: &Packet) -> bool {
    ![libc::PACKET_OUTGOING, libc::PACKET_OTHERHOST, libc::PACKET_LOOPBACK].contains(&packet.kind)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::vrrp::Form;
    use crate::vrrp::packet::{GROUP4, GROUP6};

    fn sent(version: u8, source: IpAddr, group: IpAddr, vip: IpAddr) -> Vec<u8> {
        let advert = Advert {
            version,
            vrid: 51,
            priority: 150,
            interval: 1,
            auth_type: 0,
            auth_data: [0; 8],
            addresses: vec![vip],
        };
        advert.encode(source, group, Form::Pseudo)
    }

    #[test]
    fn adverts_of_both_families_are_read_and_what_is_none_is_not() {
        let (source, vip) = (Ipv4Addr::new(192, 168, 0, 254), Ipv4Addr::new(192, 168, 0, 50));
        let payload = sent(2, source.into(), GROUP4.into(), vip.into());
        let mut packet = vec![0x45, 0, 0, (20 + payload.len()) as u8, 0, 0, 0, 0, 255, PROTOCOL, 0, 0];
        packet.extend([&source.octets()[..], &GROUP4.octets(), &payload].concat());
        // Ethernet fills short frames up.
        packet.extend([0; 6]);
        let (sender, heard) = advert(&packet).expect("an advert");
        assert_eq!(sender, IpAddr::V4(source));
        assert_eq!(
            (heard.vrid, heard.priority, heard.addresses),
            (51, 150, vec![vip.into()])
        );
        packet[30] ^= 1;
        assert!(advert(&packet).is_none(), "its checksum is wrong");

        let (source, vip): (Ipv6Addr, Ipv6Addr) = ("fe80::7".parse().unwrap(), "2001:db8::50".parse().unwrap());
        let payload = sent(3, source.into(), GROUP6.into(), vip.into());
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, PROTOCOL, 255];
        packet.extend([&source.octets()[..], &GROUP6.octets(), &payload].concat());
        let (sender, heard) = advert(&packet).expect("an advert");
        assert_eq!((sender, heard.addresses), (source.into(), vec![vip.into()]));
        packet[6] = 17;
        assert!(advert(&packet).is_none() && advert(&[]).is_none() && advert(&packet[..30]).is_none());
    }
}
