//! What only the whole configuration shows.

use std::collections::{HashMap, HashSet};

use super::diag::{Diagnostic, Place};
use super::family::Family;
use super::model::*;

/// Looks at a parsed configuration as a whole: what is missing, what contradicts, what will surprise.
///
/// Errors are what an engine cannot run; warnings what runs otherwise than written.
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut c = Checker {
        config,
        known: Known::of(config),
        out: Vec::new(),
    };
    c.globals();
    for instance in &config.instances {
        c.tracks(instance);
    }
    c.same_router();
    for group in &config.sync_groups {
        c.group(group);
    }
    c.unused();
    c.out
}

struct Checker<'c> {
    config: &'c Config,
    known: Known<'c>,
    out: Vec<Diagnostic>,
}

/// What is looked up by name: a configuration of `~SEQ` has tens of thousands of instances.
struct Known<'c> {
    instances: HashMap<&'c str, &'c Instance>,
    /// The group of an instance.
    groups: HashMap<&'c str, &'c SyncGroup>,
    /// Weights of scripts and processes.
    scripts: HashMap<&'c str, i16>,
    processes: HashMap<&'c str, i16>,
    /// Scripts and processes that something tracks.
    tracked_scripts: HashSet<&'c str>,
    tracked_processes: HashSet<&'c str>,
}

impl<'c> Known<'c> {
    /// Of two with the same name the first counts.
    fn of(c: &'c Config) -> Known<'c> {
        fn first<'n, V>(all: impl DoubleEndedIterator<Item = (&'n String, V)>) -> HashMap<&'n str, V> {
            all.rev().map(|(name, value)| (name.as_str(), value)).collect()
        }
        let memberships = c
            .sync_groups
            .iter()
            .flat_map(|g| g.members.iter().map(move |(m, _)| (m, g)));
        let tracks = || {
            let groups = c.sync_groups.iter().map(|g| &g.tracks);
            c.instances.iter().map(|i| &i.tracks).chain(groups)
        };
        Known {
            instances: first(c.instances.iter().map(|i| (&i.name, &**i))),
            groups: first(memberships),
            scripts: first(c.scripts.iter().map(|s| (&s.name, s.weight.value))),
            processes: first(c.track_processes.iter().map(|p| (&p.name, p.weight.value))),
            tracked_scripts: tracks().flat_map(|t| &t.scripts).map(|t| t.name.as_str()).collect(),
            tracked_processes: tracks().flat_map(|t| &t.processes).map(|t| t.name.as_str()).collect(),
        }
    }
}

impl Checker<'_> {
    fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.out.push(Diagnostic::error(place, message));
    }

    fn warn(&mut self, place: &Place, message: impl Into<String>, hint: &str) {
        let d = Diagnostic::warning(place, message);
        self.out.push(if hint.is_empty() { d } else { d.hint(hint) });
    }

    fn globals(&mut self) {
        let g = &self.config.global;
        // Mail may be asked for by an instance alone, without a `global_defs`.
        let written = Some(&g.place).filter(|p| p.line > 0);
        let place = written.or(self.config.instances.first().map(|i| &i.place)).cloned();
        let Some(place) = place else { return };
        let instances = self.config.instances.iter().map(|i| &i.notify);
        let groups = self.config.sync_groups.iter().map(|s| &s.notify);
        let general = g.smtp_alert_vrrp.or(g.smtp_alert);
        let mails = instances.chain(groups).any(|n| n.smtp_alert.or(general) == Some(true));
        if mails && (g.notification_email.is_empty() || g.smtp_server.is_none()) {
            self.warn(
                &place,
                "mail is asked for, but `notification_email` or `smtp_server` is missing",
                "",
            );
        }
        for (fifo, name) in [
            (&g.notify_fifo, "notify_fifo"),
            (&g.vrrp_notify_fifo, "vrrp_notify_fifo"),
        ] {
            if fifo.script.is_some() && fifo.path.is_none() {
                self.warn(&place, format!("`{name}_script` has no `{name}` to read"), "");
            }
        }
        let named = g
            .smtp_server
            .as_ref()
            .filter(|(host, _)| mails && host != "localhost" && host.parse::<std::net::IpAddr>().is_err());
        if let Some((host, _)) = named {
            let message = format!("the agent looks for `smtp_server {host}` in /etc/hosts alone, and asks no DNS");
            self.warn(&place, message, "write the address, or a line of /etc/hosts");
        }
    }

    fn tracks(&mut self, i: &Instance) {
        let weights = weights(&self.known, &i.tracks);
        let lost = weights.iter().filter(|w| w.1 != 0);
        if i.priority == 255 {
            for (place, _) in lost {
                self.warn(
                    place,
                    format!("`{}` has priority 255, which no weight changes", i.name),
                    "",
                );
            }
        } else if self
            .known
            .groups
            .get(i.name.as_str())
            .is_some_and(|g| !g.tracking_weight)
        {
            for (place, _) in lost {
                let message = format!(
                    "`{}` is in a sync group: a failure means FAULT, the weight is not used",
                    i.name
                );
                self.warn(
                    place,
                    message,
                    "track it in the group, or write sync_group_tracking_weight",
                );
            }
        }
    }

    /// Two instances must not be the same virtual router on the same wire.
    fn same_router(&mut self) {
        let mut seen: HashMap<(&str, u8, Family, Option<std::net::IpAddr>), &Instance> = HashMap::new();
        let c = self.config;
        for i in c.instances.iter().filter(|i| i.vrid != 0 && !i.unicast) {
            if let Some(first) = seen.insert((&i.interface, i.vrid, i.family, i.mcast_dst), i) {
                let message = format!(
                    "`{}` and `{}` are both router {} on {}",
                    first.name, i.name, i.vrid, i.interface
                );
                self.error(&i.place, message);
            }
        }
        let mut vips: HashMap<(std::net::IpAddr, &str), &str> = HashMap::new();
        for i in &c.instances {
            for vip in i.vips.iter().chain(&i.vips_excluded) {
                let dev = vip.dev.as_deref().unwrap_or(&i.interface);
                if let Some(first) = vips.insert((vip.ip, dev), &i.name).filter(|first| *first != i.name) {
                    let message = format!(
                        "{} belongs to `{first}` already: when one gives it up, the other loses it too",
                        vip.ip
                    );
                    self.warn(&vip.place, message, "");
                }
            }
        }
    }

    fn group(&mut self, group: &SyncGroup) {
        let priorities: HashSet<u8> = group
            .members
            .iter()
            .filter_map(|(m, _)| self.known.instances.get(m.as_str()))
            .map(|i| i.priority)
            .collect();
        if priorities.len() > 1 {
            let message = format!("the members of `{}` have different priorities", group.name);
            let hint = "if each host has the higher priority in another member, they never agree on an owner";
            self.warn(&group.place, message, hint);
        }
    }

    fn unused(&mut self) {
        let c = self.config;
        for s in &c.scripts {
            if !self.known.tracked_scripts.contains(s.name.as_str()) {
                let message = format!("nothing tracks vrrp_script `{}`, so it never runs", s.name);
                self.out.push(Diagnostic::note(&s.place, message));
            }
        }
        for p in &c.track_processes {
            if !self.known.tracked_processes.contains(p.name.as_str()) {
                let message = format!("nothing tracks vrrp_track_process `{}`", p.name);
                self.out.push(Diagnostic::note(&p.place, message));
            }
        }
    }
}

/// Places and effective weights of tracked scripts, processes and interfaces.
fn weights<'t>(known: &Known<'_>, tracks: &'t Tracks) -> Vec<(&'t Place, i16)> {
    let own = |t: &Track, other: Option<&i16>| t.weight.map_or(other.copied().unwrap_or(0), |w| w.value);
    let by_name = |t: &'t Track, all: &HashMap<&str, i16>| (&t.place, own(t, all.get(t.name.as_str())));
    let scripts = tracks.scripts.iter().map(|t| by_name(t, &known.scripts));
    let processes = tracks.processes.iter().map(|t| by_name(t, &known.processes));
    let interfaces = tracks.interfaces.iter().map(|t| (&t.place, own(t, None)));
    scripts.chain(processes).chain(interfaces).collect()
}
