//! Judges what should not be: VIPs of ours that another router announces, or that lie on an interface that does not own them.

use std::net::IpAddr;

use serde_json::json;

use super::drive::{Engine, Wire};
use super::strays::{MOST, SETTLED};
use crate::agent::net::netlink::{Assigned, Change};
use crate::agent::os::log;
use crate::agent::tell::other_router::OtherRouter;
use crate::vrrp::packet::announced;
use crate::vrrp::{MEMORY, Packet, Time};

impl Engine {
    /// An advert of an id that is not ours on that interface.
    pub(super) fn stray_packet(&mut self, now: Time, wire: &Wire, packet: &Packet<'_>) {
        let ours = |ip: &IpAddr| self.vips.contains(ip);
        let Some((vrid, vip)) = announced(packet.payload, packet.src, packet.dst, ours) else {
            return;
        };
        let routers = &mut self.strays.routers;
        let known = |r: &&mut OtherRouter| r.src == packet.src && r.vrid == vrid && r.interface == wire.interface;
        if let Some(router) = routers.iter_mut().find(known).filter(|r| now <= r.heard + MEMORY) {
            router.heard = now;
            router.packets += 1;
            return;
        }
        routers.retain(|r| now <= r.heard + MEMORY);
        if routers.len() >= MOST {
            return;
        }
        let router = OtherRouter {
            src: packet.src,
            interface: wire.interface.clone(),
            vrid,
            vip,
            since: now,
            heard: now,
            packets: 1,
        };
        log::event("error", &router.to_string(), &[("interface", json!(router.interface))]);
        routers.push(router);
    }

    /// Other routers that were heard lately.
    pub(super) fn other_routers(&self, now: Time) -> Vec<OtherRouter> {
        let lately = self.strays.routers.iter().filter(|r| now <= r.heard + MEMORY);
        lately.cloned().collect()
    }

    /// Addresses came: whether we put them there is judged a little later.
    pub(super) fn addresses_came(&mut self, now: Time, changes: &[Change]) {
        let vip = |c: &Change| matches!(c, Change::Address(a) if self.vips.contains(&a.ip));
        if changes.iter().any(vip) && self.strays.due.is_none() {
            self.strays.due = Some(now + SETTLED);
        }
    }

    /// Names VIPs that are on an interface where no instance of this host put them. They are not removed: whoever put them there
    /// may have a reason, and would do it again.
    pub(super) fn look_for_uninvited(&mut self, now: Time) {
        if self.strays.due.take_if(|at| *at <= now).is_none() {
            return;
        }
        let there = self.uninvited();
        self.strays.named.retain(|a| there.contains(a));
        for address in there {
            if self.strays.named.insert(address) {
                let interface = self.links.links.get(&address.index).map_or("", |l| &l.name);
                let message = "a VIP is on an interface where no instance of this host put it";
                let fields = [("vip", json!(address.ip)), ("interface", json!(interface))];
                log::event("error", message, &fields);
            }
        }
    }

    /// VIPs on interfaces of this host that none of its instances put there.
    pub(super) fn uninvited(&self) -> Vec<Assigned> {
        let owned = self.addresses_of_owners();
        // LVS's direct routing has the VIPs on the loopback interface on purpose.
        let loopback = self.links.named("lo").map(|l| l.index);
        let all = self.links.addresses.iter();
        all.filter(|a| self.vips.contains(&a.ip) && !owned.contains(a) && Some(a.index) != loopback)
            .copied()
            .collect()
    }

    /// Others that use the addresses that our adverts come from.
    pub(super) fn look_for_duplicates(&mut self, now: Time) {
        if !self.duplicates.is_due(now) {
            return;
        }
        let members = self.units.iter().flat_map(|unit| &unit.members);
        let sources =
            members.filter_map(
                |member| match (member.source, self.links.named(&member.instance.interface)) {
                    (Some(IpAddr::V4(ip)), Some(link)) => Some((link.index, ip)),
                    _ => None,
                },
            );
        let sources = sources.collect();
        self.duplicates.look(now, sources, &self.links, &mut self.packets);
    }
}
