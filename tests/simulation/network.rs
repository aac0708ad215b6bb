//! What goes into a host and comes out of it, and the way between two hosts.

use std::net::IpAddr;
use std::rc::Rc;

use hapair::vrrp::{Advert, Alarm, Cause, Form, Input, Output, State};

use super::daemon::Daemon;
use super::node::{Letter, Link, Window};
use super::rng::Rng;
use super::world::{Event, World, ns};

/// What becomes of a packet depends on nothing but the time and its way: the first one from here to there within a slice of
/// time meets the same fate in every run of a seed, by whatever rules it was sent.
pub(crate) struct Links {
    hosts: usize,
    /// Nanoseconds.
    slice: u64,
    /// By way: the slice of the last packet, and how many there were in it.
    last: Vec<(u64, u64)>,
    /// By way: when the last packet arrives.
    arrival: Vec<u64>,
}

impl Links {
    pub(crate) fn new(hosts: usize, slice: u64) -> Links {
        Links {
            hosts,
            slice: slice.max(1),
            last: vec![(u64::MAX, 0); hosts * hosts],
            arrival: vec![0; hosts * hosts],
        }
    }

    fn fate(&mut self, seed: u64, now: u64, from: usize, to: usize) -> Rng {
        let way = from * self.hosts + to;
        let slice = now / self.slice;
        let (last, count) = &mut self.last[way];
        *count = if *last == slice { *count + 1 } else { 0 };
        *last = slice;
        let label = (slice << 16) ^ (*count << 8) ^ (way as u64) ^ (1 << 63);
        Rng::stream(seed, label)
    }
}

impl World {
    pub(crate) fn input(&mut self, node: usize, member: usize, input: Input<'_>) {
        let now = self.local(node);
        if let Some(daemon) = &mut self.nodes[node].daemon {
            let cause = u64::from(!matches!(input, Input::Packet(_) | Input::Tick));
            let out = daemon.handle(now, member, input);
            self.nodes[node].window.causes += cause;
            self.outputs(node, out);
        }
    }

    pub(crate) fn input_all(&mut self, node: usize, input: &Input<'_>) {
        let now = self.local(node);
        if let Some(daemon) = &mut self.nodes[node].daemon {
            let out = daemon.handle_all(now, input);
            self.nodes[node].window.causes += u64::from(!matches!(input, Input::Tick));
            self.outputs(node, out);
        }
    }

    pub(crate) fn outputs(&mut self, node: usize, out: Vec<(usize, Output)>) {
        let mut unsent = self.apply(node, out);
        // As the daemon does: of all that was to be sent together, before anything else happens.
        for member in 0..self.plan.members.len() {
            if unsent & 1 << member == 0 {
                continue;
            }
            self.totals.unsent += 1;
            let now = self.local(node);
            let daemon = self.nodes[node].daemon.as_mut();
            let more = daemon.map_or(Vec::new(), |daemon| daemon.handle(now, member, Input::Unsent));
            // A farewell of the whole group is not heard either.
            unsent |= self.apply(node, more) & !((2 << member) - 1);
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

    /// Does what a host's routers want. Returns, bit by bit, the members whose adverts could not be sent.
    fn apply(&mut self, node: usize, out: Vec<(usize, Output)>) -> u8 {
        let mut unsent = 0;
        for (member, output) in out {
            self.remember(node, member, &output);
            match output {
                Output::Send { advert, form } => {
                    self.nodes[node].window.sent += 1;
                    match self.nodes[node].mute {
                        Some(_) => unsent |= 1 << member,
                        None => self.send(node, member, &advert, form),
                    }
                }
                Output::Acquire => self.nodes[node].holds[member] = true,
                Output::Release => self.nodes[node].holds[member] = false,
                Output::Alarm(Alarm::Clock { .. }) => self.nodes[node].clock_told = true,
                Output::Announce { .. } if unsent == 0 && member == 0 => self.told(node),
                Output::Transition { from, to, cause } => self.transition(node, member, from, to, cause),
                _ => {}
            }
        }
        unsent
    }

    fn transition(&mut self, node: usize, member: usize, from: State, to: State, cause: Cause) {
        self.note(|| format!("h{node}.{member} {from:?} -> {to:?}: {cause:?}"));
        let now = self.local(node);
        self.nodes[node].window.causes += 1;
        if to == State::Master {
            self.totals.takeovers += 1;
            self.totals.preemptions += u64::from(cause == Cause::Preempt);
            self.judge_preemption(node, member, now, cause);
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

    /// For the comparison of two runs that must be the same.
    fn remember(&mut self, node: usize, member: usize, output: &Output) {
        let what = match output {
            Output::Send { advert, .. } => 1 + u64::from(advert.priority),
            Output::Acquire => 300,
            Output::Release => 301,
            Output::Announce { count } => 400 + u64::from(*count),
            Output::Transition { to, .. } => 500 + *to as u64,
            _ => return,
        };
        let all = self.now ^ (what << 48) ^ ((node as u64) << 44) ^ ((member as u64) << 40);
        self.digest = Rng(self.digest ^ all).next();
    }

    fn send(&mut self, node: usize, member: usize, advert: &Advert, form: Form) {
        self.note(|| format!("h{node}.{member} sends priority {}", advert.priority));
        let s = &self.nodes[node].settings[member];
        let src = s.source;
        let unicast = s.peers.is_some();
        let group = self.plan.destination(s);
        let (now, real) = (self.local(node), self.real(node));
        let router = self.nodes[node].daemon.iter().flat_map(Daemon::routers).nth(member);
        // All copies of one advert bear the same seal.
        let seal = router.and_then(|r| r.seal(now, real));
        let encode = |dst| {
            let mut out = Vec::new();
            advert.encode_sealed_into(src, dst, form, seal, &mut out);
            Rc::from(out)
        };
        let mut payloads: Vec<Rc<[u8]>> = Vec::new();
        for to in 0..self.nodes.len() {
            payloads.push(match (unicast, payloads.first()) {
                (false, Some(same)) => same.clone(),
                (false, None) => encode(group),
                (true, _) => encode(self.plan.source(to, member)),
            });
        }
        for (to, payload) in payloads.into_iter().enumerate().filter(|(to, _)| *to != node) {
            let dst = if unicast { self.plan.source(to, member) } else { group };
            let letter = Letter {
                member,
                src,
                dst,
                payload,
            };
            self.carry(node, to, letter);
        }
    }

    fn carry(&mut self, from: usize, to: usize, letter: Letter) {
        let up = |n: usize| self.nodes[n].link == Link::Up;
        if self.cut[from][to] || !up(from) || !up(to) {
            self.totals.lost += 1;
            return;
        }
        let mut fate = self.links.fate(self.seed, self.now, from, to);
        if fate.chance(self.loss) {
            self.totals.lost += 1;
            return;
        }
        let copies = 1 + u64::from(fate.chance(self.duplicates));
        for _ in 0..copies {
            let mut at = self.now + 1000 + fate.below(self.max_delay);
            // Each its own, so that they overtake each other: until the network is whole.
            if self.oracle.healed {
                let arrival = &mut self.links.arrival[from * self.nodes.len() + to];
                at = at.max(*arrival + 1);
                *arrival = at;
            }
            let letter = letter.clone();
            self.push(at, Event::Deliver { to, letter });
        }
    }

    /// Who is let in cannot make an owner send more than a few adverts an interval.
    pub(crate) fn judge_the_sent(&mut self, node: usize) {
        let interval = self.nodes[node]
            .settings
            .iter()
            .map(|s| ns(s.interval()))
            .min()
            .unwrap_or(1);
        let Window { since, sent, causes } = self.nodes[node].window;
        // An answer every tenth of a second or quarter of an interval, whatever is shorter, for every member; and its own adverts.
        let answers = interval / (interval / 4).min(100_000_000) + 2;
        let most = (answers + 2 + 2 * causes) * self.plan.members.len() as u64;
        if sent > most {
            self.fail(format!("h{node} sent {sent} adverts within an interval"));
        }
        if self.now >= since + interval {
            self.nodes[node].window = Window {
                since: self.now,
                sent: 0,
                causes: 0,
            };
        }
    }
}

/// Where the adverts of one go.
impl super::node::Plan {
    pub(crate) fn destination(&self, s: &hapair::vrrp::Settings) -> IpAddr {
        use hapair::vrrp::packet::{GROUP4, GROUP6};
        match (&s.peers, s.source) {
            (Some(_), own) => own,
            (None, IpAddr::V4(_)) => IpAddr::V4(GROUP4),
            (None, IpAddr::V6(_)) => IpAddr::V6(GROUP6),
        }
    }
}
