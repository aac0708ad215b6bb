//! From a configuration to units, at the start and at a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::drive::Engine;
use super::units::{Clock, Member, Unit, unspecified};
use crate::agent::net::netlink::Assigned;
use crate::agent::os::log;
use crate::agent::os::run_marker::Before;
use crate::agent::plan;
use crate::agent::tell::notify::Subject;
use crate::keepalived::{Config, Deleted, Instance};
use crate::vrrp::track::Effective;
use crate::vrrp::{Group, Input, Output, Router, State, Time};

impl Engine {
    /// Makes the units of a configuration, keeping every router that is still the same one.
    pub(super) fn install(&mut self, now: Time, config: Config, before: Before) {
        self.checks.configure(&config, now);
        self.processes.configure(&config, now);
        self.files.configure(&config, now);
        self.notifier.configure(&config, now);
        self.debounce.configure(&config, &self.links);
        let free = self.pacer.configure(&config);
        self.announce_now(free);
        let mut old: Vec<(Member, Router)> = Vec::new();
        let mut told: BTreeMap<String, State> = BTreeMap::new();
        let clock = Clock(self.units.iter().map(|u| u.clock.0).max().unwrap_or_default());
        for unit in std::mem::take(&mut self.units) {
            told.extend(unit.sync.and_then(|s| Some((s.name, unit.told?))));
            old.extend(unit.members.into_iter().zip(unit.group.into_routers()));
        }
        self.vips = plan::vips(&config);
        let plans = plan::units(&config);
        self.config = config;
        let mut owned_before: Vec<Arc<Instance>> = Vec::new();
        self.units.reserve_exact(plans.len());
        for (sync, instances) in plans {
            let mut members = Vec::with_capacity(instances.len());
            let mut routers = Vec::with_capacity(instances.len());
            for instance in instances {
                let source = plan::source(&self.vips, &instance, &self.links);
                let settings = plan::settings(&instance, source.unwrap_or(unspecified(instance.family)));
                let effective = Effective {
                    priority: instance.priority,
                    fault: source.is_none(),
                    pending: false,
                };
                let known = old.iter().position(|(m, r)| {
                    m.instance.name == instance.name
                        && m.instance.interface == instance.interface
                        && m.instance.unicast == instance.unicast
                        && r.settings().same_router(&settings)
                });
                let (router, started) = match known.map(|at| old.swap_remove(at)) {
                    Some((former, router)) => {
                        if router.state() == State::Master {
                            owned_before.push(former.instance);
                        }
                        (router, former.started)
                    }
                    None => (Router::new(settings), false),
                };
                routers.push(router);
                members.push(Member {
                    instance,
                    effective,
                    source,
                    started,
                });
            }
            self.units.push(Unit {
                group: Group::new(routers),
                members,
                told: sync.as_ref().and_then(|s| told.remove(&s.name)),
                sync: sync.map(Box::new),
                clock,
            });
        }
        // An address may have gone from one instance to another: it stays if that one is an owner, and only then.
        let kept_addresses = self.addresses_of_owners();
        for former in owned_before {
            self.remove_addresses(now, &former, &kept_addresses);
        }
        self.retire(now, old, &kept_addresses);
        self.open_sockets(now);
        self.due = vec![None; self.units.len()];
        self.index_ids();
        self.begin(now, before, &kept_addresses);
        self.execute(now);
    }

    fn index_ids(&mut self) {
        let places = self.units.iter().enumerate();
        self.ids = places
            .flat_map(|(u, unit)| {
                unit.members
                    .iter()
                    .enumerate()
                    .map(move |(m, member)| (member.instance.vrid, u, m))
            })
            .collect();
        self.ids.sort_unstable();
    }

    /// Says farewell for routers that are gone from the configuration. Addresses of the owners that remain are kept.
    fn retire(&mut self, now: Time, old: Vec<(Member, Router)>, kept_addresses: &BTreeSet<Assigned>) {
        for (member, mut router) in old {
            // Gone from the configuration: as if it stopped.
            log::event("info", "instance is gone", &[("instance", json!(member.instance.name))]);
            let was_master = router.state() == State::Master;
            let priority = router.snapshot(now).priority;
            let gone = &*member.instance;
            self.notifier.deleted(&self.config, gone, priority);
            if gone.notify.deleted == Deleted::Fault {
                self.mailer
                    .transition(&self.config.global, Subject::instance(gone), State::Fault);
            }
            let farewell = router.handle(now, Input::Stop);
            if was_master {
                self.remove_addresses(now, &member.instance, kept_addresses);
            }
            for output in farewell {
                if let Output::Send { advert, form } = output {
                    // Nothing more can be done where it does not arrive.
                    drop(self.send(std::iter::once((&*member.instance, &router, &advert, form))));
                }
            }
        }
    }

    /// Tells every router its settings, and begins those that are new.
    fn begin(&mut self, now: Time, before: Before, kept_addresses: &BTreeSet<Assigned>) {
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                let effective = self.effective(u, m);
                let unit = &mut self.units[u];
                let member = &mut unit.members[m];
                member.effective = effective;
                let settings = plan::settings(
                    &member.instance,
                    member.source.unwrap_or(unspecified(member.instance.family)),
                );
                // What a former life may have left goes at once, also if we wait.
                let waits = (!member.started && self.startup.is_some()).then(|| member.instance.clone());
                let begins = !member.started && self.startup.is_none();
                member.started |= begins;
                self.give(now, u, m, Input::Configure(Box::new(settings), effective));
                if begins {
                    self.give(now, u, m, start_after(before));
                }
                if let Some(instance) = waits {
                    self.remove_addresses(now, &instance, kept_addresses);
                }
            }
        }
    }

    /// Ends `vrrp_startup_delay`.
    pub(super) fn start_delayed(&mut self, now: Time) {
        let Some((_, before)) = self.startup.take_if(|(at, _)| *at <= now) else {
            return;
        };
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                if !std::mem::replace(&mut self.units[u].members[m].started, true) {
                    self.give(now, u, m, start_after(before));
                }
            }
        }
        self.execute(now);
    }

    pub(super) fn addresses_of_owners(&self) -> BTreeSet<Assigned> {
        let owners = self.units.iter().flat_map(|unit| {
            let members = unit.members.iter().zip(unit.group.routers());
            members.filter(|(_, router)| router.state() == State::Master)
        });
        owners
            .flat_map(|(member, _)| plan::addresses(&member.instance, &self.links))
            .map(|a| a.at)
            .collect()
    }

    pub(super) fn remove_addresses(&mut self, now: Time, instance: &Instance, keep: &BTreeSet<Assigned>) {
        let gone: Vec<Assigned> = plan::addresses(instance, &self.links)
            .into_iter()
            .map(|a| a.at)
            .filter(|a| !keep.contains(a))
            .collect();
        self.remove(now, &gone);
    }
}

/// The input that starts a router. `before`: how the daemon's last run ended.
fn start_after(before: Before) -> Input<'static> {
    Input::Start {
        crashed: before == Before::Crash,
    }
}
