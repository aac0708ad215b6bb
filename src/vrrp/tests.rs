use std::net::IpAddr;
use std::time::Duration;

use super::track::Effective;
use super::*;

mod codec;
mod groups;
mod hmac;
mod holds;
mod strangers;
mod takeover;
mod waits;

const GROUP: IpAddr = IpAddr::V4(packet::GROUP4);

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn peer() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

fn settings(priority: u8) -> Settings {
    Settings {
        version: 2,
        vrid: 51,
        priority,
        advert_int: secs(1.0),
        source: IpAddr::from([10, 0, 0, 2]),
        vips: vec![IpAddr::from([10, 0, 0, 9])],
        auth: Some(*b"secret12"),
        auth_hmac: None,
        peers: None,
        preempt: true,
        preempt_delay: Duration::ZERO,
        crash_hold: secs(60.0),
        down_adverts: 3,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        form: Form::Pseudo,
        garp: GarpTimes::default(),
    }
}

/// A router, its clock, and everything it said with the time.
struct Bench {
    router: Router,
    now: Time,
    said: Vec<(Time, Output)>,
}

impl Bench {
    fn new(s: Settings) -> Bench {
        let mut bench = Bench {
            router: Router::new(s),
            now: secs(1000.0),
            said: Vec::new(),
        };
        bench.give(Input::Start { crashed: false });
        bench
    }

    fn give(&mut self, input: Input<'_>) {
        let out = self.router.handle(self.now, input);
        self.said.extend(out.into_iter().map(|o| (self.now, o)));
    }

    /// Lets time pass.
    fn pass(&mut self, seconds: f64) {
        let end = self.now + secs(seconds);
        while let Some(at) = self.router.next_timer().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Input::Tick);
        }
        self.now = end;
    }

    fn hear(&mut self, priority: u8) {
        let advert = self.router.settings().advert(priority);
        let payload = advert.encode(peer(), GROUP, Form::Pseudo);
        self.give(Input::Packet(Packet {
            src: peer(),
            dst: GROUP,
            ttl: 255,
            payload: &payload,
        }));
    }

    /// Hears a priority every second for so many seconds.
    fn hear_for(&mut self, priority: u8, seconds: u32) {
        for _ in 0..seconds {
            self.hear(priority);
            self.pass(1.0);
        }
    }

    fn state(&self) -> State {
        self.router.state()
    }

    fn take(&mut self) -> Vec<(Time, Output)> {
        std::mem::take(&mut self.said)
    }

    /// When it became owner, and why.
    fn mastery(&self) -> Option<(Time, Cause)> {
        self.said.iter().find_map(|(at, o)| match o {
            Output::Transition {
                to: State::Master,
                cause,
                ..
            } => Some((*at, *cause)),
            _ => None,
        })
    }
}

#[test]
fn the_waits_are_those_of_the_rfc() {
    // facts: 3609.4 ms at version 2, 1 s, priority 100; 360.9 ms and 36.1 ms at version 3.
    let mut s = settings(100);
    assert_eq!(s.master_down(100, s.advert_int).as_micros(), 3_609_375);
    s.version = 3;
    assert_eq!(s.master_down(100, secs(0.1)).as_micros(), 360_937);
    assert_eq!(s.master_down(254, secs(0.01)).as_micros(), 30_078);
    let mut b = Bench::new(settings(100));
    b.pass(10.0);
    assert_eq!(b.mastery(), Some((secs(1003.609375), Cause::Silence)));
    // The order on becoming owner: the word first, then the addresses, then the neighbours.
    let kinds: Vec<u8> = b.said[2..].iter().filter_map(|(_, o)| kind(o)).collect();
    assert_eq!(kinds[..4], [b'T', b'S', b'A', b'G']);
    // Absolute pacing, a second burst after 5 s.
    let sent: Vec<Time> = b
        .said
        .iter()
        .filter(|(_, o)| kind(o) == Some(b'S'))
        .map(|(t, _)| *t)
        .collect();
    assert!(sent.windows(2).all(|w| w[1] - w[0] == secs(1.0)), "{sent:?}");
    assert_eq!(
        b.said
            .iter()
            .filter(|(_, o)| *o == Output::Announce { count: 5 })
            .count(),
        2
    );
}

fn kind(o: &Output) -> Option<u8> {
    Some(match o {
        Output::Send { .. } => b'S',
        Output::Acquire => b'A',
        Output::Release => b'R',
        Output::Announce { .. } => b'G',
        Output::Transition { .. } => b'T',
        _ => return None,
    })
}

#[test]
fn an_owner_that_falls_is_replaced_after_the_skew_time() {
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 5);
    b.hear(96);
    b.pass(1.0);
    assert_eq!(b.mastery(), Some((secs(1005.0 + 156.0 / 256.0), Cause::Preempt)));
}

#[test]
fn an_owner_that_recovers_before_that_stays() {
    let mut b = Bench::new(settings(100));
    b.hear_for(101, 3);
    b.hear(96);
    b.pass(0.3);
    b.hear_for(101, 5);
    assert_eq!(b.mastery(), None);
    // The same if it is us who fall.
    b.hear(96);
    b.pass(0.3);
    b.give(Input::Tracked(Effective {
        priority: 95,
        fault: false,
        pending: false,
    }));
    b.pass(0.7);
    b.hear_for(96, 5);
    assert_eq!(b.mastery(), None);
}

#[test]
fn nopreempt_preempt_delay_hold_and_crash_hold_wait() {
    let mut s = settings(100);
    s.preempt = false;
    let mut b = Bench::new(s);
    b.hear_for(50, 200);
    assert_eq!(b.mastery(), None);
    b.pass(5.0);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Silence));

    let mut s = settings(100);
    s.preempt_delay = secs(10.0);
    let mut b = Bench::new(s);
    b.hear_for(50, 20);
    // The last advert that was still followed came at 1009.
    assert_eq!(b.mastery(), Some((secs(1012.0 + 156.0 / 256.0), Cause::Preempt)));

    let mut b = Bench {
        router: Router::new(settings(100)),
        now: secs(1000.0),
        said: Vec::new(),
    };
    b.give(Input::Start { crashed: true });
    b.hear_for(50, 70);
    assert_eq!(b.mastery(), Some((secs(1062.0 + 156.0 / 256.0), Cause::Preempt)));

    let mut b = Bench::new(settings(100));
    b.give(Input::Hold(None));
    b.hear_for(50, 300);
    assert_eq!(b.mastery(), None);
    b.give(Input::Resume);
    b.hear_for(50, 4);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Preempt));
}

#[test]
fn a_handover_gives_the_addresses_away_and_keeps_them_away() {
    let mut b = Bench::new(settings(200));
    b.pass(4.0);
    assert_eq!(b.state(), State::Master);
    b.take();
    b.give(Input::Handover(Some(secs(30.0))));
    let kinds: Vec<u8> = b.said.iter().filter_map(|(_, o)| kind(o)).collect();
    assert_eq!(kinds, [b'R', b'S', b'T']);
    assert!(matches!(&b.said[1].1, Output::Send { advert, .. } if advert.priority == 0));
    b.hear_for(100, 25);
    assert!(b.router.snapshot(b.now).held);
    assert_eq!(b.mastery(), None);
    b.hear_for(100, 9);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Preempt));
    // Nobody takes them: better us than nobody.
    let mut b = Bench::new(settings(200));
    b.pass(4.0);
    b.give(Input::Handover(None));
    b.take();
    b.pass(4.0);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Silence));
}

#[test]
fn an_owner_that_did_not_run_for_long_steps_down_first() {
    let mut b = Bench::new(settings(200));
    b.pass(4.0);
    b.take();
    b.now += secs(5.0);
    b.hear(100);
    assert_eq!(kind(&b.said[0].1), Some(b'R'));
    assert!(matches!(
        b.said[1].1,
        Output::Transition {
            to: State::Backup,
            cause: Cause::Stalled,
            ..
        }
    ));
    assert!(b.said.iter().all(|(_, o)| kind(o) != Some(b'S')), "{:?}", b.said);
    b.hear_for(100, 4);
    assert_eq!(b.mastery().map(|m| m.1), Some(Cause::Preempt));
}

#[test]
fn a_lower_advert_is_answered_and_the_neighbours_are_told_again() {
    let mut b = Bench::new(settings(200));
    b.pass(20.5);
    b.take();
    b.hear(100);
    let kinds: Vec<u8> = b.said.iter().filter_map(|(_, o)| kind(o)).collect();
    assert_eq!(kinds, [b'S', b'G']);
    for _ in 0..50 {
        b.hear(100);
    }
    let bursts = b.said.iter().filter(|(_, o)| kind(o) == Some(b'G')).count();
    assert_eq!(bursts, 1, "a flood is not answered by a flood");
    b.pass(6.0);
    assert_eq!(b.said.iter().filter(|(_, o)| kind(o) == Some(b'G')).count(), 2);
}

#[test]
fn a_fall_of_the_owner_s_priority_is_said_at_once() {
    let mut b = Bench::new(settings(101));
    b.pass(4.1);
    b.take();
    b.give(Input::Tracked(Effective {
        priority: 96,
        fault: false,
        pending: false,
    }));
    assert!(
        matches!(&b.said[1].1, Output::Send { advert, .. } if advert.priority == 96),
        "{:?}",
        b.said
    );
    b.give(Input::Tracked(Effective {
        priority: 96,
        fault: true,
        pending: false,
    }));
    assert_eq!(b.state(), State::Fault);
    assert!(matches!(
        &b.said.last(),
        Some((
            _,
            Output::Transition {
                to: State::Fault,
                cause: Cause::Fault,
                ..
            }
        ))
    ));
    assert_eq!(b.router.next_timer(), None);
    b.give(Input::Tracked(Effective {
        priority: 101,
        fault: false,
        pending: false,
    }));
    assert_eq!(b.state(), State::Backup);
}

#[test]
fn alarms_are_raised_once_and_cleared() {
    let mut b = Bench::new(settings(100));
    let mut other = settings(200);
    other.vips.push(IpAddr::from([10, 0, 0, 10]));
    let payload = other.advert(200).encode(peer(), GROUP, Form::Pseudo);
    let mut bad = payload.clone();
    bad[13] ^= 1;
    for _ in 0..5 {
        b.give(Input::Packet(Packet {
            src: peer(),
            dst: GROUP,
            ttl: 255,
            payload: &payload,
        }));
        b.give(Input::Packet(Packet {
            src: peer(),
            dst: GROUP,
            ttl: 255,
            payload: &bad,
        }));
    }
    b.hear(200);
    let alarms: Vec<&Alarm> = b
        .said
        .iter()
        .filter_map(|(_, o)| if let Output::Alarm(a) = o { Some(a) } else { None })
        .collect();
    assert!(
        matches!(
            alarms[..],
            [
                Alarm::VipMismatch { .. },
                Alarm::Ignored {
                    reason: Ignored::Packet(_),
                    ..
                },
                Alarm::VipMatch { .. }
            ]
        ),
        "{alarms:?}"
    );
    assert_eq!(b.router.snapshot(b.now).statistics.checksum_errors, 5);
}

#[test]
fn a_reload_keeps_the_addresses() {
    let mut b = Bench::new(settings(100));
    b.pass(4.2);
    b.take();
    let same = Effective {
        priority: 100,
        fault: false,
        pending: false,
    };
    b.give(Input::Configure(Box::new(settings(100)), same));
    assert_eq!(b.take(), [(b.now, Output::Acquire)]);
    let mut more = settings(100);
    more.vips.push(IpAddr::from([10, 0, 0, 10]));
    b.give(Input::Configure(Box::new(more), same));
    let kinds: Vec<u8> = b.said.iter().filter_map(|(_, o)| kind(o)).collect();
    assert_eq!(kinds, [b'S', b'A', b'G']);
    assert_eq!(b.state(), State::Master);
}

#[test]
fn an_owner_that_fails_with_a_lower_priority_says_only_that_it_gives_up() {
    let mut b = Bench::new(settings(250));
    b.pass(4.0);
    assert_eq!(b.state(), State::Master);
    b.take();
    b.give(Input::Tracked(Effective {
        priority: 90,
        fault: true,
        pending: false,
    }));
    let sent: Vec<u8> = b
        .said
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Send { advert, .. } => Some(advert.priority),
            _ => None,
        })
        .collect();
    // An advert with 90 that overtakes the priority 0 would make the standby wait for three more.
    assert_eq!((b.state(), sent), (State::Fault, vec![0]));
}

#[test]
fn the_owner_of_the_addresses_does_not_wait() {
    let mut b = Bench::new(settings(255));
    assert_eq!(b.mastery(), Some((b.now, Cause::Start)));
    b.give(Input::Tracked(Effective {
        priority: 255,
        fault: true,
        pending: false,
    }));
    assert_eq!(b.state(), State::Fault);
}

proptest::proptest! {
    /// Whoever is woken late sends late, and the next advert is due when it would have been: nothing adds up.
    #[test]
    fn adverts_are_paced_by_the_clock(late in proptest::collection::vec(0..900u64, 1..40)) {
        let mut b = Bench::new(settings(250));
        b.pass(4.0);
        assert_eq!(b.state(), State::Master);
        let first = b.router.next_timer().unwrap();
        b.take();
        let mut due = Vec::new();
        for ms in &late {
            // Announcements fall due in between; only adverts count here.
            loop {
                b.now = b.now.max(b.router.next_timer().unwrap());
                let before = b.said.len();
                b.give(Input::Tick);
                if b.said[before..].iter().any(|(_, o)| matches!(o, Output::Send { .. })) {
                    break;
                }
            }
            due.push(b.now);
            b.now += Duration::from_millis(*ms);
        }
        let adverts = b.said.iter().filter(|(_, o)| matches!(o, Output::Send { .. })).count();
        proptest::prop_assert_eq!(adverts, late.len());
        for (n, at) in due.iter().enumerate() {
            let wanted = first + Duration::from_secs(n as u64);
            proptest::prop_assert!(*at >= wanted && *at < wanted + secs(1.0), "advert {} at {:?}, due {:?}", n, at, wanted);
        }
    }
}
