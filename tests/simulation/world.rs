//! The virtual network: what is delivered, when, and to whom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hapair::vrrp::{Input, Packet, State, Time};

use super::chaos::{Theme, one_fails};
use super::daemon::{Daemon, Rules};
use super::network::Links;
use super::node::{Letter, Link, Node, Plan};
use super::oracle::Oracle;
use super::rng::Rng;
use super::service::Watch;
use super::strangers::Attack;

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
    pub(crate) takeover_commands: u64,
    pub(crate) strangers: u64,
    pub(crate) flaps: u64,
    pub(crate) slow_checks: u64,
    pub(crate) unsent: u64,
    pub(crate) clocks: u64,
    pub(crate) rotations: u64,
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
        self.takeover_commands += other.takeover_commands;
        self.strangers += other.strangers;
        self.flaps += other.flaps;
        self.slow_checks += other.slow_checks;
        self.unsent += other.unsent;
        self.clocks += other.clocks;
        self.rotations += other.rotations;
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
    /// Something goes wrong; what, is drawn from this seed.
    Chaos(u64),
    Link {
        node: usize,
        link: Link,
    },
    Check {
        node: usize,
        good: bool,
    },
    Weight {
        node: usize,
        penalty: u8,
    },
    /// The checks' first answers.
    Answered(usize),
    Clock {
        node: usize,
        clock: i64,
    },
    /// A step of a change of keys.
    Rotate {
        node: usize,
        step: u8,
    },
    /// Every standby has told that the owner's clock is off.
    Told(usize),
    /// It can send again.
    Voice(usize),
    Stranger {
        to: usize,
        attack: Attack,
        priority: u8,
        seed: u64,
    },
    Flood {
        to: usize,
        left: u64,
    },
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
    /// Who took over by command has the addresses.
    Taken(usize),
    /// The raised priority ends.
    Lowered(usize),
    End,
}

pub(crate) struct World {
    /// What is drawn by what the routers do, which is nothing that concerns a comparison.
    pub(crate) rng: Rng,
    pub(crate) seed: u64,
    pub(crate) rules: Rules,
    pub(crate) theme: Theme,
    /// Their packets arrive. A run without them must be the same.
    pub(crate) strangers_come: bool,
    /// Of everything that is put on, taken off and sent, with the times.
    pub(crate) digest: u64,
    pub(crate) watch: Watch,
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub(crate) pool: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cut: Vec<Vec<bool>>,
    pub(crate) links: Links,
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) max_delay: u64,
    /// The longest of the members' intervals, as planned.
    pub(crate) interval: Duration,
    /// The longest that any settings ever had: a standby of version 3 waits by the interval that it heard last.
    pub(crate) slowest: Duration,
    pub(crate) oracle: Oracle,
    failure: Option<String>,
    trace: Option<Vec<String>>,
    pub(crate) totals: Totals,
}

/// Far above what a run needs; two routers that answer each other without end reach it.
const MAX_EVENTS: u64 = 400_000;
const STORM: &str = "a storm of packets";
/// Largest drift of a clock, parts per million.
pub(crate) const DRIFT: i64 = 1000;

pub(crate) fn ns(d: Duration) -> u64 {
    d.as_nanos() as u64
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> World {
        let mut rng = Rng::stream(seed, 0);
        let theme = Theme::new(&mut rng);
        let plan = Plan::new(theme, &mut rng);
        let priorities = plan.priorities(&mut rng);
        let nodes: Vec<Node> = (0..plan.hosts)
            .map(|n| plan.node(n, priorities[n], DRIFT, &mut rng))
            .collect();
        let intervals = plan.members.iter().map(|m| m.1);
        let (longest, shortest) = (intervals.clone().max().unwrap(), intervals.min().unwrap());
        let rough = u64::from(theme.loses());
        let mut world = World {
            now: 0,
            events: BinaryHeap::new(),
            pool: Vec::new(),
            free: Vec::new(),
            order: 0,
            cut: vec![vec![false; plan.hosts]; plan.hosts],
            links: Links::new(plan.hosts, ns(shortest) / [1, 8][rng.below(2) as usize]),
            loss: rng.below(4) * 10 * rough,
            duplicates: rng.below(3) * 10 * rough,
            max_delay: ns(shortest) / [100, 20, 4, 1][(rng.below(4) * rough) as usize],
            nodes,
            interval: longest,
            slowest: longest,
            oracle: Oracle::default(),
            failure: None,
            trace: None,
            totals: Totals::default(),
            rng: Rng::stream(seed, 1),
            seed,
            rules,
            theme,
            strangers_come: true,
            digest: 0,
            watch: Watch::default(),
            plan,
        };
        let i = ns(world.interval);
        for n in 0..world.nodes.len() {
            world.push(rng.below(4 * i), Event::Start(n));
        }
        for _ in 0..rng.between(2, 10) {
            world.push(rng.below(40 * i), Event::Chaos(rng.next()));
        }
        world.push(40 * i, Event::Heal);
        world
    }

    pub(crate) fn traced(mut self) -> World {
        self.trace = Some(Vec::new());
        self
    }

    pub(crate) fn without_strangers(mut self) -> World {
        self.strangers_come = false;
        self
    }

    /// What keepalived can be compared in: it has no commands, and its sync groups are not modelled.
    pub(crate) fn compares(&self) -> bool {
        self.theme.compares() && self.plan.members.len() == 1
    }

    pub(crate) fn run(&mut self) -> (Result<(), String>, Vec<String>) {
        while let Some(Reverse((at, _, slot))) = self.events.pop() {
            self.now = at;
            let event = self.pool[slot].take();
            self.free.push(slot);
            match event {
                None => {}
                Some(Event::End) => break,
                // The rest is about the agent's rules.
                Some(Event::Settled) if self.rules == Rules::Keepalived => break,
                Some(event) => self.event(event),
            }
            self.measure();
            if self.rules == Rules::Agent {
                self.watch();
            }
            if self.order > MAX_EVENTS {
                self.fail(STORM.to_owned());
            }
            if self.failure.is_some() {
                break;
            }
        }
        self.measure_no_more();
        if self.failure.is_none() && self.rules == Rules::Agent {
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
        if self.rules == Rules::Keepalived && !text.starts_with(STORM) {
            return;
        }
        self.note(|| format!("FAILED {text}"));
        self.failure.get_or_insert(text);
    }

    /// Local clock of a node.
    pub(crate) fn local(&self, node: usize) -> Time {
        let n = &self.nodes[node];
        Duration::from_nanos(n.offset + (self.now as i128 * (1_000_000 + n.drift) as i128 / 1_000_000) as u64)
    }

    /// When a local clock shows that time.
    pub(crate) fn global(&self, node: usize, at: Time) -> u64 {
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
            Event::Chaos(seed) => self.chaos(seed),
            Event::Link { node, link } => self.link(node, link),
            Event::Check { node, good } => self.check(node, good),
            Event::Weight { node, penalty } => self.weigh(node, penalty),
            Event::Answered(node) => self.answered(node),
            Event::Clock { node, clock } => self.set_clock(node, clock),
            Event::Rotate { node, step } => self.rotate(node, step),
            Event::Told(owner) => self.judge_the_clocks(owner),
            Event::Voice(node) => self.unmute(node),
            Event::Stranger {
                to,
                attack,
                priority,
                seed,
            } => self.stranger(to, attack, priority, seed),
            Event::Flood { to, left } => self.flood(to, left),
            Event::Start(node) => self.start(node),
            Event::StopStep(node) => self.stop_step(node),
            Event::Resume(node) => self.resume(node),
            Event::Heal => self.heal(),
            Event::Deadline => self.oracle.one_owner = true,
            Event::Settled => {
                self.oracle.settled = true;
                self.measure_no_more();
            }
            Event::Finale => self.finale(),
            Event::Moved(from) => self.judge_the_move(from),
            Event::Taken(by) => self.judge_the_takeover(by),
            Event::Lowered(owner) => self.judge_the_raise(owner),
            Event::End => {}
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].daemon.is_some() {
            return;
        }
        let now = self.local(node);
        let hold = self.plan.hold;
        let n = &mut self.nodes[node];
        let mut daemon = Daemon::new(self.rules, &n.settings);
        let crashed = std::mem::take(&mut n.crashed);
        n.leftover = false;
        n.clock_told = false;
        n.heard = None;
        n.owner_until.fill(None);
        n.held_until = crashed.then(|| now + hold);
        let slow = n.first_answer.filter(|_| !self.oracle.healed);
        n.tracked.pending = slow.is_some();
        let effective = n.effective();
        let mut out = Vec::new();
        for member in 0..n.settings.len() {
            out.extend(daemon.handle(now, member, Input::Tracked(one_fails(effective, member))));
        }
        out.extend(daemon.handle_all(now, &Input::Start { crashed }));
        n.daemon = Some(daemon);
        if let Some(answer) = slow {
            self.totals.slow_checks += 1;
            self.push(self.now + answer.after, Event::Answered(node));
        }
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
        if n.daemon.is_none() {
            return;
        }
        self.totals.delivered += 1;
        self.tell_time(to);
        let n = &mut self.nodes[to];
        let signed = self.plan.hmac.is_some();
        let copy = signed.then(|| letter.clone());
        let Some(daemon) = &mut n.daemon else { return };
        let Letter {
            member,
            src,
            dst,
            payload,
        } = letter;
        let backup = self.rules == Rules::Agent && daemon.state(member) == State::Backup;
        let received = if backup || signed { daemon.received(member) } else { 0 };
        let packet = Packet {
            src,
            dst,
            ttl: 255,
            payload: &payload,
        };
        let out = daemon.handle(now, member, Input::Packet(packet));
        let counted = (backup || signed) && daemon.received(member) > received;
        if counted && signed {
            n.heard = copy;
        }
        if backup && counted {
            // Priority 0 ends what `nopreempt` protects.
            let s = &n.settings[member];
            let quiet = match s.version {
                2 => s.advert_int,
                _ => Duration::from_millis(10) * u16::from_be_bytes([payload[4], payload[5]]).into(),
            };
            n.owner_until[member] = (payload[2] != 0).then(|| now + quiet * u32::from(s.down_adverts));
        }
        self.note(|| format!("h{to}.{member} hears priority {}", payload[2]));
        self.outputs(to, out);
    }
}
