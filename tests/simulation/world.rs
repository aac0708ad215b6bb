//! The virtual network.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hapair::vrrp::packet::{GROUP4, GROUP6};
use hapair::vrrp::track::Effective;
use hapair::vrrp::{Form, GarpTimes, Group, Input, Output, Packet, Router, Settings, State, Time};

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// What happened in a run, to see that something did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) takeovers: u64,
    pub(crate) preemptions: u64,
    pub(crate) crashes: u64,
    pub(crate) lost: u64,
    pub(crate) delivered: u64,
    pub(crate) stalls: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Totals) {
        self.takeovers += other.takeovers;
        self.preemptions += other.preemptions;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.stalls += other.stalls;
    }
}

#[derive(Clone)]
enum Event {
    Deliver {
        to: usize,
        member: usize,
        src: IpAddr,
        payload: Rc<[u8]>,
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
    Deadline,
    Settled,
    End,
}

struct Node {
    settings: Vec<Settings>,
    /// `None`: no process.
    group: Option<Group>,
    /// The kernel has the addresses, by member.
    holds: Vec<bool>,
    crashed: bool,
    serial: u64,
    stalled: bool,
    queue: Vec<(usize, IpAddr, Rc<[u8]>)>,
    effective: Effective,
    /// Local clock: offset in ns, and deviation in parts per million.
    offset: u64,
    drift: i64,
    /// When an owner was heard last, by member, local time; what `nopreempt` is judged by.
    owner_heard: Vec<Option<Time>>,
}

pub(crate) struct World {
    rng: Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pool: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    nodes: Vec<Node>,
    cut: Vec<Vec<bool>>,
    loss: u64,
    duplicates: u64,
    max_delay: u64,
    healed: bool,
    /// After it, exactly one owner.
    deadline: Option<u64>,
    /// After it, no transition at all.
    settled: Option<u64>,
    wrong_since: Option<u64>,
    interval: Duration,
    failure: Option<String>,
    trace: Option<Vec<String>>,
    pub(crate) totals: Totals,
}

const HOLD: Duration = Duration::from_secs(6);
const PREEMPT_DELAY: Duration = Duration::from_secs(3);
/// Far above what a run needs; two routers that answer each other without end reach it.
const MAX_EVENTS: u64 = 200_000;
/// Largest drift of a clock, parts per million.
const DRIFT: i64 = 1000;

fn ns(d: Duration) -> u64 {
    d.as_nanos() as u64
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> World {
        let mut rng = Rng(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let hosts = rng.between(2, 5) as usize;
        let members = if rng.chance(25) { 2 } else { 1 };
        let version = if rng.chance(50) { 2 } else { 3 };
        let v6 = version == 3 && rng.chance(40);
        let interval = match version {
            2 => Duration::from_secs(rng.between(1, 2)),
            _ => Duration::from_millis([10, 50, 100, 500, 1000][rng.below(5) as usize]),
        };
        let equal = rng.chance(15);
        let nopreempt_all = rng.chance(30);
        let mut priorities: Vec<u8> = Vec::new();
        for n in 0..hosts {
            let priority = match rng.below(12) {
                0 if n == 0 => 255,
                _ if equal && n > 0 => priorities[0].min(254),
                _ => rng.between(1, 254) as u8,
            };
            priorities.push(priority);
        }
        let nodes = (0..hosts)
            .map(|n| {
                let preempt = !(nopreempt_all || rng.chance(15));
                let delay = if preempt && rng.chance(15) {
                    PREEMPT_DELAY
                } else {
                    Duration::ZERO
                };
                let settings: Vec<Settings> = (0..members)
                    .map(|m| settings(n, m, version, v6, priorities[n], interval, preempt, delay))
                    .collect();
                Node {
                    group: None,
                    holds: vec![false; members],
                    crashed: false,
                    serial: 0,
                    stalled: false,
                    queue: Vec::new(),
                    effective: Effective {
                        priority: priorities[n],
                        fault: false,
                    },
                    offset: rng.below(1 << 40),
                    drift: rng.below(2 * DRIFT as u64 + 1) as i64 - DRIFT,
                    owner_heard: vec![None; members],
                    settings,
                }
            })
            .collect();
        let mut world = World {
            now: 0,
            events: BinaryHeap::new(),
            pool: Vec::new(),
            free: Vec::new(),
            order: 0,
            nodes,
            cut: vec![vec![false; hosts]; hosts],
            loss: rng.below(4) * 10,
            duplicates: rng.below(3) * 10,
            max_delay: ns(interval) / [100, 20, 4, 1][rng.below(4) as usize],
            healed: false,
            deadline: None,
            settled: None,
            wrong_since: None,
            interval,
            failure: None,
            trace: traced.then(Vec::new),
            totals: Totals::default(),
            rng,
        };
        let i = ns(interval);
        for n in 0..hosts {
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

    fn push(&mut self, at: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pool.push(None);
            self.pool.len() - 1
        });
        self.pool[slot] = Some(event);
        self.order += 1;
        self.events.push(Reverse((at, self.order, slot)));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.6} {}", self.now as f64 / 1e9, text()));
        }
    }

    fn fail(&mut self, text: String) {
        self.note(|| format!("FAILED {text}"));
        self.failure.get_or_insert(text);
    }

    /// Local clock of a node.
    fn local(&self, node: usize) -> Time {
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
            Event::Deliver {
                to,
                member,
                src,
                payload,
            } => self.deliver(to, member, src, payload),
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
            Event::Deadline => self.deadline = Some(self.now),
            Event::Settled => self.settled = Some(self.now),
            Event::End => {}
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].group.is_some() {
            return;
        }
        let n = &mut self.nodes[node];
        let mut group = Group::new(n.settings.iter().cloned().map(Router::new).collect());
        let crashed = std::mem::take(&mut n.crashed);
        n.owner_heard.fill(None);
        let effective = n.effective;
        let now = self.local(node);
        let mut out = group.handle_all(now, &Input::Tracked(effective));
        out.extend(group.handle_all(now, &Input::Start { crashed }));
        self.nodes[node].group = Some(group);
        self.note(|| format!("h{node} starts, {effective:?}, crashed before: {crashed}"));
        self.outputs(node, out);
    }

    fn deliver(&mut self, to: usize, member: usize, src: IpAddr, payload: Rc<[u8]>) {
        let n = &mut self.nodes[to];
        if n.stalled {
            if n.queue.len() < 200 {
                n.queue.push((member, src, payload));
            }
            return;
        }
        let now = self.local(to);
        let n = &mut self.nodes[to];
        let Some(group) = &mut n.group else { return };
        self.totals.delivered += 1;
        let dst = if src.is_ipv4() {
            IpAddr::V4(GROUP4)
        } else {
            IpAddr::V6(GROUP6)
        };
        if group.routers()[member].state() == State::Backup {
            // Priority 0 ends what `nopreempt` protects.
            n.owner_heard[member] = (payload[2] != 0).then_some(now);
        }
        let out = group.handle(
            now,
            member,
            Input::Packet(Packet {
                src,
                dst,
                ttl: 255,
                payload: &payload,
            }),
        );
        self.outputs(to, out);
    }

    fn input_all(&mut self, node: usize, input: &Input<'_>) {
        let now = self.local(node);
        if let Some(group) = &mut self.nodes[node].group {
            let out = group.handle_all(now, input);
            self.outputs(node, out);
        }
    }

    fn outputs(&mut self, node: usize, out: Vec<(usize, Output)>) {
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
                        self.totals.preemptions += u64::from(cause == hapair::vrrp::Cause::Preempt);
                        self.judge_preemption(node, member, now);
                    }
                    if to == State::Backup {
                        // What is heard from here on counts.
                        self.nodes[node].owner_heard[member] = None;
                    }
                    if self.settled.is_some() {
                        self.fail(format!(
                            "h{node}.{member} still changes from {from:?} to {to:?}: {cause:?}"
                        ));
                    }
                }
                _ => {}
            }
        }
        let n = &mut self.nodes[node];
        let Some(group) = &n.group else { return };
        n.serial += 1;
        let serial = n.serial;
        let masters = group.routers().iter().filter(|r| r.state() == State::Master).count();
        let torn = masters != 0 && masters != group.routers().len();
        let odd = group
            .routers()
            .iter()
            .zip(&n.holds)
            .any(|(r, holds)| (r.state() == State::Master) != *holds);
        if let Some(at) = group.next_timer() {
            let at = self.global(node, at);
            self.push(at, Event::Timer { node, serial });
        }
        if odd {
            self.fail(format!("h{node}: addresses and state disagree"));
        }
        if torn {
            self.fail(format!("h{node}: the sync group is torn apart"));
        }
    }

    fn send(&mut self, node: usize, member: usize, advert: &hapair::vrrp::Advert, form: Form) {
        let src = self.nodes[node].settings[member].source;
        let dst = if src.is_ipv4() {
            IpAddr::V4(GROUP4)
        } else {
            IpAddr::V6(GROUP6)
        };
        let payload: Rc<[u8]> = advert.encode(src, dst, form).into();
        self.note(|| format!("h{node}.{member} sends priority {}", advert.priority));
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            if self.cut[node][to] || self.rng.chance(self.loss) {
                self.totals.lost += 1;
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.duplicates));
            for _ in 0..copies {
                let at = self.now + 1000 + self.rng.below(self.max_delay);
                self.push(
                    at,
                    Event::Deliver {
                        to,
                        member,
                        src,
                        payload: payload.clone(),
                    },
                );
            }
        }
    }

    fn chaos(&mut self) {
        if self.healed {
            return;
        }
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        if self.nodes[node].stalled {
            return;
        }
        let i = ns(self.interval);
        let soon = self.rng.between(1, 12 * i);
        match self.rng.below(10) {
            0 | 1 => self.crash(node, soon),
            2 => {
                self.note(|| format!("h{node} is told to stop"));
                self.input_all(node, &Input::Stop);
                if self.nodes[node].group.take().is_some() && self.nodes[node].holds.contains(&true) {
                    self.fail(format!("h{node} stopped and holds addresses"));
                }
                self.push(self.now + soon, Event::Start(node));
            }
            3 if self.nodes[node].group.is_none() => {}
            3 => {
                self.note(|| format!("h{node} stalls"));
                self.nodes[node].stalled = true;
                self.totals.stalls += 1;
                self.push(self.now + soon, Event::Resume(node));
            }
            4 | 5 => {
                for a in 0..self.nodes.len() {
                    for b in 0..self.nodes.len() {
                        self.cut[a][b] = a != b && self.rng.chance(50);
                    }
                }
                let cut = self.cut.clone();
                self.note(|| format!("partition {cut:?}"));
            }
            6 | 7 => {
                let base = self.nodes[node].settings[0].priority;
                let priority = if base == 255 {
                    255
                } else {
                    self.rng.between(1, 254) as u8
                };
                let fault = self.rng.chance(25);
                self.nodes[node].effective = Effective { priority, fault };
                self.note(|| format!("h{node} tracks priority {priority}, fault {fault}"));
                if self.nodes[node].settings.len() > 1 && fault {
                    // One member of a group fails.
                    let now = self.local(node);
                    if let Some(group) = &mut self.nodes[node].group {
                        let mut out = group.handle(now, 0, Input::Tracked(Effective { priority, fault }));
                        out.extend(group.handle(now, 1, Input::Tracked(Effective { priority, fault: false })));
                        self.outputs(node, out);
                    }
                } else {
                    self.input_all(node, &Input::Tracked(Effective { priority, fault }));
                }
            }
            8 => self.reload(node),
            _ => {
                self.note(|| format!("h{node} hands over"));
                self.input_all(node, &Input::Handover(Some(HOLD / 3)));
            }
        }
    }

    /// SIGKILL; the unit's stop step follows, if the machine lives.
    fn crash(&mut self, node: usize, back_after: u64) {
        if self.nodes[node].group.is_none() {
            return;
        }
        self.totals.crashes += 1;
        let power = self.rng.chance(30);
        let leftover = !power && self.rng.chance(10);
        self.note(|| format!("h{node} crashes, power lost: {power}, stop step lost: {leftover}"));
        let n = &mut self.nodes[node];
        n.crashed = !power;
        n.stalled = false;
        n.queue.clear();
        if power {
            n.group = None;
            n.holds.fill(false);
        } else if leftover {
            n.group = None;
        } else {
            n.stalled = true;
            let at = self.now + self.rng.between(1_000_000, 40_000_000).min(back_after);
            self.push(at, Event::StopStep(node));
        }
        self.push(self.now + back_after + 1, Event::Start(node));
    }

    /// What ExecStopPost does: addresses off, then priority 0.
    fn stop_step(&mut self, node: usize) {
        let now = self.local(node);
        let n = &mut self.nodes[node];
        n.stalled = false;
        n.queue.clear();
        let Some(mut group) = n.group.take() else { return };
        self.note(|| format!("h{node}: stop step"));
        let out = group.handle_all(now, &Input::Stop);
        self.outputs(node, out);
        if self.nodes[node].holds.contains(&true) {
            self.fail(format!("h{node} crashed and holds addresses"));
        }
    }

    fn reload(&mut self, node: usize) {
        let preempt = self.nodes[node].settings[0].preempt;
        let grow = self.rng.chance(50);
        self.note(|| format!("h{node} reloads"));
        let effective = self.nodes[node].effective;
        for member in 0..self.nodes[node].settings.len() {
            let s = &mut self.nodes[node].settings[member];
            if grow && s.vips.len() < 4 {
                let more = match s.vips[0] {
                    IpAddr::V4(_) => IpAddr::from([10, 9, member as u8, s.vips.len() as u8]),
                    IpAddr::V6(_) => format!("fd00:9::{member}:{}", s.vips.len()).parse().unwrap(),
                };
                s.vips.push(more);
            } else {
                s.vips.truncate(1);
            }
            s.preempt = preempt;
            let settings = Box::new(s.clone());
            let now = self.local(node);
            if let Some(group) = &mut self.nodes[node].group {
                let fault = effective.fault && member == 0;
                let out = group.handle(
                    now,
                    member,
                    Input::Configure(settings, Effective { fault, ..effective }),
                );
                self.outputs(node, out);
            }
        }
    }

    fn resume(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if !n.stalled || n.group.is_none() {
            return;
        }
        self.note(|| format!("h{node} runs again"));
        let n = &mut self.nodes[node];
        n.stalled = false;
        for (member, src, payload) in std::mem::take(&mut n.queue) {
            self.deliver(node, member, src, payload);
        }
        self.input_all(node, &Input::Tick);
    }

    fn heal(&mut self) {
        self.note(|| "healed".to_owned());
        let last_delay = self.max_delay;
        self.healed = true;
        self.loss = 0;
        self.duplicates = 0;
        self.max_delay = ns(self.interval) / 100;
        self.cut.iter_mut().for_each(|row| row.fill(false));
        for node in 0..self.nodes.len() {
            if self.nodes[node].stalled {
                // A crash whose stop step is still to come, or a stall.
                if self.nodes[node].crashed {
                    self.stop_step(node);
                }
                self.resume(node);
            }
            let dead = self.nodes[node].group.is_none();
            if dead && (self.nodes[node].holds.contains(&true) || self.rng.chance(60)) {
                self.start(node);
            }
        }
        // Somebody must be able to own the addresses.
        if !self.nodes.iter().any(|n| n.group.is_some() && !n.effective.fault) {
            self.nodes[0].effective.fault = false;
            let effective = self.nodes[0].effective;
            self.start(0);
            self.input_all(0, &Input::Tracked(effective));
        }
        // Starts that are still to come would begin a new election.
        for event in &mut self.pool {
            if matches!(event, Some(Event::Start(_) | Event::Resume(_) | Event::StopStep(_))) {
                *event = None;
            }
        }
        let down = self.nodes.iter().flat_map(|n| {
            n.settings
                .iter()
                .map(|s| s.master_down(n.effective.priority, s.advert_int))
        });
        let down = down.max().unwrap_or_default();
        let bound = (ns(down + self.interval)) * (1_000_000 + 2 * DRIFT as u64) / 1_000_000;
        let deadline = self.now + last_delay + bound + 2 * self.max_delay;
        let settled = deadline + ns(HOLD + PREEMPT_DELAY) + 2 * bound;
        self.push(deadline, Event::Deadline);
        self.push(settled, Event::Settled);
        self.push(settled + 4 * bound, Event::End);
    }

    /// After the deadline: one owner for each VIP, except while the word of a new one travels.
    fn watch(&mut self) {
        if self.deadline.is_none() {
            return;
        }
        let members = self.nodes[0].settings.len();
        let counts: Vec<usize> = (0..members)
            .map(|m| self.nodes.iter().filter(|n| n.holds[m]).count())
            .collect();
        match (counts.iter().any(|c| *c != 1), self.wrong_since) {
            (false, _) => self.wrong_since = None,
            (true, None) => {
                self.wrong_since = Some(self.now);
                // A new owner and the old one may overlap by one packet's way; a VIP without owner may not be.
                if counts.contains(&0) {
                    self.fail(format!("a VIP without owner: {:?}", self.owners()));
                }
            }
            (true, Some(since)) if self.now > since + 3 * self.max_delay => {
                self.fail(format!("owners for too long: {:?}", self.owners()));
            }
            _ => {}
        }
    }

    fn owners(&self) -> Vec<Vec<bool>> {
        self.nodes.iter().map(|n| n.holds.clone()).collect()
    }

    /// Who does not preempt may only become owner after silence, priority 0, or a start.
    fn judge_preemption(&mut self, node: usize, member: usize, now: Time) {
        let n = &self.nodes[node];
        let s = &n.settings[member];
        let quiet = s.advert_int * u32::from(s.down_adverts);
        if s.preempt || s.priority == 255 {
            return;
        }
        if let Some(heard) = n.owner_heard[member]
            && now < heard + quiet
        {
            self.fail(format!(
                "h{node}.{member} preempts although it must not: owner heard {:?} ago",
                now - heard
            ));
        }
    }

    /// In the end nobody who preempts is better than the owner.
    fn judge_the_owner(&mut self) {
        let rank = |n: &Node| (n.effective.priority, n.settings[0].source);
        let Some(owner) = self.nodes.iter().position(|n| n.holds[0]) else {
            return self.fail("nobody owns the addresses in the end".to_owned());
        };
        let best = self.nodes.iter().position(|n| {
            let takes_part = n.group.is_some() && !n.effective.fault;
            let preempts = n.settings[0].preempt || n.effective.priority == 255;
            takes_part && preempts && rank(n).0 > rank(&self.nodes[owner]).0
        });
        if let Some(best) = best {
            self.fail(format!("h{owner} owns the addresses, h{best} should"));
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn settings(
    node: usize,
    member: usize,
    version: u8,
    v6: bool,
    priority: u8,
    advert_int: Duration,
    preempt: bool,
    preempt_delay: Duration,
) -> Settings {
    let n = node as u8 + 1;
    Settings {
        version,
        vrid: 51 + member as u8,
        priority,
        advert_int,
        source: if v6 {
            format!("fe80::{n}").parse().unwrap()
        } else {
            IpAddr::from([10, 0, member as u8, n])
        },
        vips: vec![if v6 {
            format!("fd00::{member}:99").parse().unwrap()
        } else {
            IpAddr::from([10, 0, member as u8, 99])
        }],
        auth: (version == 2).then_some(*b"secret12"),
        peers: None,
        check_unicast_src: false,
        preempt,
        preempt_delay,
        crash_hold: HOLD,
        down_adverts: 3,
        lower_prio_no_advert: false,
        higher_prio_send_advert: node == 1,
        skip_check_adv_addr: node == 2,
        form: if node.is_multiple_of(2) {
            Form::Pseudo
        } else {
            Form::Plain
        },
        garp: GarpTimes::default(),
    }
}
