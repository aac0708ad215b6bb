//! What the kernel has on its interfaces: kept up with, and put right where it is not what the routers want.

use std::collections::BTreeSet;
use std::io;

use serde_json::json;

use super::drive::Engine;
use crate::agent::net::netlink::{Assigned, Change, NewAddress};
use crate::agent::os::log;
use crate::agent::plan;
use crate::vrrp::{Input, State, Time};

impl Engine {
    /// Interfaces or addresses changed.
    pub(crate) fn changed(&mut self, now: Time, changes: &[Change]) {
        if changes.contains(&Change::Overrun) {
            self.netlink_overruns += 1;
            log::event("warning", "netlink overrun, reading everything again", &[]);
            // What waited beside it is older than what is read now.
            if let Some((difference, renewed)) = self.reread(now) {
                self.follow(now, &difference);
                return self.tell_of_hardware(now, &renewed);
            }
        }
        let changes: Vec<Change> = changes.iter().map(|c| self.as_seen(c)).collect();
        let renewed = self.renewed(&changes);
        changes.iter().for_each(|change| self.links.apply(change));
        self.follow(now, &changes);
        self.tell_of_hardware(now, &renewed);
    }

    /// A VIP with duplicate address detection (`-nodad`) is there while that runs: nobody took it away.
    pub(super) fn as_seen(&self, change: &Change) -> Change {
        match change {
            Change::Unusable(a) if self.vips.contains(&a.ip) => Change::Address(*a),
            other => other.clone(),
        }
    }

    /// Interfaces that have another hardware address than we know.
    fn renewed(&self, changes: &[Change]) -> BTreeSet<u32> {
        let renewed = changes.iter().filter_map(|change| {
            let Change::Link(new) = change else { return None };
            let old = self.links.links.get(&new.index)?;
            (old.mac.is_some() && new.mac.is_some() && old.mac != new.mac).then_some(new.index)
        });
        renewed.collect()
    }

    /// Owners with addresses on these interfaces tell the neighbours: until then these send to a hardware address that is gone.
    fn tell_of_hardware(&mut self, now: Time, renewed: &BTreeSet<u32>) {
        if renewed.is_empty() {
            return;
        }
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                if self.addresses((u, m)).iter().any(|a| renewed.contains(&a.at.index)) {
                    self.give(now, u, m, Input::NewHardwareAddress);
                }
            }
        }
        self.execute(now);
    }

    /// Reads what there is. Returns what is different from what we knew, and which interfaces have another hardware address.
    fn reread(&mut self, now: Time) -> Option<(Vec<Change>, BTreeSet<u32>)> {
        match self.netlink.read() {
            Ok(links) => {
                let difference = self.links.changes_to(&links);
                let renewed = self.renewed(&difference);
                self.links = links;
                self.undone.stale = false;
                Some((difference, renewed))
            }
            Err(e) => {
                self.undone.stale = true;
                self.undone.failed(now, "cannot read interfaces", &e);
                None
            }
        }
    }

    /// Does what follows from changes that [`Engine::links`] knows of already.
    fn follow(&mut self, now: Time, changes: &[Change]) {
        self.addresses_came(now, changes);
        let settled = self.debounce.tick(now, &self.links);
        let lost: BTreeSet<Assigned> = changes
            .iter()
            .filter_map(|c| if let Change::AddressGone(a) = c { Some(*a) } else { None })
            .filter(|a| !self.links.addresses.contains(a))
            .collect();
        // Mostly the echo of our own changes: nothing that decides about sources, sockets or faults.
        let own = |c: &Change| matches!(c, Change::Address(a) | Change::AddressGone(a) if self.vips.contains(&a.ip));
        if lost.is_empty() && !settled && changes.iter().all(own) {
            return;
        }
        self.open_sockets(now);
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                let member = &self.units[u].members[m];
                let is_master = self.units[u].group.routers()[m].state() == State::Master;
                let ours = plan::addresses(&member.instance, &self.links);
                let missing = ours.iter().any(|a| lost.contains(&a.at));
                let source = plan::source(&self.vips, &member.instance, &self.links);
                let moved = source != member.source && source.is_some();
                if is_master && missing {
                    let name = member.instance.name.clone();
                    log::event(
                        "warning",
                        "someone removed an address; adding it again",
                        &[("instance", json!(name))],
                    );
                    self.give(now, u, m, Input::AddressLost);
                }
                self.units[u].members[m].source = source;
                if let (true, Some(source)) = (moved, source) {
                    let settings = plan::settings(&self.units[u].members[m].instance, source);
                    let effective = self.units[u].members[m].effective;
                    self.give(now, u, m, Input::Configure(Box::new(settings), effective));
                }
            }
        }
        self.retrack(now);
    }

    /// Tries again what failed, if it is time.
    pub(crate) fn retry(&mut self, now: Time) {
        if self.undone.at.take_if(|at| *at <= now).is_none() {
            return;
        }
        if self.undone.stale
            && let Some((difference, renewed)) = self.reread(now)
        {
            self.follow(now, &difference);
            self.tell_of_hardware(now, &renewed);
        }
        self.open_sockets(now);
        let mut wanted: BTreeSet<Assigned> = BTreeSet::new();
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                if self.units[u].group.routers()[m].state() == State::Master {
                    let ours = self.addresses((u, m));
                    if ours.iter().any(|a| !self.links.addresses.contains(&a.at)) {
                        self.give(now, u, m, Input::AddressLost);
                    }
                    wanted.extend(ours.into_iter().map(|a| a.at));
                }
            }
        }
        let leftover = std::mem::take(&mut self.undone.leftover);
        let off: Vec<Assigned> = leftover.into_iter().filter(|a| !wanted.contains(a)).collect();
        self.remove(now, &off);
        self.retrack(now);
        if self.undone.at.is_none() {
            self.undone.tries = 0;
            self.undone.said = None;
        }
    }

    /// Removes addresses; a removal that fails is tried again.
    pub(super) fn remove(&mut self, now: Time, addresses: &[Assigned]) {
        // Announcing them is up to their owner now.
        addresses.iter().for_each(|a| self.pacer.forget(a.index, a.ip));
        let there: Vec<Assigned> = addresses
            .iter()
            .copied()
            .filter(|a| self.undone.unsure.remove(a) || self.links.addresses.contains(a))
            .collect();
        if there.is_empty() {
            return;
        }
        let failures = self.netlink.remove(&there);
        let failed = self.refused(now, "cannot remove addresses", &failures);
        for (at, address) in there.iter().enumerate() {
            if failed.contains(&at) {
                self.undone.leftover.insert(*address);
            } else {
                self.undone.leftover.remove(address);
                self.links.apply(&Change::AddressGone(*address));
            }
        }
    }

    /// Which of a batch the kernel refused; the first refusal is reported.
    fn refused(&mut self, now: Time, message: &str, failures: &[(usize, io::Error)]) -> BTreeSet<usize> {
        if let Some((_, e)) = failures.first() {
            self.undone.failed(now, message, e);
        }
        failures.iter().map(|(at, _)| *at).collect()
    }

    /// Puts on what is not there yet; what cannot be put on is tried again.
    pub(super) fn add(&mut self, now: Time, addresses: &[NewAddress]) {
        for address in addresses {
            self.undone.leftover.remove(&address.at);
        }
        let missing: Vec<NewAddress> = addresses
            .iter()
            .filter(|a| !self.links.addresses.contains(&a.at))
            .cloned()
            .collect();
        if missing.is_empty() {
            return;
        }
        let failures = self.netlink.add(&missing);
        let failed = self.refused(now, "cannot add addresses", &failures);
        for (at, address) in missing.iter().enumerate() {
            if failed.contains(&at) {
                self.undone.unsure.insert(address.at);
            } else {
                self.undone.unsure.remove(&address.at);
                self.links.apply(&Change::Address(address.at));
            }
        }
    }

    /// Nothing of ours is left on the interfaces, as far as we know.
    pub(crate) fn is_clean(&self) -> bool {
        !self.undone.leftover.iter().any(|a| self.links.addresses.contains(a))
    }
}
