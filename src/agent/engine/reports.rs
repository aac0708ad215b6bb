//! What people and programs learn of it: log lines, notifications, status.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Engine;
use crate::agent::notify::{About, word};
use crate::agent::{log, plan};
use crate::vrrp::{Alarm, Output, Router, Time};

impl Engine {
    pub(super) fn report(&mut self, now: Time, u: usize, m: usize, output: Output) {
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
                let (about, name, notify) = (About::Instance, &instance.name, &instance.notify);
                self.notifier
                    .transition(&self.config, about, name, notify, to, priority);
                self.mailer.transition(&self.config.global, about, name, notify, to);
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
                self.notifier.lower(&self.config, &instance.name, &instance.notify, own);
            }
            Output::Alarm(alarm) => {
                let (level, message, src) = match &alarm {
                    Alarm::VipMismatch { src, theirs } => {
                        ("error", format!("the peer's VIP list differs: {theirs:?}"), src)
                    }
                    Alarm::VipMatch { src } => ("info", "the peer's VIP list is ours again".to_owned(), src),
                    Alarm::Ignored { src, reason } => ("warning", format!("adverts are ignored: {reason}"), src),
                };
                log::event(level, &message, &[("instance", name), ("from", json!(src))]);
            }
            _ => {}
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
                let priority = unit.members[0].effective.priority;
                self.notifier
                    .transition(&self.config, About::Group, &sync.name, &sync.notify, state, priority);
                self.mailer
                    .transition(&self.config.global, About::Group, &sync.name, &sync.notify, state);
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
                let priority = unit.members.first().map_or(0, |m| m.effective.priority);
                self.notifier.line(About::Group, &sync.name, word(state), priority);
            }
        }
    }

    /// For `status` and metrics.
    pub(in crate::agent) fn status(&self, now: Time) -> Value {
        let mut instances = Vec::new();
        for unit in &self.units {
            for (member, router) in unit.members.iter().zip(unit.group.routers()) {
                let i = &member.instance;
                let s = router.snapshot(now);
                let addresses = plan::addresses(i, &self.links);
                let owns = addresses.iter().any(|a| self.links.addresses.contains(&a.at));
                let n = s.statistics;
                instances.push(json!({
                    "name": i.name, "state": word(s.state).replace("STOP", "STOPPED"),
                    "priority": s.priority, "base_priority": i.priority, "interface": i.interface,
                    "virtual_router_id": i.vrid, "version": i.version, "source": member.source,
                    "vips": i.vips.iter().map(|v| v.ip).collect::<Vec<_>>(), "owns_vip": owns,
                    "owner": s.owner.map(|(ip, priority)| json!({"address": ip, "priority": priority})),
                    "cause": format!("{:?}", s.cause), "seconds_in_state": (now.saturating_sub(s.since)).as_secs_f64(),
                    "held": s.held, "sync_group": unit.sync.as_ref().map(|g| g.name.clone()),
                    "statistics": {
                        "received": n.received, "sent": n.sent, "ignored": n.ignored, "auth_failures": n.auth_failures,
                        "checksum_errors": n.checksum_errors, "zero_received": n.zero_received, "zero_sent": n.zero_sent,
                        "became_master": n.became_master, "left_master": n.left_master,
                    },
                }));
            }
        }
        json!({
            "engine": "agent", "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "config": self.path, "instances": instances,
            "scripts": self.checks.status(), "processes": self.processes.status(), "worst_timer_lag_seconds": self.worst_lag.as_secs_f64(),
            "dropped_log_lines": log::dropped(), "netlink_overruns": self.netlink_overruns,
        })
    }
}
