//! The virtual network: what is delivered, when, and to whom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hapair::vrrp::packet::{GROUP4, GROUP6};
use hapair::vrrp::track::Effective;
use hapair::vrrp::{Advert, Cause, Form, Input, Output, Packet, State, Time};

use super::node::{Daemon, HOLD, Letter, Node, Plan};
use super::oracle::Oracle;
use super::rng::Rng;

/// What happened in a run, to see that something did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) takeovers: u64,
    pub(crate) preemptions: u64,
    pub(crate) crashes: u64,
    pub(crate) lost: u64,
    pub(crate) delivered: u64,
    pub(crate) stalls: u64,
    pub(crate) reloads: u64,
    pub(crate) regroups: u64,
    pub(crate) commands: u64,
    pub(crate) finales: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.takeovers += other.takeovers;
        self.preemptions += other.preemptions;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.stalls += other.stalls;
        self.reloads += other.reloads;
        self.regroups += other.regroups;
        self.commands += other.commands;
        self.finales += other.finales;
    }
}

#[derive(Clone)]
pub(crate) enum Event {
    Deliver {
        to: usize,
        letter: Letter,
    },
    Timer {
        node: usize,
        serial: u64,
    },
    Chaos,
    Start(usize),
    StopStep(usize),
    Resume(usize),
    Heal,
    /// Exactly one owner from here on.
    Deadline,
    /// No transition at all from here on.
    Settled,
    /// On a network that is whole the owner ends, falls or gives the addresses away.
    Finale,
    /// Who was to lose the addresses then has lost them.
    Moved(usize),
    End,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub(crate) pool: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cut: Vec<Vec<bool>>,
    /// When the last packet arrives.
    arrival: Vec<Vec<u64>>,
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) max_delay: u64,
    /// The longest of the members' intervals, as planned.
    pub(crate) interval: Duration,
    pub(crate) oracle: Oracle,
    failure: Option<String>,
    trace: Option<Vec<String>>,
    pub(crate) totals: Totals,
}

/// Far above what a run needs; two routers that answer each other without end reach it.
const MAX_EVENTS: u64 = 400_000;
/// Largest drift of a clock, parts per million.
pub(crate) const DRIFT: i64 = 1000;

pub(crate) fn ns(d: Duration) -> u64 {
    d.as_nanos() as u64
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> World {
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let plan = Plan::new(&mut rng);
        let priorities = plan.priorities(&mut rng);
        let nodes = (0..plan.hosts)
            .map(|n| plan.node(n, priorities[n], DRIFT, &mut rng))
            .collect();
        let intervals = plan.members.iter().map(|m| m.1);
        let (longest, shortest) = (intervals.clone().max().unwrap(), intervals.min().unwrap());
        let mut world = World {
            now: 0,
            events: BinaryHeap::new(),
            pool: Vec::new(),
            free: Vec::new(),
            order: 0,
            nodes,
            cut: vec![vec![false; plan.hosts]; plan.hosts],
            arrival: vec![vec![0; plan.hosts]; plan.hosts],
            loss: rng.below(4) * 10,
            duplicates: rng.below(3) * 10,
            max_delay: ns(shortest) / [100, 20, 4, 1][rng.below(4) as usize],
            interval: longest,
            oracle: Oracle::default(),
            failure: None,
            trace: traced.then(Vec::new),
            totals: Totals::default(),
            plan,
            rng,
        };
        let i = ns(world.interval);
        for n in 0..world.nodes.len() {
            let at = world.rng.below(4 * i);
            world.push(at, Event::Start(n));
        }
        let chaos = world.rng.between(2, 10);
        for _ in 0..chaos {
            let at = world.rng.below(40 * i);
            world.push(at, Event::Chaos);
        }
        world.push(40 * i, Event::Heal);
        world
    }

    pub(crate) fn run(&mut self) -> (Result<(), String>, Vec<String>) {
        while let Some(Reverse((at, _, slot))) = self.events.pop() {
            self.now = at;
            let event = self.pool[slot].take();
            self.free.push(slot);
            match event {
                None => {}
                Some(Event::End) => break,
                Some(event) => self.event(event),
            }
            self.watch();
            if self.order > MAX_EVENTS {
                self.fail("a storm of packets".to_owned());
            }
            if self.failure.is_some() {
                break;
            }
        }
        if self.failure.is_none() {
            self.judge_the_owner();
        }
        let trace = self.trace.take().unwrap_or_default();
        (self.failure.take().map_or(Ok(()), Err), trace)
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pool.push(None);
            self.pool.len() - 1
        });
        self.pool[slot] = Some(event);
        self.order += 1;
        self.events.push(Reverse((at, self.order, slot)));
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.6} {}", self.now as f64 / 1e9, text()));
        }
    }

    pub(crate) fn fail(&mut self, text: String) {
        self.note(|| format!("FAILED {text}"));
        self.failure.get_or_insert(text);
    }

    /// Local clock of a node.
    pub(crate) fn local(&self, node: usize) -> Time {
        let n = &self.nodes[node];
        Duration::from_nanos(n.offset + (self.now as i128 * (1_000_000 + n.drift) as i128 / 1_000_000) as u64)
    }

    /// When a local clock shows that time.
    fn global(&self, node: usize, at: Time) -> u64 {
        let n = &self.nodes[node];
        let local = ns(at).saturating_sub(n.offset) as i128;
        ((local * 1_000_000 / (1_000_000 + n.drift) as i128) as u64 + 2).max(self.now)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Deliver { to, letter } => self.deliver(to, letter),
            Event::Timer { node, serial } => {
                let n = &self.nodes[node];
                if n.serial == serial && !n.stalled {
                    self.input_all(node, &Input::Tick);
                }
            }
            Event::Chaos => self.chaos(),
            Event::Start(node) => self.start(node),
            Event::StopStep(node) => self.stop_step(node),
            Event::Resume(node) => self.resume(node),
            Event::Heal => self.heal(),
            Event::Deadline => self.oracle.one_owner = true,
            Event::Settled => self.oracle.settled = true,
            Event::Finale => self.finale(),
            Event::Moved(from) => self.judge_the_move(from),
            Event::End => {}
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].daemon.is_some() {
            return;
        }
        let now = self.local(node);
        let n = &mut self.nodes[node];
        let mut daemon = Daemon::new(&n.settings);
        let crashed = std::mem::take(&mut n.crashed);
        n.owner_until.fill(None);
        n.held_until = crashed.then(|| now + HOLD);
        let effective = n.effective;
        let mut out = Vec::new();
        for member in 0..n.settings.len() {
            let fault = effective.fault && member == 0;
            out.extend(daemon.handle(now, member, Input::Tracked(Effective { fault, ..effective })));
        }
        out.extend(daemon.handle_all(now, &Input::Start { crashed }));
        self.nodes[node].daemon = Some(daemon);
        self.note(|| format!("h{node} starts, {effective:?}, crashed before: {crashed}"));
        self.outputs(node, out);
    }

    pub(crate) fn deliver(&mut self, to: usize, letter: Letter) {
        let now = self.local(to);
        let n = &mut self.nodes[to];
        if n.stalled {
            if n.queue.len() < 200 {
                n.queue.push(letter);
            }
            return;
        }
        let Some(daemon) = &mut n.daemon else { return };
        self.totals.delivered += 1;
        let Letter {
            member,
            src,
            dst,
            payload,
        } = letter;
        if daemon.state(member) == State::Backup {
            // Priority 0 ends what `nopreempt` protects.
            let s = &n.settings[member];
            let quiet = match s.version {
                2 => s.advert_int,
                _ => Duration::from_millis(10) * u16::from_be_bytes([payload[4], payload[5]]).into(),
            };
            n.owner_until[member] = (payload[2] != 0).then(|| now + quiet * u32::from(s.down_adverts));
        }
        let packet = Packet {
            src,
            dst,
            ttl: 255,
            payload: &payload,
        };
        let out = daemon.handle(now, member, Input::Packet(packet));
        self.note(|| format!("h{to}.{member} hears priority {}", payload[2]));
        self.outputs(to, out);
    }

    pub(crate) fn input(&mut self, node: usize, member: usize, input: Input<'_>) {
        let now = self.local(node);
        if let Some(daemon) = &mut self.nodes[node].daemon {
            let out = daemon.handle(now, member, input);
            self.outputs(node, out);
        }
    }

    pub(crate) fn input_all(&mut self, node: usize, input: &Input<'_>) {
        let now = self.local(node);
        if let Some(daemon) = &mut self.nodes[node].daemon {
            let out = daemon.handle_all(now, input);
            self.outputs(node, out);
        }
    }

    pub(crate) fn outputs(&mut self, node: usize, out: Vec<(usize, Output)>) {
        let now = self.local(node);
        for (member, output) in out {
            match output {
                Output::Send { advert, form } => self.send(node, member, &advert, form),
                Output::Acquire => self.nodes[node].holds[member] = true,
                Output::Release => self.nodes[node].holds[member] = false,
                Output::Transition { from, to, cause } => {
                    self.note(|| format!("h{node}.{member} {from:?} -> {to:?}: {cause:?}"));
                    if to == State::Master {
                        self.totals.takeovers += 1;
                        self.totals.preemptions += u64::from(cause == Cause::Preempt);
                        self.judge_preemption(node, member, now);
                    }
                    if to == State::Backup {
                        // What is heard from here on counts.
                        self.nodes[node].owner_until[member] = None;
                    }
                    if self.oracle.settled {
                        self.fail(format!(
                            "h{node}.{member} still changes from {from:?} to {to:?}: {cause:?}"
                        ));
                    }
                }
                _ => {}
            }
        }
        self.judge_a_node(node);
        let n = &mut self.nodes[node];
        let Some(daemon) = &n.daemon else { return };
        n.serial += 1;
        let serial = n.serial;
        if let Some(at) = daemon.next_timer() {
            let at = self.global(node, at);
            self.push(at, Event::Timer { node, serial });
        }
    }

    fn send(&mut self, node: usize, member: usize, advert: &Advert, form: Form) {
        let s = &self.nodes[node].settings[member];
        let (src, peers) = (s.source, s.peers.clone());
        self.note(|| format!("h{node}.{member} sends priority {}", advert.priority));
        match peers {
            None => {
                let dst = match src {
                    IpAddr::V4(_) => IpAddr::V4(GROUP4),
                    IpAddr::V6(_) => IpAddr::V6(GROUP6),
                };
                let payload: Rc<[u8]> = advert.encode(src, dst, form).into();
                for to in (0..self.nodes.len()).filter(|to| *to != node) {
                    let payload = payload.clone();
                    self.carry(
                        node,
                        to,
                        Letter {
                            member,
                            src,
                            dst,
                            payload,
                        },
                    );
                }
            }
            Some(peers) => {
                for dst in peers.into_iter().map(|p| p.ip) {
                    let payload: Rc<[u8]> = advert.encode(src, dst, form).into();
                    let Some(to) = self.plan.host_at(member, dst) else {
                        continue;
                    };
                    self.carry(
                        node,
                        to,
                        Letter {
                            member,
                            src,
                            dst,
                            payload,
                        },
                    );
                }
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, letter: Letter) {
        if self.cut[from][to] || self.rng.chance(self.loss) {
            self.totals.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.duplicates));
        for _ in 0..copies {
            let mut at = self.now + 1000 + self.rng.below(self.max_delay);
            // Each its own, so that they overtake each other: until the network is whole.
            if self.oracle.healed {
                at = at.max(self.arrival[from][to] + 1);
                self.arrival[from][to] = at;
            }
            let letter = letter.clone();
            self.push(at, Event::Deliver { to, letter });
        }
    }
}
