//! What only the whole configuration shows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::diag::{Diagnostic, Place};
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
    c.names();
    c.globals();
    for instance in &config.instances {
        c.instance(instance);
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
    files: HashSet<&'c str>,
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
            files: c.track_files.iter().map(|f| f.name.as_str()).collect(),
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

    fn names(&mut self) {
        let c = self.config;
        let all: [(&str, Vec<(&str, &Place)>); 5] = [
            (
                "vrrp_instance",
                c.instances.iter().map(|x| (x.name.as_str(), &x.place)).collect(),
            ),
            (
                "vrrp_sync_group",
                c.sync_groups.iter().map(|x| (x.name.as_str(), &x.place)).collect(),
            ),
            (
                "vrrp_script",
                c.scripts.iter().map(|x| (x.name.as_str(), &x.place)).collect(),
            ),
            (
                "vrrp_track_process",
                c.track_processes.iter().map(|x| (x.name.as_str(), &x.place)).collect(),
            ),
            (
                "track_file",
                c.track_files.iter().map(|x| (x.name.as_str(), &x.place)).collect(),
            ),
        ];
        for (kind, names) in all {
            let mut seen = HashMap::new();
            for (name, place) in names {
                if let Some(first) = seen.insert(name, place) {
                    self.error(place, format!("{kind} `{name}` exists already, at line {}", first.line));
                }
            }
        }
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

    fn instance(&mut self, i: &Instance) {
        let (name, place) = (&i.name, &i.place);
        if i.interface.is_empty() {
            self.error(place, format!("vrrp_instance `{name}` has no `interface`"));
        }
        if i.vrid == 0 {
            self.error(place, format!("vrrp_instance `{name}` has no `virtual_router_id`"));
        }
        self.addresses(i);
        self.timers(i);
        if i.nopreempt && i.state == Some(InitState::Master) {
            let message = format!("`nopreempt` of `{name}` has no effect with `state MASTER`");
            self.warn(place, message, "write `state BACKUP` on both hosts");
        }
        if i.nopreempt && !i.preempt_delay.is_zero() {
            self.warn(
                place,
                format!("`{name}` has `nopreempt`, so `preempt_delay` has no effect"),
                "",
            );
        }
        if i.priority == 255 && i.nopreempt {
            self.warn(
                place,
                format!("`{name}` has priority 255, so `nopreempt` has no effect"),
                "",
            );
        }
        if i.version == 3 && i.auth.is_some() {
            self.warn(
                place,
                format!("VRRP version 3 has no authentication: that of `{name}` is not used"),
                "",
            );
        }
        if i.version == 2 && i.ipv6 {
            self.error(
                place,
                format!("`{name}` has IPv6 addresses, which VRRP version 2 cannot announce"),
            );
        }
        self.tracks(i.name.as_str(), &i.tracks, Some(i));
    }

    fn addresses(&mut self, i: &Instance) {
        if i.vips.is_empty() && i.vips_excluded.is_empty() && !i.no_vips {
            self.error(&i.place, format!("vrrp_instance `{}` has no virtual_ipaddress", i.name));
        }
        if i.vips.len() > 255 {
            self.error(
                &i.place,
                format!("`{}` has {} addresses; an advert holds 255", i.name, i.vips.len()),
            );
        }
        for vip in i.vips.iter().filter(|v| v.ip.is_ipv6() != i.ipv6) {
            let message = format!("{} is not of the family of the adverts of `{}`", vip.ip, i.name);
            self.out
                .push(Diagnostic::error(&vip.place, message).hint("write it in virtual_ipaddress_excluded"));
        }
        let wrong = |ip: &std::net::IpAddr| ip.is_ipv6() != i.ipv6;
        if let Some(source) = i.source.as_ref().filter(|s| wrong(s)) {
            self.error(
                &i.place,
                format!(
                    "source address {source} of `{}` is not of the family of its adverts",
                    i.name
                ),
            );
        }
        for peer in i.unicast_peers.iter().filter(|p| wrong(&p.ip)) {
            self.error(
                &i.place,
                format!("peer {} of `{}` is not of the family of its adverts", peer.ip, i.name),
            );
        }
        if i.unicast && i.unicast_peers.is_empty() {
            self.error(&i.place, format!("`unicast_peer` of `{}` names nobody", i.name));
        }
        if let Some(source) = i.source.filter(|s| i.unicast_peers.iter().any(|p| p.ip == *s)) {
            self.error(
                &i.place,
                format!("`{}` has its own address {source} as unicast_peer", i.name),
            );
        }
    }

    fn timers(&mut self, i: &Instance) {
        if i.version == 2 && i.advert_int.subsec_nanos() != 0 {
            let message = format!("`advert_int` of `{}` must be whole seconds in version 2", i.name);
            self.out
                .push(Diagnostic::error(&i.place, message).hint("use `version 3` for less than a second"));
        }
        if i.version == 3 && i.advert_int > Duration::from_millis(40_950) {
            self.error(
                &i.place,
                format!("`advert_int` of `{}` is at most 40.95 seconds in version 3", i.name),
            );
        }
        if i.version == 3 && !i.advert_int.subsec_millis().is_multiple_of(10) {
            self.warn(
                &i.place,
                format!("`advert_int` of `{}` is rounded to hundredths of a second", i.name),
                "",
            );
        }
    }

    fn tracks(&mut self, owner: &str, tracks: &Tracks, instance: Option<&Instance>) {
        self.tracked(owner, &tracks.scripts, "vrrp_script", |k, n| k.scripts.contains_key(n));
        self.tracked(owner, &tracks.processes, "vrrp_track_process", |k, n| {
            k.processes.contains_key(n)
        });
        self.tracked(owner, &tracks.files, "track_file", |k, n| k.files.contains(n));
        self.tracked(owner, &tracks.interfaces, "interface", |_, _| true);
        let Some(i) = instance else { return };
        let weights = weights(&self.known, tracks);
        if i.priority == 255 {
            for (place, _) in weights.iter().filter(|w| w.1 != 0) {
                self.warn(
                    place,
                    format!("`{owner}` has priority 255, which no weight changes"),
                    "",
                );
            }
        } else if self.known.groups.get(owner).is_some_and(|g| !g.tracking_weight) {
            for (place, _) in weights.iter().filter(|w| w.1 != 0) {
                let message = format!("`{owner}` is in a sync group: a failure means FAULT, the weight is not used");
                self.warn(
                    place,
                    message,
                    "track it in the group, or write sync_group_tracking_weight",
                );
            }
        }
    }

    fn tracked(&mut self, owner: &str, list: &[Track], kind: &str, exists: fn(&Known<'_>, &str) -> bool) {
        let mut seen = HashSet::new();
        for track in list {
            if !exists(&self.known, &track.name) {
                let message = format!("`{owner}` tracks `{}`, but there is no such {kind}", track.name);
                self.error(&track.place, message);
            }
            if !seen.insert(track.name.as_str()) {
                self.warn(&track.place, format!("`{}` is tracked twice", track.name), "");
            }
        }
    }

    /// Two instances must not be the same virtual router on the same wire.
    fn same_router(&mut self) {
        let mut seen: HashMap<(&str, u8, bool), &Instance> = HashMap::new();
        let c = self.config;
        for i in c.instances.iter().filter(|i| i.vrid != 0 && !i.unicast) {
            if let Some(first) = seen.insert((&i.interface, i.vrid, i.ipv6), i) {
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
                if let Some(first) = vips.insert((vip.ip, dev), &i.name) {
                    self.error(&vip.place, format!("{} belongs to `{first}` already", vip.ip));
                }
            }
        }
    }

    fn group(&mut self, group: &SyncGroup) {
        if group.members.is_empty() {
            self.error(&group.place, format!("vrrp_sync_group `{}` has no members", group.name));
        }
        for (member, place) in &group.members {
            if !self.known.instances.contains_key(member.as_str()) {
                self.error(place, format!("there is no vrrp_instance `{member}`"));
            }
            let first = self.known.groups.get(member.as_str()).copied();
            if let Some(first) = first.filter(|g| g.name != group.name) {
                self.error(place, format!("`{member}` is a member of `{}` already", first.name));
            }
        }
        let priorities: HashSet<u8> = group
            .members
            .iter()
            .filter_map(|(m, _)| self.known.instances.get(m.as_str()))
            .map(|i| i.priority)
            .collect();
        if priorities.len() > 1 {
            let message = format!("the members of `{}` have different priorities", group.name);
            let hint = "two hosts that are each better at another member never agree on an owner";
            self.warn(&group.place, message, hint);
        }
        self.tracks(&group.name, &group.tracks, None);
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
