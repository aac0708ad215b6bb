//! One host: its settings, its daemon, its clock.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hapair::vrrp::track::Effective;
use hapair::vrrp::{AuthHmac, Form, GarpTimes, Peer, Settings, Time};

use super::chaos::Theme;
use super::daemon::Daemon;
use super::rng::Rng;
use super::sealed;

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
    /// It crashed, and its stop step will not come.
    pub(crate) leftover: bool,
    pub(crate) serial: u64,
    pub(crate) stalled: bool,
    pub(crate) queue: Vec<Letter>,
    /// What is tracked, but for what flaps.
    pub(crate) tracked: Effective,
    pub(crate) link: Link,
    /// A check without a weight is good.
    pub(crate) good: bool,
    /// What a failing check with a weight takes off.
    pub(crate) weight: u8,
    /// Of its checks, if they do not answer at once.
    pub(crate) first_answer: Option<FirstAnswer>,
    /// By how much its real clock is wrong, in ns.
    pub(crate) clock: i64,
    /// By how much it is wrong when nothing is the matter.
    pub(crate) right_clock: i64,
    /// Since its start it has told of a clock that is nearly outside the window.
    pub(crate) clock_told: bool,
    /// The last signed packet that it has heard.
    pub(crate) heard: Option<Letter>,
    /// Since when its adverts cannot be sent.
    pub(crate) mute: Option<u64>,
    /// What it sends now, and what may be its cause.
    pub(crate) window: Window,
    /// Until when it was told to take over from nobody who lives, local time.
    pub(crate) held_until: Option<Time>,
    /// Local clock: offset in ns, and deviation in parts per million.
    pub(crate) offset: u64,
    pub(crate) drift: i64,
    /// Until when an owner that was heard last is alive, by member, local time; what `nopreempt` is judged by.
    pub(crate) owner_until: Vec<Option<Time>>,
}

/// What slow checks say first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstAnswer {
    /// This long after the daemon's start, in ns.
    pub(crate) after: u64,
    pub(crate) good: bool,
}

/// A host's link to the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Down, and the host sees it.
    Down,
    /// Up to the host, and nothing passes.
    Deaf,
}

/// What an owner sends within about one interval, and what gives it the right to.
#[derive(Default, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) since: u64,
    pub(crate) sent: u64,
    /// Inputs that are no packets, and changes of state.
    pub(crate) causes: u64,
}

impl Node {
    /// Runs, and nothing that it tracks fails.
    pub(crate) fn in_election(&self) -> bool {
        self.daemon.is_some() && !self.effective().fault
    }

    /// What its daemon is told.
    pub(crate) fn effective(&self) -> Effective {
        let Effective {
            priority,
            fault,
            pending,
        } = self.tracked;
        Effective {
            priority: match priority {
                255 => 255,
                priority => priority.saturating_sub(self.weight).max(1),
            },
            fault: fault || self.link == Link::Down || !self.good,
            pending,
        }
    }

    /// Whether clients reach the addresses of that member here, and somebody lives who can give them up.
    pub(crate) fn serves(&self, member: usize) -> bool {
        self.holds[member] && self.daemon.is_some() && !self.crashed && self.link == Link::Up
    }

    /// By what it was told, not by what it says.
    pub(crate) fn held(&self, now: Time) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// It takes over from a living owner of lower priority, after its skew time.
    pub(crate) fn preempts_at_once(&self, now: Time) -> bool {
        let may = |s: &Settings| s.priority == 255 || s.preempt && s.preempt_delay.is_zero();
        self.in_election() && !self.held(now) && self.settings.iter().all(may)
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
    pub(crate) hmac: Option<Arc<AuthHmac>>,
    /// After a crash, and by command: short where intervals are, so that a run is.
    pub(crate) hold: Duration,
    pub(crate) preempt_delay: Duration,
}

impl Plan {
    pub(crate) fn new(theme: Theme, rng: &mut Rng) -> Plan {
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
        let longest = members.iter().map(|m| m.1).max().unwrap();
        // What keepalived is compared in needs none.
        let hmac = (theme == Theme::Commands && rng.chance(40)).then(|| Arc::new(sealed::auth(rng)));
        let hold = (20 * longest).min(Duration::from_secs(6));
        Plan {
            hosts,
            members,
            v6,
            unicast: rng.chance(20),
            nopreempt_all: rng.chance(30),
            equal: rng.chance(15),
            intervals_differ: rng.chance(25),
            hmac,
            hold,
            preempt_delay: hold / 2,
        }
    }

    /// The longest of the members' intervals, in ns.
    pub(crate) fn longest(&self) -> u64 {
        self.members
            .iter()
            .map(|m| m.1.as_nanos() as u64)
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn source(&self, host: usize, member: usize) -> IpAddr {
        let n = host as u8 + 1;
        match self.v6 {
            true => format!("fe80::{member}:{n}").parse().unwrap(),
            false => IpAddr::from([10, 0, member as u8, n]),
        }
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
            s.preempt_delay = if delayed { self.preempt_delay } else { Duration::ZERO };
            s
        });
        let settings = settings.collect();
        let clock = self.hmac.as_ref().map_or(0, |auth| sealed::tolerated(auth, rng));
        let slow = rng.below(8 * self.longest()) + 1;
        let (answers_late, good) = (rng.chance(30), rng.chance(70));
        let first_answer = answers_late.then_some(FirstAnswer { after: slow, good });
        Node {
            settings,
            daemon: None,
            holds: vec![false; self.members.len()],
            crashed: false,
            leftover: false,
            serial: 0,
            stalled: false,
            queue: Vec::new(),
            tracked: Effective {
                priority,
                fault: false,
                pending: false,
            },
            link: Link::Up,
            good: true,
            weight: 0,
            first_answer,
            clock,
            right_clock: clock,
            clock_told: false,
            heard: None,
            mute: None,
            window: Window::default(),
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
            auth: (version == 2 && self.hmac.is_none()).then_some(*b"secret12"),
            auth_hmac: self.hmac.clone(),
            peers: self.unicast.then(|| others.map(peer).collect()),
            preempt: true,
            preempt_delay: Duration::ZERO,
            crash_hold: self.hold,
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
