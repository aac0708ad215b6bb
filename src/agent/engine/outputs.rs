//! Does what the routers want, through sockets and netlink.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;

use serde_json::json;

use super::drive::{Ear, Engine, Wire};
use crate::agent::net::netlink::{Assigned, NewAddress};
use crate::agent::net::pacing::Waiting;
use crate::agent::net::vrrp_socket::{Outbox, VrrpSocket};
use crate::agent::notes::Notes;
use crate::agent::os::epoll_registered::Watched;
use crate::agent::os::{log, sys};
use crate::agent::plan;
use crate::keepalived::{Family, Instance};
use crate::state::arp::{self, Mac};
use crate::vrrp::{Advert, Form, Input, Output, Router, State, Time, frame};

/// What a router wants: unit, member, output.
type Order = (usize, usize, Output);

/// An advert and what it takes to send it.
pub(super) type ToSend<'a> = (&'a Instance, &'a Router, &'a Advert, Form);

/// How many routers are released first: their peers hear of it while the addresses of the others are still being removed.
const FIRST: usize = 4;

/// The Ethernet frame that tells neighbours who owns an address now.
fn announcement(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::broadcast(mac, &arp::announcement(mac, address)).into(),
        IpAddr::V6(address) => frame::neighbour_advertisement(mac.0, address),
    }
}

/// The orders in parts that are carried out one after the other. Orders of one router are never torn apart.
fn parts(batch: &[Order]) -> impl Iterator<Item = &[Order]> {
    let router = |(u, m, _): &Order| (*u, *m);
    let releases = batch.iter().enumerate().filter(|(_, o)| matches!(o.2, Output::Release));
    let cut = releases.map(|(at, _)| at).nth(FIRST).map_or(batch.len(), |at| {
        let begins = batch[..at].iter().rposition(|o| router(o) != router(&batch[at]));
        begins.map_or(batch.len(), |before| before + 1)
    });
    let (first, rest) = batch.split_at(cut);
    [first, rest].into_iter().filter(|part| !part.is_empty())
}

/// The orders that follow where adverts could not be sent, without the ownerships that never were: a router that became owner in
/// this batch and gave up at once has no transition to report, and gets no addresses.
fn without_attempts(
    batch: &mut Vec<Order>,
    mut given_up: Vec<Order>,
    wants: &mut BTreeMap<(usize, usize), bool>,
) -> Vec<Order> {
    let released: BTreeSet<(usize, usize)> = given_up
        .iter()
        .filter(|(.., output)| matches!(output, Output::Release))
        .map(|(u, m, _)| (*u, *m))
        .collect();
    if released.is_empty() {
        return given_up;
    }
    wants.extend(released.iter().map(|at| (*at, false)));
    let promoted = |(u, m, output): &Order| {
        let begins = matches!(output, Output::Transition { to: State::Master, .. });
        begins && released.contains(&(*u, *m))
    };
    let attempts: BTreeSet<(usize, usize)> = batch.iter().filter(|o| promoted(o)).map(|(u, m, _)| (*u, *m)).collect();
    batch.retain(|o| !promoted(o));
    let told = |(u, m, output): &Order| attempts.contains(&(*u, *m)) && matches!(output, Output::Transition { .. });
    given_up.retain(|o| !told(o));
    given_up
}

impl Engine {
    /// Sockets for every wire of the configuration, on the interfaces as they are numbered now. What cannot be opened or
    /// joined is tried again.
    pub(super) fn open_sockets(&mut self, now: Time) {
        let mut wanted: BTreeMap<Wire, BTreeSet<IpAddr>> = BTreeMap::new();
        for instance in &self.config.instances {
            let groups = wanted.entry(Wire::of(instance)).or_default();
            if !instance.unicast {
                groups.insert(plan::group(&self.config, instance));
            }
        }
        let links = &self.links;
        self.sockets.retain(|wire, ear| {
            wanted.contains_key(wire) && links.named(&wire.interface).is_some_and(|l| l.index == ear.index)
        });
        for (wire, groups) in wanted {
            let Some(index) = self.links.named(&wire.interface).map(|l| l.index) else {
                continue;
            };
            if !self.sockets.contains_key(&wire) {
                let opened = VrrpSocket::open(&wire.interface, index, wire.family)
                    .and_then(|socket| Watched::new(socket, &self.epoll, self.tokens.packets));
                let socket = match opened {
                    Ok(socket) => socket,
                    Err(e) => {
                        let message = format!("cannot open a VRRP socket on {}", wire.interface);
                        self.undone.failed(now, &message, &e);
                        continue;
                    }
                };
                let joined = BTreeSet::new();
                self.sockets.insert(wire.clone(), Ear { index, socket, joined });
            }
            let Some(ear) = self.sockets.get_mut(&wire) else {
                continue;
            };
            for group in groups {
                if ear.joined.contains(&group) {
                    continue;
                }
                match ear.socket.join(group) {
                    Ok(()) => drop(ear.joined.insert(group)),
                    Err(e) => {
                        let message = format!("cannot join the multicast group {group} on {}", wire.interface);
                        self.undone.failed(now, &message, &e);
                    }
                }
            }
        }
    }

    /// Whether the adverts of others reach an instance: who does not hear an owner must not become one.
    pub(super) fn hears(&self, instance: &Instance) -> bool {
        let ear = self.sockets.iter().find(|(wire, _)| wire.carries(instance));
        ear.is_some_and(|(_, ear)| instance.unicast || ear.joined.contains(&plan::group(&self.config, instance)))
    }

    /// Does what the routers want: addresses off, adverts out, addresses on, neighbours told; each for all at once.
    pub(super) fn execute(&mut self, now: Time) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let mut wants: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        for (u, m, output) in &batch {
            match output {
                Output::Acquire => drop(wants.insert((*u, *m), true)),
                Output::Release => drop(wants.insert((*u, *m), false)),
                Output::Send { .. }
                | Output::Announce { .. }
                | Output::Transition { .. }
                | Output::Priority { .. }
                | Output::LowerHeard { .. }
                | Output::Alarm(_) => {}
            }
        }
        let mut unsent: BTreeSet<(usize, usize)> = BTreeSet::new();
        for part in parts(&batch) {
            let released: BTreeSet<(usize, usize)> = part
                .iter()
                .filter(|(_, _, output)| matches!(output, Output::Release))
                .map(|(u, m, _)| (*u, *m))
                .collect();
            let off = released.iter().flat_map(|at| self.addresses(*at)).map(|a| a.at);
            self.remove(now, &off.collect::<Vec<_>>());
            let failed = self.send(part.iter().filter_map(|(u, m, output)| {
                let Output::Send { advert, form } = output else {
                    return None;
                };
                let unit = &self.units[*u];
                Some((&*unit.members[*m].instance, &unit.group.routers()[*m], advert, *form))
            }));
            if !failed.is_empty() {
                let senders = part.iter().filter(|(.., output)| matches!(output, Output::Send { .. }));
                let mute = |(u, m, _): &&Order| failed.contains(&self.units[*u].members[*m].instance.name);
                unsent.extend(senders.filter(mute).map(|(u, m, _)| (*u, *m)));
            }
        }
        // Before the addresses go on: who cannot send does not get them.
        for (u, m) in unsent {
            self.give(now, u, m, Input::Unsent);
        }
        let given_up = std::mem::take(&mut self.batch);
        let given_up = without_attempts(&mut batch, given_up, &mut wants);
        let owners = wants.iter().filter(|(_, on)| **on).map(|(at, _)| *at);
        let on: Vec<NewAddress> = owners.flat_map(|at| self.addresses(at)).collect();
        self.add(now, &on);
        self.announce(now, &batch, &wants);
        for (u, m, output) in batch.drain(..) {
            self.report(now, u, m, output);
        }
        // For its memory.
        self.batch = batch;
        self.tell_groups();
        self.notifier.tick(now);
        if !given_up.is_empty() {
            self.batch.extend(given_up);
            self.execute(now);
        }
    }

    /// What the stop step has to know of this run.
    pub(crate) fn notes(&self) -> Notes {
        let all = self
            .config
            .instances
            .iter()
            .flat_map(|i| plan::addresses(i, &self.links))
            .map(|a| a.at);
        let all: BTreeSet<Assigned> = all.chain(self.undone.leftover().copied()).collect();
        let addresses = all.iter().filter_map(|a| {
            let link = self.links.links.get(&a.index)?;
            Some((link.name.clone(), a.ip, a.prefix))
        });
        let routers = self.units.iter().flat_map(|u| u.members.iter().zip(u.group.routers()));
        let forms = routers.filter_map(|(m, r)| Some((m.instance.name.clone(), r.learned_form()?)));
        Notes {
            addresses: addresses.collect(),
            forms: forms.collect(),
        }
    }

    pub(super) fn addresses(&self, (u, m): (usize, usize)) -> Vec<NewAddress> {
        plan::addresses(&self.units[u].members[m].instance, &self.links)
    }

    /// Sends adverts, with one system call for each wire. Returns the names of the instances whose adverts reached nobody.
    pub(super) fn send<'a>(&'a self, adverts: impl Iterator<Item = ToSend<'a>> + Clone) -> BTreeSet<String> {
        let mut unsent = BTreeSet::new();
        let mut outbox = self.outbox.borrow_mut();
        let (now, real) = (sys::now(), sys::real_time());
        for (wire, Ear { socket, .. }) in &self.sockets {
            let here = adverts.clone().filter(|(instance, ..)| wire.carries(instance));
            outbox.clear();
            for (instance, router, advert, form) in here.clone() {
                // One for all peers: what they are sent is the same message.
                let seal = router.seal(now, real);
                let source = router.settings().source;
                for to in plan::targets(&self.config, instance) {
                    outbox.push((advert, form, seal), source, to, plan::hops(instance));
                }
            }
            if outbox.is_empty() {
                continue;
            }
            let failed = socket.send(&mut outbox);
            if !failed.is_empty() || !self.mute.borrow().is_empty() {
                let of_each = here.flat_map(|(i, ..)| plan::targets(&self.config, i).map(move |_| i));
                self.note_failures(&of_each.collect::<Vec<_>>(), &outbox, &failed, &mut unsent);
            }
        }
        unsent
    }

    /// `instances[n]` is the instance that message `n` of the outbox belongs to.
    fn note_failures(
        &self,
        instances: &[&Instance],
        outbox: &Outbox,
        failed: &[(usize, io::Error)],
        unsent: &mut BTreeSet<String>,
    ) {
        let mut mute = self.mute.borrow_mut();
        for (at, instance) in instances.iter().enumerate() {
            if at > 0 && instances[at - 1].name == instance.name {
                continue;
            }
            let messages = instances.iter().filter(|i| i.name == instance.name).count();
            let failures = failed
                .iter()
                .filter(|(at, _)| instances[*at].name == instance.name)
                .count();
            if failures == messages {
                unsent.insert(instance.name.clone());
            }
            // One of several unicast peers is enough to say so.
            match failed.iter().find(|(at, _)| instances[*at].name == instance.name) {
                None => drop(mute.remove(&instance.name)),
                Some((at, e)) => {
                    if mute.insert(instance.name.clone()) {
                        let fields = [
                            ("instance", json!(instance.name)),
                            ("to", json!(outbox.dst(*at))),
                            ("error", json!(e.to_string())),
                        ];
                        log::event("warning", "sending adverts fails", &fields);
                    }
                }
            }
        }
    }

    /// Tells the neighbours: of every address once, then of all again, so that none waits for the repetitions of another.
    fn announce(&mut self, now: Time, batch: &[Order], wants: &BTreeMap<(usize, usize), bool>) {
        let mut all: Vec<(u32, IpAddr, Vec<u8>, u32)> = Vec::new();
        let announces = |(.., output): &Order| matches!(output, Output::Announce { .. });
        // Of an address that could not be put on there is nothing to tell.
        let there: HashSet<Assigned> = match batch.iter().any(announces) {
            true => self.links.addresses.iter().copied().collect(),
            false => HashSet::new(),
        };
        for (u, m, output) in batch {
            let Output::Announce { count } = output else { continue };
            if wants.get(&(*u, *m)) == Some(&false) {
                continue;
            }
            let addresses = self.addresses((*u, *m)).into_iter();
            for a in addresses.filter(|a| there.contains(&a.at)) {
                if let Some(mac) = self.links.links.get(&a.at.index).and_then(|l| l.mac) {
                    all.push((a.at.index, a.at.ip, announcement(mac, a.at.ip), *count));
                }
            }
        }
        let rounds = all.iter().map(|(.., count)| *count).max().unwrap_or(0);
        let mut frames: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
        for round in 0..rounds {
            for (index, ip, frame, count) in all.iter().filter(|(.., count)| round < *count) {
                let name = self.links.links.get(index).map_or("", |l| &l.name);
                if self.pacer.paces(name, Family::of(*ip)) {
                    let (index, ip, frame) = (*index, *ip, frame.clone());
                    self.pacer.push(name, Waiting { index, ip, frame }, *count);
                } else {
                    frames.entry(*index).or_default().push(frame);
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
            self.tell(message.index, &[&message.frame]);
        }
    }

    fn tell(&self, index: u32, frames: &[&[u8]]) {
        if let Err(e) = self.packets.send(index, frames) {
            log::event(
                "warning",
                "cannot announce addresses to the neighbours",
                &[("error", json!(e.to_string()))],
            );
        }
    }
}
