//! Routers and everything they act on: sockets, addresses, scripts, notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::Checks;
use super::files::Files;
use super::netlink::{Assigned, Change, Links, Netlink, NewAddress};
use super::notify::Notifier;
use super::processes::Processes;
use super::sys::{FrameSocket, VrrpSocket};
use super::{config, log, plan};
use crate::keepalived::{Config, Instance, SyncGroup, Track, Tracks, Weight};
use crate::vrrp::track::{Effective, Tracked, effective};
use crate::vrrp::{Alarm, Group, Input, Output, Packet, Router, State, Time, frame};

/// Packets read from a socket before anything else gets its turn.
const ROUND: usize = 1024;

/// Interface and family: what a socket is for.
type Wire = (String, bool);

struct Member {
    instance: Instance,
    effective: Effective,
    /// The source address that the settings were made with.
    source: Option<IpAddr>,
    started: bool,
}

/// A sync group, or an instance alone.
struct Unit {
    group: Group,
    members: Vec<Member>,
    sync: Option<SyncGroup>,
    told: Option<State>,
}

/// Everything but the event loop.
pub(super) struct Engine {
    path: PathBuf,
    config_id: Option<String>,
    config: Config,
    /// Every address that some instance gives away.
    vips: BTreeSet<IpAddr>,
    netlink: Netlink,
    links: Links,
    frames: FrameSocket,
    sockets: BTreeMap<Wire, (u32, VrrpSocket)>,
    /// Counts openings, so that epoll is told only then.
    pub(super) opened: u64,
    buffer: Vec<u8>,
    units: Vec<Unit>,
    checks: Checks,
    processes: Processes,
    files: Files,
    pub(super) notifier: Notifier,
    /// Outputs of this round.
    batch: Vec<(usize, usize, Output)>,
    worst_lag: Duration,
    /// Instances whose last advert could not be sent: said once, not with every advert.
    mute: std::cell::RefCell<BTreeSet<String>>,
}

impl Engine {
    pub(super) fn new(path: PathBuf, config_id: Option<String>, config: Config) -> io::Result<Engine> {
        let mut netlink = Netlink::open()?;
        Ok(Engine {
            path,
            config_id,
            vips: BTreeSet::new(),
            links: netlink.read()?,
            netlink,
            frames: FrameSocket::open()?,
            sockets: BTreeMap::new(),
            opened: 0,
            buffer: vec![0; 8192],
            units: Vec::new(),
            checks: Checks::default(),
            processes: Processes::default(),
            files: Files::default(),
            notifier: Notifier::default(),
            batch: Vec::new(),
            worst_lag: Duration::ZERO,
            mute: std::cell::RefCell::default(),
            config,
        })
    }

    /// Begins with the configuration given to `new`.
    pub(super) fn start(&mut self, now: Time, crashed: bool) {
        let config = self.config.clone();
        self.install(now, config, crashed);
    }

    /// Reads the configuration again and changes what differs; a broken one changes nothing.
    pub(super) fn reload(&mut self, now: Time) -> Result<(), String> {
        let loaded =
            config::load(&self.path, self.config_id.as_deref()).map_err(|e| format!("{}: {e}", self.path.display()))?;
        for d in &loaded.diagnostics {
            log::event(
                &d.severity.to_string(),
                &d.message,
                &[("place", json!(d.place.to_string()))],
            );
        }
        if !loaded.is_runnable() {
            return Err("the configuration has errors; the old one stays".to_owned());
        }
        self.install(now, loaded.config, false);
        Ok(())
    }

    /// Makes the units of a configuration, keeping every router that is still the same one.
    fn install(&mut self, now: Time, config: Config, crashed: bool) {
        self.checks.configure(&config, now);
        self.processes.configure(&config, now);
        self.files.configure(&config, now);
        self.notifier.configure(&config);
        let mut old: Vec<(Member, Router)> = Vec::new();
        for unit in std::mem::take(&mut self.units) {
            old.extend(unit.members.into_iter().zip(unit.group.into_routers()));
        }
        self.config = config.clone();
        self.vips = plan::vips(&config);
        let mut grouped = BTreeSet::new();
        let mut plans: Vec<(Option<SyncGroup>, Vec<Instance>)> = Vec::new();
        for sync in &config.sync_groups {
            let members: Vec<Instance> = sync
                .members
                .iter()
                .filter_map(|(m, _)| config.instance(m).cloned())
                .collect();
            grouped.extend(members.iter().map(|m| m.name.clone()));
            plans.push((Some(sync.clone()), members));
        }
        plans.extend(
            config
                .instances
                .iter()
                .filter(|i| !grouped.contains(&i.name))
                .map(|i| (None, vec![i.clone()])),
        );
        let mut kept_addresses: BTreeSet<Assigned> = BTreeSet::new();
        for (sync, instances) in plans {
            let (mut members, mut routers) = (Vec::new(), Vec::new());
            for instance in instances {
                let source = plan::source(&self.vips, &instance, &self.links);
                let settings = plan::settings(&instance, source.unwrap_or(unspecified(instance.ipv6)));
                let effective = Effective {
                    priority: instance.priority,
                    fault: source.is_none(),
                };
                let known = old.iter().position(|(m, r)| {
                    m.instance.name == instance.name
                        && m.instance.interface == instance.interface
                        && m.instance.unicast == instance.unicast
                        && r.settings().same_router(&settings)
                });
                let (router, started) = match known.map(|at| old.swap_remove(at)) {
                    Some((before, router)) => {
                        kept_addresses.extend(plan::addresses(&instance, &self.links).into_iter().map(|a| a.at));
                        if router.state() == State::Master {
                            self.take_off(&before.instance, &kept_addresses);
                        }
                        (router, before.started)
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
                sync,
                told: None,
            });
        }
        for (member, mut router) in old {
            // Gone from the configuration: as if it stopped.
            log::event("info", "instance is gone", &[("instance", json!(member.instance.name))]);
            let was_master = router.state() == State::Master;
            let farewell = router.handle(now, Input::Stop);
            if was_master {
                self.take_off(&member.instance, &kept_addresses);
            }
            for output in farewell {
                if let Output::Send { advert, form } = output {
                    self.send(&member.instance, router.settings().source, &advert, form);
                }
            }
        }
        self.open_sockets();
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                let effective = self.effective(u, m);
                let unit = &mut self.units[u];
                let member = &mut unit.members[m];
                member.effective = effective;
                let settings = plan::settings(
                    &member.instance,
                    member.source.unwrap_or(unspecified(member.instance.ipv6)),
                );
                let started = std::mem::replace(&mut member.started, true);
                let mut out = unit
                    .group
                    .handle(now, m, Input::Configure(Box::new(settings), effective));
                if !started {
                    out.extend(unit.group.handle(now, m, Input::Start { crashed }));
                }
                self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
            }
        }
        self.execute(now);
    }

    fn take_off(&mut self, instance: &Instance, keep: &BTreeSet<Assigned>) {
        let gone: Vec<Assigned> = plan::addresses(instance, &self.links)
            .into_iter()
            .map(|a| a.at)
            .filter(|a| !keep.contains(a))
            .collect();
        self.remove(&gone);
    }

    /// Sockets for every wire of the configuration, on the interfaces as they are numbered now.
    fn open_sockets(&mut self) {
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

    /// Descriptors for epoll.
    pub(super) fn socket_fds(&self) -> Vec<i32> {
        self.sockets.values().map(|(_, s)| s.raw()).collect()
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        let units = self.units.iter().filter_map(|u| u.group.next_timer());
        let others = [
            self.files.next_timer(),
            self.checks.next_timer(),
            self.processes.next_timer(),
            self.notifier.next_timer(),
        ];
        units.chain(others.into_iter().flatten()).min()
    }

    /// Everything that has arrived.
    pub(super) fn receive(&mut self, now: Time) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let wires: Vec<Wire> = self.sockets.keys().cloned().collect();
        for wire in wires {
            // A flood must not keep us from our own adverts: the rest is read in the next round.
            for _ in 0..ROUND {
                let Some((_, socket)) = self.sockets.get(&wire) else {
                    break;
                };
                match socket.receive(&mut buffer) {
                    Ok(None) => break,
                    Ok(Some(r)) => {
                        let packet = Packet {
                            src: r.src,
                            dst: r.dst,
                            ttl: r.ttl,
                            payload: &buffer[r.message],
                        };
                        self.packet(now, &wire, packet);
                    }
                    Err(e) => {
                        // ENETDOWN: netlink tells of it too.
                        log::event(
                            "warning",
                            "receiving failed",
                            &[("interface", json!(wire.0)), ("error", json!(e.to_string()))],
                        );
                        break;
                    }
                }
            }
        }
        self.buffer = buffer;
        self.execute(now);
    }

    fn packet(&mut self, now: Time, wire: &Wire, packet: Packet<'_>) {
        let Some(vrid) = packet.payload.get(1) else { return };
        // The same id may be used by several unicast instances: the sender decides, if he is known.
        let mut chosen: Option<(usize, usize, bool)> = None;
        for (u, unit) in self.units.iter().enumerate() {
            for (m, member) in unit.members.iter().enumerate() {
                let i = &member.instance;
                if i.vrid == *vrid && i.interface == wire.0 && i.ipv6 == wire.1 {
                    let known = i.unicast_peers.iter().any(|p| p.ip == packet.src);
                    if chosen.is_none_or(|c| known && !c.2) {
                        chosen = Some((u, m, known));
                    }
                }
            }
        }
        if let Some((u, m, _)) = chosen {
            let out = self.units[u].group.handle(now, m, Input::Packet(packet));
            self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
        }
    }

    /// What is due.
    pub(super) fn tick(&mut self, now: Time) {
        for (u, unit) in self.units.iter_mut().enumerate() {
            if let Some(at) = unit.group.next_timer().filter(|at| *at <= now) {
                self.worst_lag = self.worst_lag.max(now - at);
                let out = unit.group.handle_all(now, &Input::Tick);
                self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
            }
        }
        // The packets first: what follows may take a moment.
        self.execute(now);
        let checks = self.checks.tick(now);
        let processes = self.processes.tick(now);
        if self.files.tick(now) || processes || checks {
            self.retrack(now);
        }
        self.notifier.tick(now);
    }

    /// A child ended.
    pub(super) fn reap(&mut self, now: Time) {
        if self.checks.reap(now) {
            self.retrack(now);
        }
        self.notifier.tick(now);
    }

    /// Interfaces or addresses changed.
    pub(super) fn changed(&mut self, now: Time, changes: &[Change]) {
        if changes.contains(&Change::Overrun) {
            log::event("warning", "netlink overrun, reading everything again", &[]);
            match self.netlink.read() {
                Ok(links) => self.links = links,
                Err(e) => log::event("error", "cannot read interfaces", &[("error", json!(e.to_string()))]),
            }
        }
        for change in changes {
            self.links.apply(change);
        }
        let lost: BTreeSet<Assigned> = changes
            .iter()
            .filter_map(|c| if let Change::AddressGone(a) = c { Some(*a) } else { None })
            .filter(|a| !self.links.addresses.contains(a))
            .collect();
        // Mostly the echo of our own changes: nothing that decides about sources, sockets or faults.
        let own = |c: &Change| matches!(c, Change::Address(a) | Change::AddressGone(a) if self.vips.contains(&a.ip));
        if lost.is_empty() && changes.iter().all(own) {
            return;
        }
        self.open_sockets();
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
                        "somebody removed an address, putting it back",
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

    fn give(&mut self, now: Time, u: usize, m: usize, input: Input<'_>) {
        let out = self.units[u].group.handle(now, m, input);
        self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
    }

    /// Effective priorities from everything tracked.
    fn retrack(&mut self, now: Time) {
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                let effective = self.effective(u, m);
                if self.units[u].members[m].effective != effective {
                    self.units[u].members[m].effective = effective;
                    self.give(now, u, m, Input::Tracked(effective));
                }
            }
        }
        self.execute(now);
    }

    fn effective(&self, u: usize, m: usize) -> Effective {
        let unit = &self.units[u];
        let member = &unit.members[m];
        let i = &member.instance;
        let mut all = Vec::new();
        // In a sync group a weight would tear the members' priorities apart (keepalived: weights become 0).
        let weights = unit.sync.as_ref().is_none_or(|s| s.tracking_weight);
        self.tracked(&i.tracks, weights, &mut all);
        if let Some(sync) = &unit.sync {
            self.tracked(&sync.tracks, weights, &mut all);
            if sync.global_tracking {
                unit.members
                    .iter()
                    .for_each(|other| self.tracked(&other.instance.tracks, weights, &mut all));
            }
        }
        let mut e = effective(i.priority, all);
        let up = self
            .links
            .named(&i.interface)
            .is_some_and(|l| l.running || i.dont_track_primary);
        e.fault |= !up || member.source.is_none();
        e
    }

    fn tracked(&self, tracks: &Tracks, weights: bool, out: &mut Vec<Tracked>) {
        let mut push = |weight: Weight, good: bool| {
            let value = if weights { weight.value } else { 0 };
            out.push(Tracked {
                weight: value.into(),
                reverse: weight.reverse,
                good,
            });
        };
        let own = |t: &Track, other: Option<Weight>| t.weight.or(other).unwrap_or_default();
        for t in &tracks.scripts {
            push(
                own(t, self.config.script(&t.name).map(|s| s.weight)),
                self.checks.good(&t.name),
            );
        }
        for t in &tracks.processes {
            let rule = self.config.track_processes.iter().find(|p| p.name == t.name);
            push(own(t, rule.map(|p| p.weight)), self.processes.good(&t.name));
        }
        for t in &tracks.files {
            // Weight 0: a number other than 0 is a failure; else number times weight, below -253 a failure too.
            let Some((number, weight, reverse)) = self.files.value(&t.name) else {
                continue;
            };
            let (weight, reverse) = t.weight.map_or((weight, reverse), |w| (w.value.into(), w.reverse));
            let weight = if weights { weight } else { 0 };
            let sum = number.saturating_mul(if reverse { -weight } else { weight });
            let clamped = sum.clamp(-254, 254) as i16;
            match (weight, clamped) {
                (0, _) => push(
                    Weight {
                        value: 0,
                        reverse: false,
                    },
                    number == 0,
                ),
                (_, ..=-254) => push(
                    Weight {
                        value: 0,
                        reverse: false,
                    },
                    false,
                ),
                (_, 0) => {}
                (_, sum) => push(
                    Weight {
                        value: sum,
                        reverse: false,
                    },
                    sum > 0,
                ),
            }
        }
        for t in &tracks.interfaces {
            push(own(t, None), self.links.named(&t.name).is_some_and(|l| l.running));
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
        self.announce(&batch, &wants);
        for (u, m, output) in batch {
            self.report(now, u, m, output);
        }
        self.tell_groups();
        self.notifier.tick(now);
    }

    fn addresses(&self, (u, m): (usize, usize)) -> Vec<NewAddress> {
        plan::addresses(&self.units[u].members[m].instance, &self.links)
    }

    fn remove(&mut self, addresses: &[Assigned]) {
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

    fn add(&mut self, addresses: &[NewAddress]) {
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

    fn send(&self, instance: &Instance, source: IpAddr, advert: &crate::vrrp::Advert, form: crate::vrrp::Form) {
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

    fn announce(&self, batch: &[(usize, usize, Output)], wants: &BTreeMap<(usize, usize), bool>) {
        let mut frames: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for (u, m, output) in batch {
            let Output::Announce { count } = output else { continue };
            if wants.get(&(*u, *m)) == Some(&false) {
                continue;
            }
            let addresses = self.addresses((*u, *m));
            for _ in 0..*count {
                for a in &addresses {
                    if let Some(mac) = self.links.links.get(&a.at.index).and_then(|l| l.mac) {
                        frames
                            .entry(a.at.index)
                            .or_default()
                            .push(frame::announce(mac, a.at.ip));
                    }
                }
            }
        }
        for (index, frames) in frames {
            if let Err(e) = self.frames.send(index, &frames) {
                log::event(
                    "warning",
                    "cannot tell the neighbours",
                    &[("error", json!(e.to_string()))],
                );
            }
        }
    }

    fn report(&mut self, now: Time, u: usize, m: usize, output: Output) {
        let unit = &self.units[u];
        let instance = &unit.members[m].instance;
        let router = &unit.group.routers()[m];
        let name = json!(instance.name);
        match output {
            Output::Transition { from, to, cause } => {
                let priority = router.snapshot(now).priority;
                let fields = [
                    ("instance", name),
                    ("from", json!(super::notify::word(from))),
                    ("to", json!(super::notify::word(to))),
                    ("cause", json!(format!("{cause:?}"))),
                    ("priority", json!(priority)),
                ];
                log::event("info", "transition", &fields);
                let notify = instance.notify.clone();
                self.notifier
                    .transition(&self.config, "INSTANCE", &instance.name.clone(), &notify, to, priority);
            }
            Output::Priority { from, to } => {
                log::event(
                    "info",
                    "effective priority",
                    &[("instance", name), ("from", json!(from)), ("to", json!(to))],
                );
            }
            Output::LowerHeard { src, priority } => {
                let fields = [("instance", name), ("from", json!(src)), ("priority", json!(priority))];
                log::event("warning", "heard an advert of lower priority", &fields);
                self.notifier
                    .lower(&self.config, &instance.name.clone(), &instance.notify.clone());
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

    fn tell_groups(&mut self) {
        for unit in &mut self.units {
            let Some(sync) = &unit.sync else { continue };
            let states: BTreeSet<&str> = unit
                .group
                .routers()
                .iter()
                .map(|r| super::notify::word(r.state()))
                .collect();
            let Some(state) = unit.group.routers().first().map(Router::state) else {
                continue;
            };
            if states.len() == 1 && unit.told != Some(state) {
                unit.told = Some(state);
                let priority = unit.members[0].effective.priority;
                self.notifier.transition(
                    &self.config,
                    "GROUP",
                    &sync.name.clone(),
                    &sync.notify.clone(),
                    state,
                    priority,
                );
            }
        }
    }

    /// Gives an input to every router, or to the named instance's unit.
    pub(super) fn command(&mut self, now: Time, instance: Option<&str>, input: &Input<'_>) -> usize {
        let mut reached = 0;
        for u in 0..self.units.len() {
            let named = |name: &str| self.units[u].members.iter().any(|m| m.instance.name == name);
            if instance.is_none_or(named) {
                reached += self.units[u].members.len();
                let out = self.units[u].group.handle_all(now, input);
                self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
            }
        }
        self.execute(now);
        reached
    }

    /// Ends everything: addresses off, priority 0, scripts ended, `notify_stop` started.
    pub(super) fn stop(&mut self, now: Time) {
        self.command(now, None, &Input::Stop);
        self.checks.stop();
    }

    /// For `status` and metrics.
    pub(super) fn status(&self, now: Time) -> Value {
        let mut instances = Vec::new();
        for unit in &self.units {
            for (member, router) in unit.members.iter().zip(unit.group.routers()) {
                let i = &member.instance;
                let s = router.snapshot(now);
                let addresses = plan::addresses(i, &self.links);
                let owns = addresses.iter().any(|a| self.links.addresses.contains(&a.at));
                let n = s.statistics;
                instances.push(json!({
                    "name": i.name, "state": super::notify::word(s.state).replace("STOP", "STOPPED"),
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
            "engine": "agent", "pid": std::process::id(), "config": self.path, "instances": instances,
            "scripts": self.checks.status(), "worst_timer_lag_seconds": self.worst_lag.as_secs_f64(),
            "dropped_log_lines": log::dropped(),
        })
    }
}

/// The source of an instance whose interface has no address yet: it is in FAULT then and sends nothing.
fn unspecified(ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from([0u8; 16])
    } else {
        IpAddr::from([0u8; 4])
    }
}
