//! What people and programs learn of it: log lines, notifications, status.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use super::drive::Engine;
use super::units::{Member, Unit};
use crate::agent::net::netlink::Assigned;
use crate::agent::os::log;
use crate::agent::plan;
use crate::agent::tell::notify::{About, Subject, word};
use crate::agent::tell::report::{Report, Row};
use crate::vrrp::{Alarm, Ignored, Output, Router, Time};

/// A group has no priority of its own; keepalived says 0.
const GROUP_PRIORITY: u8 = 0;

impl Engine {
    pub(super) fn report(&mut self, now: Time, u: usize, m: usize, output: Output) {
        if matches!(output, Output::Send { .. }) {
            return;
        }
        let unit = &self.units[u];
        let instance = &unit.members[m].instance;
        let router = &unit.group.routers()[m];
        let name = json!(instance.name);
        match output {
            Output::Transition { from, to, cause } => {
                let priority = router.snapshot(now).priority;
                let fields = [
                    ("instance", name),
                    ("from", json!(word(from))),
                    ("to", json!(word(to))),
                    ("cause", json!(format!("{cause:?}"))),
                    ("priority", json!(priority)),
                ];
                log::event("info", "transition", &fields);
                suspect(router, &instance.name, now);
                let subject = Subject::instance(instance);
                self.notifier.transition(&self.config, subject, to, priority);
                self.mailer.transition(&self.config.global, subject, to);
            }
            Output::Priority { from, to } => {
                log::event(
                    "info",
                    "effective priority",
                    &[("instance", name), ("from", json!(from)), ("to", json!(to))],
                );
                let group = unit.sync.as_ref().and_then(|s| s.notify.priority_changes);
                let wanted = instance.notify.priority_changes.or(group);
                if wanted.unwrap_or(self.config.global.notify_priority_changes) {
                    self.notifier.priority(&instance.name, router.state(), to);
                }
            }
            Output::LowerHeard { src, priority } => {
                let fields = [("instance", name), ("from", json!(src)), ("priority", json!(priority))];
                log::event("warning", "heard an advert of lower priority", &fields);
                let own = router.snapshot(now).priority;
                self.notifier.lower(&self.config, instance, own);
            }
            Output::Alarm(alarm) => {
                let (level, message, src) = described(&alarm, instance.vrid);
                log::event(level, &message, &[("instance", name), ("from", json!(src))]);
                // Once for each: a flood of forged senders does not say again and again who is suspected already.
                if matches!(alarm, Alarm::Ignored { src, .. } if router.second_owner(now) == Some(src)) {
                    suspect(router, &instance.name, now);
                }
            }
            // The engine carries these out; nobody is told of them.
            Output::Send { .. } | Output::Acquire | Output::Release | Output::Announce { .. } => {}
        }
    }

    pub(super) fn tell_groups(&mut self) {
        for unit in &mut self.units {
            let Some(sync) = &unit.sync else { continue };
            let states: BTreeSet<&str> = unit.group.routers().iter().map(|r| word(r.state())).collect();
            let Some(state) = unit.group.routers().first().map(Router::state) else {
                continue;
            };
            let started = unit.members.iter().all(|m| m.started);
            if started && states.len() == 1 && unit.told != Some(state) {
                unit.told = Some(state);
                let subject = Subject::group(sync);
                self.notifier.transition(&self.config, subject, state, GROUP_PRIORITY);
                self.mailer.transition(&self.config.global, subject, state);
            }
        }
    }

    /// `fifo_write_vrrp_states_on_reload`.
    pub(super) fn write_states(&mut self, now: Time) {
        for unit in &self.units {
            for (member, router) in unit.members.iter().zip(unit.group.routers()) {
                let (name, priority) = (&member.instance.name, router.snapshot(now).priority);
                self.notifier
                    .line(About::Instance, name, word(router.state()), priority);
            }
            if let (Some(sync), Some(state)) = (&unit.sync, unit.told) {
                self.notifier
                    .line(About::Group, &sync.name, word(state), GROUP_PRIORITY);
            }
        }
    }

    /// For `status` and metrics: what is there now, without a word yet.
    pub(crate) fn look(&self, now: Time) -> Report {
        let addresses: HashSet<Assigned> = self.links.addresses.iter().copied().collect();
        let row = &|unit: &Unit, member: &Member, router: &Router| Row {
            instance: Arc::clone(&member.instance),
            router: router.snapshot(now),
            neighbours: router.neighbours(now),
            second_owner: router.second_owner(now),
            source: member.source,
            owns: plan::addresses(&member.instance, &self.links)
                .iter()
                .any(|a| addresses.contains(&a.at)),
            group: unit.sync.as_ref().map(|g| g.name.clone()),
        };
        let interface = |a: &Assigned| self.links.links.get(&a.index).map_or(String::new(), |l| l.name.clone());
        let rows = self.units.iter().flat_map(|unit| {
            let members = unit.members.iter().zip(unit.group.routers());
            members.map(move |(member, router)| row(unit, member, router))
        });
        Report {
            at: now,
            config: self.path.clone(),
            rows: rows.collect(),
            scripts: self.checks.status(),
            processes: self.processes.status(),
            other_routers: self.other_routers(now),
            duplicates: self.duplicates.list(now),
            uninvited: self.uninvited().iter().map(|a| (a.ip, interface(a))).collect(),
            worst_lag: self.worst_lag,
            netlink_overruns: self.netlink_overruns,
        }
    }
}

/// An owner that refuses the adverts of another one.
fn suspect(router: &Router, instance: &str, now: Time) {
    if let Some(other) = router.second_owner(now) {
        let fields = [("instance", json!(instance)), ("from", json!(other))];
        log::event(
            "error",
            "two owners suspected: another host announces a VIP of ours, and its adverts are refused here",
            &fields,
        );
    }
}

/// How grave an alarm is, what it says, and whom it is about.
fn described(alarm: &Alarm, vrid: u8) -> (&'static str, String, &IpAddr) {
    match alarm {
        Alarm::VipMismatch { src, theirs } => ("error", format!("the peer's VIP list differs: {theirs:?}"), src),
        Alarm::VipMatch { src } => ("info", "the peer's VIP list is ours again".to_owned(), src),
        Alarm::Foreign { src, theirs } => {
            let theirs: Vec<String> = theirs.iter().map(ToString::to_string).collect();
            let message = format!(
                "another cluster uses virtual_router_id {}: its adverts announce {} and are ignored",
                vrid,
                if theirs.is_empty() {
                    "no address".to_owned()
                } else {
                    theirs.join(", ")
                }
            );
            ("warning", message, src)
        }
        Alarm::Clock { src, ahead, window } => {
            let message = format!(
                "the peer's clock is {ahead}: from {window} s on, adverts are refused and both hosts own the VIP; \
                             set the clocks right"
            );
            ("warning", message, src)
        }
        Alarm::ClockFine { src } => ("info", "the peer's clock is near enough to ours again".to_owned(), src),
        Alarm::Ignored {
            src,
            reason: Ignored::Own,
        } => {
            let message = "another host sends adverts from our own address, or a switch sends our packets back";
            ("error", message.to_owned(), src)
        }
        Alarm::Ignored { src, reason } => ("warning", format!("adverts are ignored: {reason}"), src),
    }
}
