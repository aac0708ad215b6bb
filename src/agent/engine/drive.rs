//! The engine: what it consists of, and what the event loop has it do.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::epoll::Epoll;
use serde_json::json;

use super::strays::Strays;
use super::undone::Undone;
use super::units::Unit;
use crate::agent::config;
use crate::agent::net::duplicate::Duplicates;
use crate::agent::net::netlink::{Links, Netlink};
use crate::agent::net::pacing::Pacer;
use crate::agent::net::packet_socket::PacketSocket;
use crate::agent::net::vrrp_socket::{Arrivals, Outbox, PACKETS, VrrpSocket};
use crate::agent::os::epoll_registered::Watched;
use crate::agent::os::run_marker::Before;
use crate::agent::os::{log, sys};
use crate::agent::tell::mail::Mailer;
use crate::agent::tell::notify::Notifier;
use crate::agent::track::checks::Checks;
use crate::agent::track::debounce::Debounce;
use crate::agent::track::processes::Processes;
use crate::agent::track::track_files::Files;
use crate::keepalived::{Config, Family, Instance};
use crate::vrrp::{Input, Output, Packet, Time};

/// So often a socket is read, up to [`PACKETS`] each time, before anything else gets its turn.
pub(crate) const ROUNDS: usize = 32;
/// Fewer packets than this in a round were all that there were.
pub(crate) const FLOOD: usize = ROUNDS * PACKETS;
/// A packet's own time stamp counts if it is not further than this from when the packet is read, which is more than we let
/// packets wait on purpose. The stamp's clock may be set, and what waits in the socket of a daemon that was kept from running
/// for long is not the last that was said: it was full by then.
pub(crate) const FRESH: Duration = Duration::from_millis(2);
/// Adverts that are due within this of each other go together. The next one of each is by the clock again.
pub(crate) const TOGETHER: Duration = Duration::from_micros(500);

/// What the event loop's epoll tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    /// There are packets.
    pub(crate) packets: u64,
    /// There is something about processes.
    pub(crate) processes: u64,
}

/// What a socket is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub(super) interface: String,
    pub(super) family: Family,
}

impl Wire {
    /// The one that an instance's adverts go over.
    pub(super) fn of(instance: &Instance) -> Wire {
        Wire {
            interface: instance.interface.clone(),
            family: instance.family,
        }
    }

    /// Whether an instance's adverts go over it.
    pub(super) fn carries(&self, instance: &Instance) -> bool {
        self.interface == instance.interface && self.family == instance.family
    }
}

/// A socket of a wire.
pub(crate) struct Ear {
    /// Of the interface it was opened for.
    pub(super) index: u32,
    pub(super) socket: Watched<VrrpSocket>,
    /// Multicast groups that it hears. Joining is not tried again for them: the kernel would take the lock under which all
    /// network changes are made, only to say that it is done.
    pub(super) joined: BTreeSet<IpAddr>,
}

/// Everything but the event loop.
pub(crate) struct Engine {
    pub(super) path: PathBuf,
    pub(super) config_id: Option<String>,
    pub(super) config: Config,
    /// Every address that some instance gives away.
    pub(super) vips: BTreeSet<IpAddr>,
    pub(super) netlink: Netlink,
    pub(super) links: Links,
    pub(super) packets: PacketSocket,
    pub(super) pacer: Pacer,
    pub(super) epoll: Rc<Epoll>,
    pub(super) tokens: Tokens,
    pub(super) sockets: BTreeMap<Wire, Ear>,
    pub(super) undone: Undone,
    pub(super) strays: Strays,
    pub(super) duplicates: Duplicates,
    pub(super) arrivals: Arrivals,
    pub(super) units: Vec<Unit>,
    /// When each unit wants its tick: looked at with every wake-up, so it is kept at hand.
    pub(super) due: Vec<Option<Time>>,
    /// Virtual router ids, sorted, with unit and member.
    pub(super) ids: Vec<(u8, usize, usize)>,
    pub(super) checks: Checks,
    pub(crate) processes: Processes,
    pub(super) files: Files,
    pub(super) debounce: Debounce,
    /// `vrrp_startup_delay`: the routers begin then.
    pub(super) startup: Option<(Time, Before)>,
    pub(crate) notifier: Notifier,
    pub(crate) mailer: Mailer,
    /// Outputs of this round.
    pub(super) batch: Vec<(usize, usize, Output)>,
    pub(super) worst_lag: Duration,
    pub(super) netlink_overruns: u64,
    /// Since the notes were written, a router has learned in which form its peers make their checksums.
    pub(crate) learned: bool,
    /// Instances whose last advert could not be sent: said once, not with every advert.
    pub(super) mute: RefCell<BTreeSet<String>>,
    pub(super) outbox: RefCell<Outbox>,
}

impl Engine {
    /// What is to be read is watched by `epoll`, with those tokens.
    pub(crate) fn new(
        path: PathBuf,
        config_id: Option<String>,
        config: Config,
        epoll: &Rc<Epoll>,
        tokens: Tokens,
    ) -> io::Result<Engine> {
        let mut netlink = Netlink::open()?;
        Ok(Engine {
            path,
            config_id,
            vips: BTreeSet::new(),
            links: netlink.read()?,
            netlink,
            packets: PacketSocket::open()?,
            pacer: Pacer::default(),
            epoll: Rc::clone(epoll),
            tokens,
            sockets: BTreeMap::new(),
            undone: Undone::default(),
            strays: Strays::default(),
            duplicates: Duplicates::default(),
            arrivals: Arrivals::default(),
            units: Vec::new(),
            due: Vec::new(),
            ids: Vec::new(),
            checks: Checks::default(),
            processes: Processes::new(epoll, tokens.processes),
            files: Files::default(),
            debounce: Debounce::default(),
            startup: None,
            notifier: Notifier::default(),
            mailer: Mailer::default(),
            batch: Vec::new(),
            worst_lag: Duration::ZERO,
            netlink_overruns: 0,
            learned: false,
            mute: RefCell::default(),
            outbox: RefCell::default(),
            config,
        })
    }

    /// Begins with the configuration given to `new`.
    pub(crate) fn start(&mut self, now: Time, before: Before) {
        let config = std::mem::take(&mut self.config);
        let delay = config.global.startup_delay;
        if !delay.is_zero() {
            log::event(
                "info",
                "starting is delayed",
                &[("seconds", json!(delay.as_secs_f64()))],
            );
            self.startup = Some((now + delay, before));
        }
        self.install(now, config, before);
    }

    /// Reads the configuration again and changes what differs; a broken one changes nothing.
    pub(crate) fn reload(&mut self, now: Time) -> Result<(), String> {
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
        self.install(now, loaded.config, Before::Clean);
        if self.config.global.fifo_write_states_on_reload {
            self.write_states(now);
        }
        Ok(())
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let units = self.due.iter().copied().flatten();
        let others = [
            self.files.next_timer(),
            self.checks.next_timer(),
            self.processes.next_timer(),
            self.notifier.next_timer(),
            self.pacer.next_timer(),
            self.debounce.next_timer(),
            self.undone.next_timer(),
            self.strays.next_timer(),
            self.startup.map(|(at, _)| at),
        ];
        units.chain(others.into_iter().flatten()).min()
    }

    /// Everything that has arrived. Returns how many packets.
    pub(crate) fn receive(&mut self) -> usize {
        let (now, real) = (sys::now(), sys::real_time());
        let sockets = std::mem::take(&mut self.sockets);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut all = 0;
        for (wire, Ear { socket, .. }) in &sockets {
            // A flood must not keep us from our own adverts: the rest is read in the next round.
            for _ in 0..ROUNDS {
                let got = socket.receive(&mut arrivals, |packet, stamp| {
                    self.packet((arrival(now, real, stamp), now, real), wire, packet);
                });
                match got {
                    Ok(got) => {
                        all += got;
                        if got < PACKETS {
                            break;
                        }
                    }
                    Err(e) => {
                        // ENETDOWN: netlink tells of it too.
                        log::event(
                            "warning",
                            "receiving failed",
                            &[("interface", json!(wire.interface)), ("error", json!(e.to_string()))],
                        );
                        break;
                    }
                }
            }
        }
        self.arrivals = arrivals;
        self.sockets = sockets;
        self.execute(now);
        all
    }

    /// `arrived`, by our clock; and what both clocks said at one moment.
    pub(super) fn packet(&mut self, (arrived, now, real): (Time, Time, Duration), wire: &Wire, packet: Packet<'_>) {
        let Some(vrid) = packet.payload.get(1) else { return };
        // The same id may be used by several unicast instances: the sender decides, if he is known.
        let mut chosen: Option<(usize, usize, bool)> = None;
        let first = self.ids.partition_point(|(id, ..)| id < vrid);
        for (_, u, m) in self.ids[first..].iter().take_while(|(id, ..)| id == vrid) {
            let i = &self.units[*u].members[*m].instance;
            if wire.carries(i) {
                let known = i.unicast_peers.iter().any(|p| p.ip == packet.src);
                if chosen.is_none_or(|c| known && !c.2) {
                    chosen = Some((*u, *m, known));
                }
            }
        }
        if chosen.is_none() {
            self.stray_packet(now, wire, &packet);
        }
        if let Some((u, m, _)) = chosen {
            let before = self.units[u].group.routers()[m].learned_form();
            self.units[u].group.set_real_time(now, real);
            self.give(arrived, u, m, Input::Packet(packet));
            self.learned |= self.units[u].group.routers()[m].learned_form() != before;
        }
    }

    /// What is due.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.due.iter().flatten().any(|at| *at <= now) {
            for u in 0..self.due.len() {
                let Some(at) = self.due[u] else { continue };
                // Only an owner may act early: an advert may still cancel a backup's timer.
                if at <= now || (at <= now + TOGETHER && self.units[u].is_owner()) {
                    self.worst_lag = self.worst_lag.max(now.saturating_sub(at));
                    self.give_all(now.max(at), u, &Input::Tick);
                }
            }
        }
        // The packets first: what follows may take a moment.
        self.execute(now);
        self.retry(now);
        self.look_for_uninvited(now);
        self.look_for_duplicates(now);
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

    /// The kernel tells of processes.
    pub(crate) fn processes_told(&mut self, now: Time) {
        if self.processes.told(now) {
            self.retrack(now);
        }
    }

    /// A child ended.
    pub(crate) fn reap(&mut self, now: Time) {
        if self.checks.reap(now) {
            self.retrack(now);
        }
        self.notifier.tick(now);
    }

    pub(super) fn give(&mut self, now: Time, u: usize, m: usize, input: Input<'_>) {
        let (unit, batch) = (&mut self.units[u], &mut self.batch);
        let now = unit.clock.at_least(now);
        if !unit.group.alone(now, &input, &mut |m, o| batch.push((u, m, o))) {
            let out = unit.group.handle(now, m, input);
            batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
        }
        self.due[u] = unit.group.next_timer();
    }

    pub(super) fn give_all(&mut self, now: Time, u: usize, input: &Input<'_>) {
        let (unit, batch) = (&mut self.units[u], &mut self.batch);
        let now = unit.clock.at_least(now);
        if !unit.group.alone(now, input, &mut |m, o| batch.push((u, m, o))) {
            let out = unit.group.handle_all(now, input);
            batch.extend(out.into_iter().map(|(m, o)| (u, m, o)));
        }
        self.due[u] = unit.group.next_timer();
    }

    /// Gives an input to every router, or to the named instance's unit.
    pub(crate) fn command(&mut self, now: Time, instance: Option<&str>, input: &Input<'_>) -> usize {
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

    /// Makes every instance, or the named one with its sync group, owner now; its raised priority stays for that long, or until it
    /// is ended. Nothing happens where one of them refuses.
    pub(crate) fn take_over(
        &mut self,
        now: Time,
        instance: Option<&str>,
        time: Option<Duration>,
    ) -> Result<usize, String> {
        for unit in &self.units {
            let named = |name: &str| unit.members.iter().any(|m| m.instance.name == name);
            if instance.is_none_or(named)
                && let Some(refusal) = unit.group.takeover_refusal()
            {
                let names: Vec<&str> = unit.members.iter().map(|m| m.instance.name.as_str()).collect();
                return Err(format!("{}: {refusal}", names.join(", ")));
            }
        }
        Ok(self.command(now, instance, &Input::Takeover(time)))
    }

    /// Ends everything: addresses off, priority 0, scripts ended, `notify_stop` started.
    pub(crate) fn stop(&mut self, now: Time) {
        self.command(now, None, &Input::Stop);
        self.checks.stop();
    }
}

/// When a packet arrived, by our clock, from its time stamp and what both clocks say now.
pub(super) fn arrival(now: Time, real: Duration, stamp: Option<Duration>) -> Time {
    let Some(stamp) = stamp.filter(|s| s.abs_diff(real) <= FRESH) else {
        return now;
    };
    (now + stamp).saturating_sub(real)
}
