//! Somebody else who uses an address of ours.
//!
//! Adverts show it over IPv6 only: the kernel drops an IPv4 packet whose source is an address of the host before a raw socket sees it.
//! ARP shows it over IPv4, as in RFC 5227: another host asks or answers with our address as its own. The kernel picks these out
//! (a socket filter), so the ARP of a busy segment costs the daemon nothing; and it looks into the socket when it is awake anyway, at
//! most once a second and only at a few, so that whoever forges them cannot keep it busy.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use std::{io, mem};

use serde_json::{Value, json};

use super::netlink::Links;
use super::packet_socket::PacketSocket;
use crate::agent::os::log;
use crate::state::arp::{self, Mac};
use crate::vrrp::{MEMORY, Time};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Frames that are read in a look; what the socket has no room for is dropped by the kernel.
const FRAMES: usize = 16;
/// Addresses of ours that are watched.
const SOURCES: usize = 64;
/// Others that are remembered.
const MOST: usize = 16;
/// An ARP packet with its Ethernet header.
const FRAME: usize = arp::ETHERNET + arp::LENGTH;

/// An interface's number, and an address of ours on it.
pub(crate) type Source = (u32, Ipv4Addr);

/// Another host with an address of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The address.
    address: Ipv4Addr,
    /// Where it was seen.
    interface: String,
    /// The other host's hardware address.
    mac: Mac,
    /// First seen.
    since: Time,
    /// Last seen.
    heard: Time,
}

/// What was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    /// What the socket's filter lets through.
    watched: BTreeSet<Source>,
    seen: Vec<Duplicate>,
    looked: Option<Time>,
    failed: bool,
}

impl Duplicates {
    /// Whether a look is due.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.looked.is_none_or(|at| now >= at + LOOK)
    }

    /// Looks for others that use these addresses. What is new is logged.
    pub(crate) fn look(&mut self, now: Time, sources: BTreeSet<Source>, links: &Links, socket: &mut PacketSocket) {
        self.looked = Some(now);
        if let Err(e) = self.watch(sources, socket) {
            // It is tried again every second, and decides nothing.
            if !mem::replace(&mut self.failed, true) {
                let message = "cannot look for other hosts with our address";
                log::event("warning", message, &[("error", json!(e.to_string()))]);
            }
            return;
        }
        self.failed = false;
        for (index, frame) in std::iter::from_fn(|| socket.receive::<FRAME>()).take(FRAMES) {
            let Some((mac, address)) = arp::sender(&frame[arp::ETHERNET..]) else {
                continue;
            };
            // Another interface of ours on the same segment hears what we say.
            let own = links.links.values().any(|l| l.mac == Some(mac));
            if let (true, false, Some(link)) = (self.watched.contains(&(index, address)), own, links.links.get(&index))
            {
                self.note(now, address, &link.name, mac);
            }
        }
    }

    fn note(&mut self, now: Time, address: Ipv4Addr, interface: &str, mac: Mac) {
        self.seen.retain(|d| now <= d.heard + MEMORY);
        let known = |d: &&mut Duplicate| (d.address, d.mac) == (address, mac) && d.interface == interface;
        if let Some(duplicate) = self.seen.iter_mut().find(known) {
            duplicate.heard = now;
            return;
        }
        if self.seen.len() >= MOST {
            return;
        }
        let duplicate = Duplicate {
            address,
            interface: interface.to_owned(),
            mac,
            since: now,
            heard: now,
        };
        log::event("error", &duplicate.to_string(), &[("interface", json!(interface))]);
        self.seen.push(duplicate);
    }

    /// Others that were seen lately.
    pub(crate) fn list(&self, now: Time) -> Vec<Duplicate> {
        self.seen.iter().filter(|d| now <= d.heard + MEMORY).cloned().collect()
    }

    /// Makes the socket let through what is about these addresses.
    fn watch(&mut self, sources: BTreeSet<Source>, socket: &mut PacketSocket) -> io::Result<()> {
        let sources: BTreeSet<Source> = sources.into_iter().take(SOURCES).collect();
        if sources == self.watched {
            return Ok(());
        }
        let addresses: BTreeSet<Ipv4Addr> = sources.iter().map(|(_, ip)| *ip).collect();
        socket.hear_arp(&filter(&addresses))?;
        self.watched = sources;
        Ok(())
    }
}

impl Duplicate {
    /// For `status --json`.
    pub(crate) fn json(&self, at: Time) -> Value {
        let since = |time| at.saturating_sub(time).as_secs_f64();
        json!({
            "address": IpAddr::V4(self.address), "interface": self.interface, "hardware_address": self.mac,
            "seconds_since_first": since(self.since), "seconds_since_last": since(self.heard),
        })
    }
}

impl std::fmt::Display for Duplicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Duplicate {
            address,
            interface,
            mac,
            ..
        } = self;
        write!(f, "another host on {interface}, {mac}, uses our own address {address}")
    }
}

/// A program for the kernel: lets frames pass whose ARP message has one of these addresses as its sender.
fn filter(addresses: &BTreeSet<Ipv4Addr>) -> Vec<libc::sock_filter> {
    let step = |code: u32, jt: usize, k: u32| libc::sock_filter {
        code: code as u16,
        jt: jt as u8,
        jf: 0,
        k,
    };
    let mut program = vec![step(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        (arp::ETHERNET + arp::SENDER_IP) as u32,
    )];
    for (at, address) in addresses.iter().enumerate() {
        // Over the comparisons that are left, and the step that drops.
        let to_pass = addresses.len() - at;
        program.push(step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            to_pass,
            u32::from(*address),
        ));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, FRAME as u32));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel makes of such a program: the steps that it has.
    fn passes(program: &[libc::sock_filter], frame: &[u8]) -> bool {
        let mut at = 0;
        let mut loaded = 0;
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    let k = step.k as usize;
                    loaded = u32::from_be_bytes(frame[k..k + 4].try_into().unwrap());
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                    at += usize::from(if loaded == step.k { step.jt } else { step.jf });
                }
                code if code == libc::BPF_RET | libc::BPF_K => return step.k != 0,
                other => panic!("{other}"),
            }
        }
    }

    fn frame(ip: [u8; 4]) -> [u8; FRAME] {
        let mac = Mac([2; 6]);
        arp::broadcast(mac, &arp::announcement(mac, ip.into()))
    }

    #[test]
    fn the_filter_passes_our_addresses_and_no_others() {
        let ours: BTreeSet<Ipv4Addr> = (1..=SOURCES as u8).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        for some in [1, 2, ours.len()] {
            let watched: BTreeSet<Ipv4Addr> = ours.iter().copied().take(some).collect();
            let program = filter(&watched);
            for n in 0..=255 {
                let is_ours = usize::from(n) <= some && n > 0;
                assert_eq!(passes(&program, &frame([10, 0, 0, n])), is_ours, "{n}");
            }
        }
    }

    #[test]
    fn forged_hardware_addresses_take_no_more_than_a_few_rows() {
        let mut d = Duplicates::default();
        let (ip, t) = (Ipv4Addr::new(10, 0, 0, 1), Time::from_secs);
        for n in 0..=255 {
            d.note(t(1), ip, "eth0", Mac([2, 0, 0, 0, 0, n]));
            d.note(t(2), ip, "eth0", Mac([2, 0, 0, 0, 0, n]));
        }
        assert_eq!(d.list(t(2)).len(), MOST);
        assert_eq!((d.seen[0].since, d.seen[0].heard), (t(1), t(2)));
        assert!(d.list(t(303)).is_empty());
        d.note(t(303), ip, "eth0", Mac([2, 0, 0, 0, 1, 0]));
        let text = "another host on eth0, 02:00:00:00:01:00, uses our own address 10.0.0.1";
        assert_eq!((d.seen.len(), d.seen[0].to_string().as_str()), (1, text));
    }
}
