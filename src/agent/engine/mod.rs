//! Routers and everything they act on: sockets, addresses, scripts, notifications.

mod outputs;
mod reports;
mod tracking;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use self::units::Unit;
use super::checks::Checks;
use super::debounce::Debounce;
use super::files::Files;
use super::mail::Mailer;
use super::netlink::{Assigned, Change, Links, Netlink};
use super::notify::Notifier;
use super::pacing::Pacer;
use super::processes::Processes;
use super::sys::FrameSocket;
use super::vrrp_socket::{Arrivals, VrrpSocket};
use super::{config, log, plan};
use crate::keepalived::Config;
use crate::vrrp::{Input, Output, Packet, State, Time};

/// So often a socket is read, up to eight packets each time, before anything else gets its turn.
const ROUNDS: usize = 128;

/// Interface and family: what a socket is for.
type Wire = (String, bool);

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
    pacer: Pacer,
    sockets: BTreeMap<Wire, (u32, VrrpSocket)>,
    /// Counts openings, so that epoll is told only then.
    pub(super) opened: u64,
    arrivals: Arrivals,
    units: Vec<Unit>,
    /// When each unit wants its tick: looked at with every wake-up, so it is kept at hand.
    due: Vec<Option<Time>>,
    /// Virtual router ids, sorted, with unit and member.
    ids: Vec<(u8, usize, usize)>,
    checks: Checks,
    processes: Processes,
    files: Files,
    debounce: Debounce,
    /// `vrrp_startup_delay`: the routers begin then, with or without a crash before.
    startup: Option<(Time, bool)>,
    pub(super) notifier: Notifier,
    pub(super) mailer: Mailer,
    /// Outputs of this round.
    batch: Vec<(usize, usize, Output)>,
    worst_lag: Duration,
    netlink_overruns: u64,
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
            pacer: Pacer::default(),
            sockets: BTreeMap::new(),
            opened: 0,
            arrivals: Arrivals::default(),
            units: Vec::new(),
            due: Vec::new(),
            ids: Vec::new(),
            checks: Checks::default(),
            processes: Processes::default(),
            files: Files::default(),
            debounce: Debounce::default(),
            startup: None,
            notifier: Notifier::default(),
            mailer: Mailer::default(),
            batch: Vec::new(),
            worst_lag: Duration::ZERO,
            netlink_overruns: 0,
            mute: std::cell::RefCell::default(),
            config,
        })
    }

    /// Begins with the configuration given to `new`.
    pub(super) fn start(&mut self, now: Time, crashed: bool) {
        let config = std::mem::take(&mut self.config);
        let delay = config.global.startup_delay;
        if !delay.is_zero() {
            log::event(
                "info",
                "starting is delayed",
                &[("seconds", json!(delay.as_secs_f64()))],
            );
            self.startup = Some((now + delay, crashed));
        }
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
        if self.config.global.fifo_write_states_on_reload {
            self.write_states(now);
        }
        Ok(())
    }

    /// Descriptors for epoll.
    pub(super) fn socket_fds(&self) -> Vec<i32> {
        self.sockets.values().map(|(_, s)| s.raw()).collect()
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        let units = self.due.iter().copied().flatten();
        let others = [
            self.files.next_timer(),
            self.checks.next_timer(),
            self.processes.next_timer(),
            self.notifier.next_timer(),
            self.pacer.next_timer(),
            self.debounce.next_timer(),
            self.startup.map(|(at, _)| at),
        ];
        units.chain(others.into_iter().flatten()).min()
    }

    /// Everything that has arrived.
    pub(super) fn receive(&mut self, now: Time) {
        let sockets = std::mem::take(&mut self.sockets);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for (wire, (_, socket)) in &sockets {
            // A flood must not keep us from our own adverts: the rest is read in the next round.
            for _ in 0..ROUNDS {
                match socket.receive(&mut arrivals, |packet| self.packet(now, wire, packet)) {
                    Ok(true) => {}
                    Ok(false) => break,
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
        self.arrivals = arrivals;
        self.sockets = sockets;
        self.execute(now);
    }

    fn packet(&mut self, now: Time, wire: &Wire, packet: Packet<'_>) {
        let Some(vrid) = packet.payload.get(1) else { return };
        // The same id may be used by several unicast instances: the sender decides, if he is known.
        let mut chosen: Option<(usize, usize, bool)> = None;
        let first = self.ids.partition_point(|(id, ..)| id < vrid);
        for (_, u, m) in self.ids[first..].iter().take_while(|(id, ..)| id == vrid) {
            let i = &self.units[*u].members[*m].instance;
            if i.interface == wire.0 && i.ipv6 == wire.1 {
                let known = i.unicast_peers.iter().any(|p| p.ip == packet.src);
                if chosen.is_none_or(|c| known && !c.2) {
                    chosen = Some((*u, *m, known));
                }
            }
        }
        if let Some((u, m, _)) = chosen {
            self.give(now, u, m, Input::Packet(packet));
        }
    }

    /// What is due.
    pub(super) fn tick(&mut self, now: Time) {
        for u in 0..self.due.len() {
            if let Some(at) = self.due[u].filter(|at| *at <= now) {
                self.worst_lag = self.worst_lag.max(now - at);
                self.give_all(now, u, &Input::Tick);
            }
        }
        // The packets first: what follows may take a moment.
        self.execute(now);
        self.announce_paced(now);
        self.start_delayed(now);
        let checks = self.checks.tick(now);
        let processes = self.processes.tick(now);
        let links = self.debounce.tick(now, &self.links);
        if self.files.tick(now) || processes || checks || links {
            self.retrack(now);
        }
        self.notifier.tick(now);
    }

    /// For epoll: readable when [`Engine::processes_told`] has something to do.
    pub(super) fn processes_fd(&self) -> Option<(u64, RawFd)> {
        self.processes.raw()
    }

    /// The kernel tells of processes.
    pub(super) fn processes_told(&mut self, now: Time) {
        if self.processes.told(now) {
            self.retrack(now);
        }
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
            self.netlink_overruns += 1;
            log::event("warning", "netlink overrun, reading everything again", &[]);
            match self.netlink.read() {
                Ok(links) => self.links = links,
                Err(e) => log::event("error", "cannot read interfaces", &[("error", json!(e.to_string()))]),
            }
        }
        for change in changes {
            self.links.apply(change);
        }
        self.debounce.tick(now, &self.links);
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
        self.due[u] = self.units[u].group.next_timer();
    }

    fn give_all(&mut self, now: Time, u: usize, input: &Input<'_>) {
        let out = self.units[u].group.handle_all(now, input);
        self.batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
        self.due[u] = self.units[u].group.next_timer();
    }

    /// Gives an input to every router, or to the named instance's unit.
    pub(super) fn command(&mut self, now: Time, instance: Option<&str>, input: &Input<'_>) -> usize {
        let mut reached = 0;
        for u in 0..self.units.len() {
            let named = |name: &str| self.units[u].members.iter().any(|m| m.instance.name == name);
            if instance.is_none_or(named) {
                reached += self.units[u].members.len();
                self.give_all(now, u, input);
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
}
