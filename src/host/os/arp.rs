//! Asking the segment who has an IPv4 address (RFC 826), below this host's own packet filter.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::host::os::packet_socket::PacketSocket;
use crate::host::os::root::Root;
use crate::state::arp::{self, Mac};

/// Pause between two requests: a switch may drop one while it learns.
const AGAIN: Duration = Duration::from_millis(500);

/// Most bytes of a packet that are read: the shortest Ethernet frame, padding included, has no more.
const ROOM: usize = 64;

/// An Ethernet interface that speaks ARP and has link.
#[derive(Debug, Clone, Copy)]
pub struct Interface {
    index: i32,
    mac: Mac,
}

impl Interface {
    /// `None`: there is no such interface, it is down or without link, or it is none that speaks ARP.
    pub fn named(root: &Root, name: &str) -> Option<Interface> {
        const ARPHRD_ETHER: &str = "1";
        const IFF_UP: u32 = 0x1;
        const IFF_NOARP: u32 = 0x80;
        let file = |leaf: &str| root.line(&format!("/sys/class/net/{name}/{leaf}"));
        let flags = u32::from_str_radix(file("flags").trim_start_matches("0x"), 16).ok()?;
        if file("type") != ARPHRD_ETHER || file("carrier") != "1" || flags & (IFF_UP | IFF_NOARP) != IFF_UP {
            return None;
        }
        Some(Interface {
            index: file("ifindex").parse().ok()?,
            mac: file("address").parse().ok()?,
        })
    }
}

/// Who has this address on the segment of an interface, in the usual notation; `None`: nobody answered in time.
/// `sender` is our own address there, or 0.0.0.0 to ask without having one (RFC 5227). Answers of this host's own
/// interfaces do not count.
///
/// # Errors
/// A system call failed: not root, or the interface went away.
pub fn who_has(
    root: &Root,
    interface: Interface,
    wanted: Ipv4Addr,
    sender: Ipv4Addr,
    patience: Duration,
) -> io::Result<Option<String>> {
    let mut answers = who_have(root, interface, &[wanted], sender, patience)?;
    Ok(answers.pop().map(|(_, mac)| mac))
}

/// The same for several addresses at once: those that somebody has, each with the first station that answered.
///
/// # Errors
/// As [`who_has`].
pub fn who_have(
    root: &Root,
    interface: Interface,
    wanted: &[Ipv4Addr],
    sender: Ipv4Addr,
    patience: Duration,
) -> io::Result<Vec<(Ipv4Addr, String)>> {
    let own: Vec<Mac> = root
        .names("/sys/class/net")
        .iter()
        .filter_map(|name| root.line(&format!("/sys/class/net/{name}/address")).parse().ok())
        .collect();
    let socket = PacketSocket::open(interface.index, arp::ETHERTYPE, ROOM, |_| Ok(()))?;
    let mut missing = wanted.to_vec();
    let mut answers = Vec::new();
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < patience && !missing.is_empty() {
        if began.elapsed() >= AGAIN * asked {
            asked += 1;
            for address in &missing {
                socket.broadcast(&arp::question(interface.mac, sender, *address))?;
            }
        }
        let wait = (AGAIN * asked).min(patience).saturating_sub(began.elapsed());
        for packet in socket.receive(wait)? {
            missing.retain(|address| {
                let Some((mac, _)) = arp::claim(&packet.bytes, *address).filter(|(mac, _)| !own.contains(mac)) else {
                    return true;
                };
                answers.push((*address, mac.to_string()));
                false
            });
        }
    }
    Ok(answers)
}
