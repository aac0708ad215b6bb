//! A router, or a sync group of up to three, given whatever may come: it must stay sane.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hapair::vrrp::hmac::{AntiReplay, AuthHmac, Key, Mode, Sequence};
use hapair::vrrp::packet::{GROUP4, GROUP6};
use hapair::vrrp::track::Effective;
use hapair::vrrp::{Advert, Form, GarpTimes, Group, Input, Output, Packet, Peer, Router, Settings, State, Time};

use super::bytes::Bytes;

/// Since 1970, when the clock of a run is 0.
const REAL: Duration = Duration::from_secs(1_790_000_000);
const FORMS: [Form; 3] = [Form::Plain, Form::Pseudo, Form::PseudoGroup];

pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let members = 1 + usize::from(bytes.upto(2));
    let (version, v6) = [(2, false), (3, false), (3, true)][usize::from(bytes.upto(2))];
    let routers = (0..members).map(|m| Router::new(settings(&mut bytes, version, v6, m)));
    let mut bench = Bench {
        group: Group::new(routers.collect()),
        now: Duration::from_secs(bytes.byte().into()),
        holds: vec![false; members],
        states: vec![State::Stopped; members],
        sent: vec![0; members],
    };
    // Ticks cost no bytes, so the length of a run is bounded here.
    for _ in 0..400 {
        if bytes.is_empty() {
            break;
        }
        step(&mut bench, &mut bytes, version, v6);
    }
}

/// State, since when, priority, what a takeover announces, owner.
type Seen = (State, Time, u8, Option<u8>, Option<(IpAddr, u8)>);

struct Bench {
    group: Group,
    now: Time,
    /// By member: the addresses are on the interface.
    holds: Vec<bool>,
    states: Vec<State>,
    sent: Vec<u64>,
}

fn settings(bytes: &mut Bytes<'_>, version: u8, v6: bool, member: usize) -> Settings {
    let flags = bytes.byte();
    let vips = (0..bytes.upto(3)).map(|_| bytes.address(v6)).collect();
    let peer = Peer {
        ip: bytes.address(v6),
        ttl: (bytes.byte() & 1, 255),
    };
    Settings {
        version,
        vrid: 1 + member as u8,
        priority: bytes.byte().max(1),
        advert_int: match version {
            2 => Duration::from_secs(1 + u64::from(bytes.byte() & 3)),
            _ => Duration::from_millis(10 * (1 + u64::from(bytes.byte()))),
        },
        source: bytes.address(v6),
        vips,
        auth: (version == 2 && flags & 1 == 1).then(|| bytes.array()),
        auth_hmac: (flags & 128 == 128).then(|| Arc::new(auth_hmac(bytes))),
        peers: (flags & 2 == 2).then_some(vec![peer]),
        preempt: flags & 8 == 8,
        preempt_delay: Duration::from_secs(u64::from(bytes.byte() & 7)),
        crash_hold: Duration::from_secs(5),
        down_adverts: 1 + bytes.upto(99),
        lower_prio_no_advert: flags & 16 == 16,
        higher_prio_send_advert: flags & 32 == 32,
        skip_check_adv_addr: flags & 64 == 64,
        form: FORMS[usize::from(bytes.upto(2))],
        garp: GarpTimes {
            repeat: bytes.byte().into(),
            refresh: Duration::from_secs(bytes.upto(3).into()),
            ..GarpTimes::default()
        },
    }
}

/// Signed adverts, by two keys at most.
fn auth_hmac(bytes: &mut Bytes<'_>) -> AuthHmac {
    let kind = bytes.byte();
    AuthHmac {
        keys: (1..=1 + (kind >> 7)).filter_map(key).collect(),
        active: 1 + (kind >> 6 & 1),
        mode: [Mode::Enforce, Mode::Permissive, Mode::ReceiveOnly][usize::from(kind % 3)],
        anti_replay: match kind & 16 {
            0 => AntiReplay::Time {
                window: 1 + u16::from(kind >> 5 & 1) * 8,
            },
            _ => AntiReplay::Monotonic,
        },
    }
}

fn key(id: u8) -> Option<Key> {
    Key::new(id, &[id; 32])
}

fn effective(bytes: &mut Bytes<'_>, base: u8) -> Effective {
    let priority = if base == 255 { 255 } else { bytes.byte().clamp(1, 254) };
    let answers = bytes.byte();
    Effective {
        priority,
        fault: answers.is_multiple_of(4),
        pending: answers & 16 == 16,
    }
}

fn duration(bytes: &mut Bytes<'_>) -> Option<Duration> {
    match bytes.byte() {
        0 => None,
        255 => Some(Duration::MAX),
        n => Some(Duration::from_secs(n.into())),
    }
}

fn step(bench: &mut Bench, bytes: &mut Bytes<'_>, version: u8, v6: bool) {
    let members = bench.group.routers().len();
    let op = bytes.byte();
    let member = usize::from(op >> 4) % members;
    let base = bench.group.routers()[member].settings().priority;
    match op & 15 {
        0 | 1 => {
            let crashed = op & 1 == 1;
            // Only what stands still is started.
            if bench.states.iter().all(|s| *s == State::Stopped) {
                bench.give_all(&Input::Start { crashed });
            }
        }
        2 | 3 => {
            bench.now += Duration::from_millis(u64::from(bytes.byte()) * 4);
            bench.tick();
        }
        4 => {
            // Adverts that are due, one after the other.
            for _ in 0..bytes.upto(7) {
                if let Some(at) = bench.group.next_timer() {
                    bench.now = bench.now.max(at);
                    bench.tick();
                }
            }
        }
        // Kept from running.
        5 => bench.now += Duration::from_secs(bytes.byte().into()),
        6 => bench.give(member, Input::Tracked(effective(bytes, base))),
        7 => {
            let s = settings(bytes, version, v6, member);
            let e = effective(bytes, s.priority);
            bench.give(member, Input::Configure(Box::new(s), e));
        }
        8 => bench.give_all(&Input::Handover(duration(bytes))),
        9 => bench.give_all(&Input::Hold(duration(bytes))),
        10 => match op >> 6 {
            0 => bench.give_all(&Input::Resume),
            1 => bench.give(member, Input::Takeover(duration(bytes))),
            2 => bench.take_over(duration(bytes)),
            _ => bench.give(member, Input::Unsent),
        },
        11 => bench.give(member, Input::AddressLost),
        12 if op & 16 == 16 => bench.give_all(&Input::Stop),
        12 => bench.regroup(),
        13 => {
            let (src, dst) = (bytes.address(v6), bytes.address(v6));
            let ttl = bytes.byte();
            let len = bytes.byte();
            let payload = bytes.slice(len.into());
            bench.give(member, Input::Packet(Packet { src, dst, ttl, payload }));
        }
        _ => advert(bench, bytes, member),
    }
    bench.check();
}

/// An advert that mostly counts.
fn advert(bench: &mut Bench, bytes: &mut Bytes<'_>, member: usize) {
    let s = bench.group.routers()[member].settings().clone();
    let v6 = s.source.is_ipv6();
    let twist = bytes.byte();
    let mut advert: Advert = s.advert(bytes.byte());
    let src = match (&s.peers, v6) {
        (Some(peers), _) if twist & 1 == 0 => peers[0].ip,
        (_, true) => IpAddr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, twist >> 5]),
        (_, false) => IpAddr::from([10, 0, 0, twist >> 5]),
    };
    let dst = match (&s.peers, v6) {
        (Some(_), _) => s.source,
        (None, true) => IpAddr::V6(GROUP6),
        (None, false) => IpAddr::V4(GROUP4),
    };
    match twist & 6 {
        2 => advert.addresses.clear(),
        // Another cluster's.
        4 => advert.addresses.iter_mut().for_each(|a| *a = bytes.address(v6)),
        6 => advert.addresses.push(bytes.address(v6)),
        _ => {}
    }
    if s.version == 3 {
        advert.interval = bytes.byte().into();
    }
    let form = FORMS[usize::from(bytes.upto(2))];
    // Signed with a key that is known, or not, by a clock that is right, or not.
    let sender = AuthHmac {
        keys: key(1 + bytes.upto(2)).into_iter().collect(),
        active: 1 + bytes.upto(2),
        mode: Mode::Permissive,
        anti_replay: AntiReplay::Monotonic,
    };
    let real = REAL + bench.now + Duration::from_millis(u64::from(bytes.byte()) * 16);
    let last = Sequence::default();
    let seal = sender.seal(&last, bench.now, real).filter(|_| twist & 8 == 8);
    let mut payload = Vec::new();
    advert.encode_sealed_into(src, dst, form, seal, &mut payload);
    bench.group.set_real_time(bench.now, REAL + bench.now);
    let packet = Packet {
        src,
        dst,
        ttl: 255,
        payload: &payload,
    };
    // An owner that did not run for too long steps down before anything else.
    bench.tick();
    let foreign = !s.vips.is_empty() && !advert.addresses.iter().any(|a| s.vips.contains(a));
    let before = bench.look();
    bench.give(member, Input::Packet(packet));
    assert!(
        !foreign || bench.look() == before,
        "another cluster had a say: {advert:?}"
    );
}

impl Bench {
    fn give(&mut self, member: usize, input: Input<'_>) {
        let out = self.group.handle(self.now, member, input);
        self.outputs(out);
    }

    fn give_all(&mut self, input: &Input<'_>) {
        let out = self.group.handle_all(self.now, input);
        self.outputs(out);
    }

    /// The whole group at once, and the router itself must agree with what it said before.
    fn take_over(&mut self, time: Option<Duration>) {
        self.tick();
        let refused = self.group.takeover_refusal().is_some();
        self.give_all(&Input::Takeover(time));
        let all = self.states.iter().all(|s| *s == State::Master);
        assert!(refused || all, "{:?}", self.group);
    }

    /// All that an election knows.
    fn look(&self) -> (Vec<Seen>, Option<Time>) {
        let routers = self.group.routers().iter().map(|r| r.snapshot(self.now));
        let seen = routers.map(|s| (s.state, s.since, s.priority, s.raised, s.owner));
        (seen.collect(), self.group.next_timer())
    }

    fn tick(&mut self) {
        self.give_all(&Input::Tick);
        // What is due has been done: whoever waits for the next timer does not spin.
        if let Some(at) = self.group.next_timer() {
            assert!(at > self.now, "a timer at {at:?} after a tick at {:?}", self.now);
        }
    }

    /// A reload that puts the members together or takes them apart; the first stays.
    fn regroup(&mut self) {
        let group = std::mem::replace(&mut self.group, Group::new(Vec::new()));
        let mut routers = group.into_routers();
        routers.truncate(1);
        self.group = Group::new(routers);
        self.holds.truncate(1);
        self.states.truncate(1);
        self.sent.truncate(1);
        let router = &self.group.routers()[0];
        let same = Effective {
            priority: router.snapshot(self.now).priority,
            fault: false,
            pending: false,
        };
        let settings = Box::new(router.settings().clone());
        self.give(0, Input::Configure(settings, same));
        self.tick();
        // Alone and healthy, a router is never stuck.
        let stuck = self.group.next_timer().is_none() && self.states[0] != State::Stopped;
        assert!(!stuck, "{:?} waits for nothing", self.group.routers()[0]);
    }

    fn outputs(&mut self, out: Vec<(usize, Output)>) {
        assert!(out.len() <= 64 * self.states.len(), "{} outputs", out.len());
        for (member, output) in out {
            match output {
                Output::Send { advert, form } => self.send(member, &advert, form),
                Output::Acquire => self.holds[member] = true,
                Output::Release => self.holds[member] = false,
                Output::Announce { count } => {
                    assert!(count > 0 || self.group.routers()[member].settings().garp.repeat == 0)
                }
                Output::Transition { from, to, .. } => {
                    assert_eq!(from, self.states[member]);
                    assert_ne!(from, to);
                    let pending = self.group.routers()[member].snapshot(self.now).pending;
                    assert!(to != State::Master || !pending, "owner before its checks have answered");
                    self.states[member] = to;
                }
                Output::Priority { from, to } => assert!(from != to && to > 0),
                Output::LowerHeard { priority, .. } => assert!(priority > 0),
                Output::Alarm(_) => {}
            }
        }
    }

    fn send(&mut self, member: usize, advert: &Advert, form: Form) {
        self.sent[member] += 1;
        let s = self.group.routers()[member].settings();
        assert_eq!((advert.version, advert.vrid), (s.version, s.vrid));
        assert_eq!(advert.addresses.len(), s.vips.len());
        let dst = match s.source {
            IpAddr::V4(_) => IpAddr::V4(GROUP4),
            IpAddr::V6(_) => IpAddr::V6(GROUP6),
        };
        let bytes = advert.encode(s.source, dst, form);
        assert_eq!(
            Advert::decode(&bytes, s.source, dst).map(|(a, _)| a).as_ref(),
            Ok(advert)
        );
    }

    fn check(&self) {
        let routers = self.group.routers();
        for (n, router) in routers.iter().enumerate() {
            let snapshot = router.snapshot(self.now);
            assert_eq!(snapshot.state, self.states[n]);
            assert_eq!(snapshot.state == State::Master, self.holds[n], "addresses and state");
            assert_eq!(snapshot.statistics.sent, self.sent[n]);
            assert!(snapshot.priority > 0);
            assert!(snapshot.raised.is_none() || snapshot.state != State::Fault && snapshot.state != State::Stopped);
            assert!(snapshot.owner.is_none_or(|(_, priority)| priority > 0));
            let st = snapshot.statistics;
            assert!(st.became_master - st.left_master == u64::from(snapshot.state == State::Master));
        }
        let masters = self.states.iter().filter(|s| **s == State::Master).count();
        assert!(masters == 0 || masters == routers.len(), "a group torn apart");
    }
}
