//! Does what the routers want, through sockets and netlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::json;

use super::{Engine, Wire};
use crate::agent::netlink::{Assigned, Change, NewAddress};
use crate::agent::pacing::Waiting;
use crate::agent::sys::VrrpSocket;
use crate::agent::{log, plan};
use crate::keepalived::Instance;
use crate::vrrp::{Advert, Form, Output, Time, frame};

impl Engine {
    /// Sockets for every wire of the configuration, on the interfaces as they are numbered now.
    pub(super) fn open_sockets(&mut self) {
        let mut wanted: BTreeMap<Wire, BTreeSet<IpAddr>> = BTreeMap::new();
        for instance in &self.config.instances {
            let groups = wanted.entry((instance.interface.clone(), instance.ipv6)).or_default();
            if !instance.unicast {
                groups.insert(plan::group(&self.config, instance));
            }
        }
        let links = &self.links;
        self.sockets.retain(|wire, (index, _)| {
            wanted.contains_key(wire) && links.named(&wire.0).is_some_and(|l| l.index == *index)
        });
        for (wire, groups) in wanted {
            let Some(link) = self.links.named(&wire.0) else {
                continue;
            };
            if !self.sockets.contains_key(&wire) {
                match VrrpSocket::open(&wire.0, link.index, wire.1) {
                    Ok(socket) => {
                        self.opened += 1;
                        self.sockets.insert(wire.clone(), (link.index, socket));
                    }
                    Err(e) => {
                        let fields = [("interface", json!(wire.0)), ("error", json!(e.to_string()))];
                        log::event("error", "cannot open a VRRP socket", &fields);
                        continue;
                    }
                }
            }
            for group in groups {
                if let Err(e) = self.sockets[&wire].1.join(group) {
                    let fields = [
                        ("interface", json!(wire.0)),
                        ("group", json!(group)),
                        ("error", json!(e.to_string())),
                    ];
                    log::event("error", "cannot join the multicast group", &fields);
                }
            }
        }
    }

    /// Does what the routers want: addresses off, adverts out, addresses on, neighbours told; each for all at once.
    pub(super) fn execute(&mut self, now: Time) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let mut wants: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        let mut released = BTreeSet::new();
        for (u, m, output) in &batch {
            match output {
                Output::Acquire => drop(wants.insert((*u, *m), true)),
                Output::Release => {
                    wants.insert((*u, *m), false);
                    released.insert((*u, *m));
                }
                _ => {}
            }
        }
        let off: Vec<Assigned> = released
            .iter()
            .flat_map(|at| self.addresses(*at))
            .map(|a| a.at)
            .collect();
        self.remove(&off);
        for (u, m, output) in &batch {
            if let Output::Send { advert, form } = output {
                let source = self.units[*u].group.routers()[*m].settings().source;
                let instance = &self.units[*u].members[*m].instance;
                self.send(instance, source, advert, *form);
            }
        }
        let owners: Vec<(usize, usize)> = wants.iter().filter(|(_, on)| **on).map(|(at, _)| *at).collect();
        let on: Vec<NewAddress> = owners.iter().flat_map(|at| self.addresses(*at)).collect();
        self.add(&on);
        self.announce(now, &batch, &wants);
        for (u, m, output) in batch {
            self.report(now, u, m, output);
        }
        self.tell_groups();
        self.notifier.tick(now);
    }

    pub(super) fn addresses(&self, (u, m): (usize, usize)) -> Vec<NewAddress> {
        plan::addresses(&self.units[u].members[m].instance, &self.links)
    }

    pub(super) fn remove(&mut self, addresses: &[Assigned]) {
        // Whoever owns them now is told of by others.
        addresses.iter().for_each(|a| self.pacer.forget(a.index, a.ip));
        let there: Vec<Assigned> = addresses
            .iter()
            .copied()
            .filter(|a| self.links.addresses.contains(a))
            .collect();
        if there.is_empty() {
            return;
        }
        if let Err(e) = self.netlink.remove(&there) {
            log::event("error", "cannot remove addresses", &[("error", json!(e.to_string()))]);
        }
        there.iter().for_each(|a| self.links.apply(&Change::AddressGone(*a)));
    }

    pub(super) fn add(&mut self, addresses: &[NewAddress]) {
        let missing: Vec<NewAddress> = addresses
            .iter()
            .filter(|a| !self.links.addresses.contains(&a.at))
            .cloned()
            .collect();
        if missing.is_empty() {
            return;
        }
        if let Err(e) = self.netlink.add(&missing) {
            log::event("error", "cannot add addresses", &[("error", json!(e.to_string()))]);
        }
        missing.iter().for_each(|a| self.links.apply(&Change::Address(a.at)));
    }

    pub(super) fn send(&self, instance: &Instance, source: IpAddr, advert: &Advert, form: Form) {
        let Some((_, socket)) = self.sockets.get(&(instance.interface.clone(), instance.ipv6)) else {
            return;
        };
        let group = [plan::group(&self.config, instance)];
        let peers: Vec<IpAddr> = instance.unicast_peers.iter().map(|p| p.ip).collect();
        let targets = if instance.unicast { &peers[..] } else { &group[..] };
        // keepalived's defaults for unicast: 255 over IPv4, 64 over IPv6.
        let hops = match (instance.unicast, instance.unicast_ttl) {
            (true, Some(ttl)) => ttl,
            (true, None) if instance.ipv6 => 64,
            _ => 255,
        };
        for to in targets {
            match socket.send(&advert.encode(source, *to, form), source, *to, hops) {
                Ok(()) => drop(self.mute.borrow_mut().remove(&instance.name)),
                Err(e) => {
                    if self.mute.borrow_mut().insert(instance.name.clone()) {
                        let fields = [
                            ("instance", json!(instance.name)),
                            ("to", json!(to)),
                            ("error", json!(e.to_string())),
                        ];
                        log::event("warning", "sending adverts fails", &fields);
                    }
                }
            }
        }
    }

    fn announce(&mut self, now: Time, batch: &[(usize, usize, Output)], wants: &BTreeMap<(usize, usize), bool>) {
        let mut frames: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for (u, m, output) in batch {
            let Output::Announce { count } = output else { continue };
            if wants.get(&(*u, *m)) == Some(&false) {
                continue;
            }
            let addresses = self.addresses((*u, *m));
            for _ in 0..*count {
                for a in &addresses {
                    let (index, ip) = (a.at.index, a.at.ip);
                    let Some((link, mac)) = self.links.links.get(&index).and_then(|l| Some((l, l.mac?))) else {
                        continue;
                    };
                    let frame = frame::announce(mac, ip);
                    if self.pacer.paces(&link.name, ip.is_ipv6()) {
                        self.pacer.push(&link.name, Waiting { index, ip, frame }, *count);
                    } else {
                        frames.entry(index).or_default().push(frame);
                    }
                }
            }
        }
        for (index, frames) in frames {
            self.tell(index, &frames);
        }
        self.announce_paced(now);
    }

    /// Announcements whose pause is over.
    pub(super) fn announce_paced(&mut self, now: Time) {
        let due = self.pacer.due(now);
        self.announce_now(due);
    }

    pub(super) fn announce_now(&self, messages: Vec<Waiting>) {
        for message in messages {
            self.tell(message.index, &[message.frame]);
        }
    }

    fn tell(&self, index: u32, frames: &[Vec<u8>]) {
        if let Err(e) = self.frames.send(index, frames) {
            log::event(
                "warning",
                "cannot tell the neighbours",
                &[("error", json!(e.to_string()))],
            );
        }
    }
}
