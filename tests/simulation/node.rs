//! One host: its settings, its daemon, its clock.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hapair::vrrp::track::Effective;
use hapair::vrrp::{Form, GarpTimes, Group, Input, Output, Peer, Router, Settings, State, Time};

use super::rng::Rng;

pub(crate) const HOLD: Duration = Duration::from_secs(6);
pub(crate) const PREEMPT_DELAY: Duration = Duration::from_secs(3);

/// The process: its routers, together or each alone.
pub(crate) struct Daemon(pub(crate) Vec<Group>);

impl Daemon {
    pub(crate) fn new(settings: &[Settings]) -> Daemon {
        Daemon(vec![Group::new(settings.iter().cloned().map(Router::new).collect())])
    }

    pub(crate) fn routers(&self) -> impl Iterator<Item = &Router> {
        self.0.iter().flat_map(Group::routers)
    }

    pub(crate) fn state(&self, member: usize) -> State {
        self.routers().nth(member).unwrap().state()
    }

    pub(crate) fn together(&self) -> bool {
        self.0.len() == 1
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.0.iter().filter_map(Group::next_timer).min()
    }

    pub(crate) fn handle(&mut self, now: Time, member: usize, input: Input<'_>) -> Vec<(usize, Output)> {
        match self.0.as_mut_slice() {
            [group] => group.handle(now, member, input),
            // Each alone.
            groups => {
                let out = groups[member].handle(now, 0, input);
                out.into_iter().map(|(_, o)| (member, o)).collect()
            }
        }
    }

    pub(crate) fn handle_all(&mut self, now: Time, input: &Input<'_>) -> Vec<(usize, Output)> {
        match self.0.as_mut_slice() {
            [group] => group.handle_all(now, input),
            groups => (0..groups.len())
                .flat_map(|member| self.handle(now, member, input.clone()))
                .collect(),
        }
    }

    /// A reload with a sync group that was not there, or without the one that was.
    pub(crate) fn regroup(&mut self, together: bool) {
        let routers = std::mem::take(&mut self.0).into_iter().flat_map(Group::into_routers);
        self.0 = match together {
            true => vec![Group::new(routers.collect())],
            false => routers.map(|router| Group::new(vec![router])).collect(),
        };
    }
}

/// A packet on its way or in a socket's buffer.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) member: usize,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) payload: Rc<[u8]>,
}

pub(crate) struct Node {
    pub(crate) settings: Vec<Settings>,
    /// `None`: no process.
    pub(crate) daemon: Option<Daemon>,
    /// The kernel has the addresses, by member.
    pub(crate) holds: Vec<bool>,
    pub(crate) crashed: bool,
    pub(crate) serial: u64,
    pub(crate) stalled: bool,
    pub(crate) queue: Vec<Letter>,
    pub(crate) effective: Effective,
    /// Until when it was told to take over from nobody who lives, local time.
    pub(crate) held_until: Option<Time>,
    /// Local clock: offset in ns, and deviation in parts per million.
    pub(crate) offset: u64,
    pub(crate) drift: i64,
    /// Until when an owner that was heard last is alive, by member, local time; what `nopreempt` is judged by.
    pub(crate) owner_until: Vec<Option<Time>>,
}

impl Node {
    pub(crate) fn takes_part(&self) -> bool {
        self.daemon.is_some() && !self.effective.fault
    }

    /// By what it was told, not by what it says.
    pub(crate) fn held(&self, now: Time) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// It takes over from a living owner of lower priority, after its skew time.
    pub(crate) fn preempts_at_once(&self, now: Time) -> bool {
        let may = |s: &Settings| s.priority == 255 || s.preempt && s.preempt_delay.is_zero();
        self.takes_part() && !self.held(now) && self.settings.iter().all(may)
    }
}

/// What all hosts of a run have in common.
pub(crate) struct Plan {
    pub(crate) hosts: usize,
    /// By member: version and interval.
    pub(crate) members: Vec<(u8, Duration)>,
    v6: bool,
    unicast: bool,
    nopreempt_all: bool,
    equal: bool,
    pub(crate) intervals_differ: bool,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Plan {
        let hosts = rng.between(2, 5) as usize;
        let version = if rng.chance(50) { 2 } else { 3 };
        let v6 = version == 3 && rng.chance(40);
        let mut member = |version| match version {
            2 => (2, Duration::from_secs(rng.between(1, 2))),
            _ => (
                3,
                Duration::from_millis([10, 50, 100, 500, 1000][rng.below(5) as usize]),
            ),
        };
        let first = member(version);
        let second = (member(2), member(3));
        let members = match rng.below(8) {
            0 => vec![first, first],
            // A sync group of both versions.
            1 if !v6 => vec![first, if version == 2 { second.1 } else { second.0 }],
            _ => vec![first],
        };
        Plan {
            hosts,
            members,
            v6,
            unicast: rng.chance(20),
            nopreempt_all: rng.chance(30),
            equal: rng.chance(15),
            intervals_differ: rng.chance(25),
        }
    }

    fn source(&self, host: usize, member: usize) -> IpAddr {
        let n = host as u8 + 1;
        match self.v6 {
            true => format!("fe80::{member}:{n}").parse().unwrap(),
            false => IpAddr::from([10, 0, member as u8, n]),
        }
    }

    pub(crate) fn host_at(&self, member: usize, address: IpAddr) -> Option<usize> {
        (0..self.hosts).find(|host| self.source(*host, member) == address)
    }

    /// Version 3 lets every owner choose; version 2 ignores who does.
    pub(crate) fn interval(&self, member: usize, rng: &mut Rng) -> Duration {
        let (version, interval) = self.members[member];
        match version == 3 && self.intervals_differ {
            true => interval * (1 << rng.below(3)),
            false => interval,
        }
    }

    pub(crate) fn priorities(&self, rng: &mut Rng) -> Vec<u8> {
        let mut priorities: Vec<u8> = Vec::new();
        for n in 0..self.hosts {
            priorities.push(match rng.below(12) {
                0 if n == 0 => 255,
                _ if self.equal && n > 0 => priorities[0].min(254),
                _ => rng.between(1, 254) as u8,
            });
        }
        priorities
    }

    pub(crate) fn node(&self, host: usize, priority: u8, drift: i64, rng: &mut Rng) -> Node {
        let preempt = !(self.nopreempt_all || rng.chance(15));
        let delayed = preempt && rng.chance(15);
        let members = 0..self.members.len();
        let settings = members.map(|m| {
            let mut s = self.settings(host, m, priority);
            s.advert_int = self.interval(m, rng);
            s.preempt = preempt;
            s.preempt_delay = if delayed { PREEMPT_DELAY } else { Duration::ZERO };
            s
        });
        Node {
            settings: settings.collect(),
            daemon: None,
            holds: vec![false; self.members.len()],
            crashed: false,
            serial: 0,
            stalled: false,
            queue: Vec::new(),
            effective: Effective {
                priority,
                fault: false,
                pending: false,
            },
            held_until: None,
            offset: rng.below(1 << 40),
            drift: rng.below(2 * drift as u64 + 1) as i64 - drift,
            owner_until: vec![None; self.members.len()],
        }
    }

    fn settings(&self, host: usize, member: usize, priority: u8) -> Settings {
        let (version, advert_int) = self.members[member];
        let others = (0..self.hosts).filter(|other| *other != host);
        let peer = |other| Peer {
            ip: self.source(other, member),
            ttl: (0, 255),
        };
        Settings {
            version,
            vrid: 51 + member as u8,
            priority,
            advert_int,
            source: self.source(host, member),
            vips: vec![self.vip(member, 0)],
            auth: (version == 2).then_some(*b"secret12"),
            auth_hmac: None,
            peers: self.unicast.then(|| others.map(peer).collect()),
            preempt: true,
            preempt_delay: Duration::ZERO,
            crash_hold: HOLD,
            down_adverts: 3,
            lower_prio_no_advert: false,
            higher_prio_send_advert: host == 1,
            skip_check_adv_addr: host == 2,
            form: if host.is_multiple_of(2) {
                Form::Pseudo
            } else {
                Form::Plain
            },
            garp: GarpTimes::default(),
        }
    }

    pub(crate) fn vip(&self, member: usize, number: usize) -> IpAddr {
        match self.v6 {
            true => format!("fd00:9::{member}:{number}").parse().unwrap(),
            false => IpAddr::from([10, 9, member as u8, number as u8]),
        }
    }
}
