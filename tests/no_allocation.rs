//! A packet that does not count costs no memory: whoever sends thousands of them a second must not make the agent allocate as
//! often. An alarm for a sender and a reason is raised once and may allocate then, and so many alarms are kept at most.
//!
//! A test binary of its own, since it counts what the allocator is asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hapair::vrrp::hmac::{AntiReplay, AuthHmac, Key, Mode, Refusal, Sequence, TRAILER};

use hapair::vrrp::packet::GROUP4;
use hapair::vrrp::track::Effective;
use hapair::vrrp::{
    Advert, Alarm, Form, GarpTimes, Group, Ignored, Input, Output, Packet, PacketError, Peer, Router, Settings, State,
    Time, frame,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it is; the counter is a plain number of the calling thread, which needs
// no memory and no destructor of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn own() -> IpAddr {
    IpAddr::from([10, 0, 0, 2])
}

fn peer() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

fn settings(version: u8, unicast: bool) -> Settings {
    Settings {
        version,
        vrid: 51,
        priority: 100,
        advert_int: Duration::from_secs(1),
        source: own(),
        vips: (1..=40).map(|n| IpAddr::from([10, 0, 9, n])).collect(),
        auth: (version == 2).then_some(*b"secret12"),
        peers: unicast.then(|| {
            vec![Peer {
                ip: peer(),
                ttl: (2, 250),
            }]
        }),
        preempt: true,
        preempt_delay: Duration::ZERO,
        crash_hold: Duration::from_secs(60),
        down_adverts: 3,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        auth_hmac: None,
        form: Form::Pseudo,
        garp: GarpTimes::default(),
    }
}

/// A packet that is refused, and for what.
struct Case {
    settings: Settings,
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    payload: Vec<u8>,
    reason: &'static str,
}

/// Every name that [`name`] gives, but for "ip": a router is handed what an IP packet carries.
const REASONS: [&str; 23] = [
    "too short",
    "too long",
    "no version",
    "type",
    "interval 0",
    "checksum",
    "own",
    "ttl",
    "foreign",
    "version",
    "vrid",
    "auth type",
    "password",
    "interval",
    "destination",
    "stranger",
    "not signed",
    "signed",
    "trailer",
    "key id",
    "wrong key",
    "stale",
    "replay",
];

/// A new reason does not compile before it has a name, which belongs into [`REASONS`], which needs a case.
fn name(reason: Ignored) -> &'static str {
    match reason {
        Ignored::Packet(PacketError::TooShort { .. }) => "too short",
        Ignored::Packet(PacketError::TooLong { .. }) => "too long",
        Ignored::Packet(PacketError::Version(_)) => "no version",
        Ignored::Packet(PacketError::Type(_)) => "type",
        Ignored::Packet(PacketError::Interval) => "interval 0",
        Ignored::Packet(PacketError::Checksum) => "checksum",
        Ignored::Packet(PacketError::Ip) => "ip",
        Ignored::Own => "own",
        Ignored::Ttl(_) => "ttl",
        Ignored::Foreign => "foreign",
        Ignored::Version(_) => "version",
        Ignored::Vrid(_) => "vrid",
        Ignored::AuthType(_) => "auth type",
        Ignored::Password => "password",
        Ignored::Interval(_) => "interval",
        Ignored::Destination(_) => "destination",
        Ignored::Stranger => "stranger",
        Ignored::Hmac(Refusal::Missing) => "not signed",
        Ignored::Hmac(Refusal::Unwanted) => "signed",
        Ignored::Hmac(Refusal::Malformed) => "trailer",
        Ignored::Hmac(Refusal::UnknownKey(_)) => "key id",
        Ignored::Hmac(Refusal::WrongKey) => "wrong key",
        Ignored::Hmac(Refusal::Stale { .. }) => "stale",
        Ignored::Hmac(Refusal::Replay) => "replay",
    }
}

fn cases() -> Vec<Case> {
    let group = IpAddr::V4(GROUP4);
    let from = |version, reason, change: &dyn Fn(&mut Advert), break_it: &dyn Fn(&mut Vec<u8>)| {
        let settings = settings(version, false);
        let mut advert = settings.advert(200);
        change(&mut advert);
        let mut payload = advert.encode(peer(), group, Form::Pseudo);
        break_it(&mut payload);
        Case {
            settings,
            src: peer(),
            dst: group,
            ttl: 255,
            payload,
            reason,
        }
    };
    let whole = |_: &mut Vec<u8>| {};
    let same = |_: &mut Advert| {};
    let unicast = |src, ttl, reason| Case {
        src,
        dst: own(),
        ttl,
        payload: settings(2, true).advert(200).encode(src, own(), Form::Plain),
        settings: settings(2, true),
        reason,
    };
    let foreign = |a: &mut Advert| a.addresses = (1..=200).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    let mut own_packet = from(2, "own", &same, &whole);
    own_packet.src = own();
    let mut routed = from(2, "ttl", &same, &whole);
    routed.ttl = 254;
    let right = Signed {
        key: Some((1, 7)),
        scheme: 1,
        late: 0,
    };
    let mut unwanted = signed("signed", right);
    unwanted.settings.auth_hmac = None;
    let mut destination = from(2, "destination", &same, &whole);
    destination.dst = own();
    vec![
        from(2, "too short", &same, &|p| p.truncate(20)),
        from(2, "too short", &same, &|p| p.truncate(5)),
        from(2, "too long", &same, &|p| p.push(0)),
        from(2, "no version", &same, &|p| p[0] = 0x41),
        from(2, "type", &same, &|p| p[0] = 0x22),
        from(3, "interval 0", &|a| a.interval = 1, &|p| {
            // The sum grows by what the field loses.
            let sum = u16::from_be_bytes([p[6], p[7]]).wrapping_add(1);
            p[5] = 0;
            p[6..8].copy_from_slice(&sum.to_be_bytes());
        }),
        from(3, "checksum", &same, &|p| p[7] ^= 1),
        own_packet,
        routed,
        from(2, "foreign", &foreign, &whole),
        from(3, "foreign", &foreign, &whole),
        from(3, "foreign", &|a| a.addresses.clear(), &whole),
        from(2, "version", &|a| a.version = 3, &whole),
        from(2, "vrid", &|a| a.vrid = 52, &whole),
        from(2, "auth type", &|a| a.auth_type = 0, &whole),
        from(2, "password", &|a| a.auth_data[7] ^= 1, &whole),
        from(2, "interval", &|a| a.interval = 2, &whole),
        destination,
        signed("not signed", Signed { key: None, ..right }),
        signed("trailer", Signed { scheme: 2, ..right }),
        signed(
            "key id",
            Signed {
                key: Some((2, 7)),
                ..right
            },
        ),
        signed(
            "wrong key",
            Signed {
                key: Some((1, 8)),
                ..right
            },
        ),
        signed("stale", Signed { late: 60, ..right }),
        signed("replay", right),
        unwanted,
        unicast(IpAddr::from([10, 0, 0, 77]), 255, "stranger"),
        unicast(peer(), 1, "ttl"),
    ]
}

/// How a packet is signed: id and secret, scheme, seconds ago.
#[derive(Clone, Copy)]
struct Signed {
    key: Option<(u8, u8)>,
    scheme: u8,
    late: u64,
}

/// The real time in every case.
const REAL: Duration = Duration::from_secs(1_790_000_000);

fn hmac(id: u8, secret: u8) -> AuthHmac {
    AuthHmac {
        keys: Key::new(id, &[secret; 32]).into_iter().collect(),
        active: id,
        mode: Mode::Enforce,
        anti_replay: AntiReplay::Time { window: 5 },
    }
}

/// A lower advert, signed in some way, to a router that wants it signed with key 1.
fn signed(reason: &'static str, how: Signed) -> Case {
    let settings = Settings {
        auth_hmac: Some(Arc::new(hmac(1, 7))),
        ..settings(3, false)
    };
    let sender = how.key.map(|(id, secret)| hmac(id, secret));
    let last = Sequence::default();
    let seal = sender
        .as_ref()
        .and_then(|s| s.seal(&last, Duration::ZERO, REAL - Duration::from_secs(how.late)));
    let mut payload = Vec::new();
    let dst = IpAddr::V4(GROUP4);
    settings
        .advert(50)
        .encode_sealed_into(peer(), dst, Form::Pseudo, seal, &mut payload);
    if how.key.is_some() {
        let trailer = payload.len() - TRAILER;
        payload[trailer] = how.scheme;
    }
    Case {
        settings,
        src: peer(),
        dst,
        ttl: 255,
        payload,
        reason,
    }
}

/// A router that waits, or owns.
fn router(settings: Settings, state: State) -> (Group, Time) {
    let mut group = Group::new(vec![Router::new(settings)]);
    let mut now = Duration::from_secs(1000);
    group.handle(now, 0, Input::Start { crashed: false });
    if state == State::Master {
        now = group.next_timer().unwrap();
        group.handle(now, 0, Input::Tick);
    }
    assert_eq!(group.routers()[0].state(), state);
    (group, now)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new([0; 64])))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0; 10]))), 1);
}

#[test]
fn a_packet_that_is_refused_costs_no_memory() {
    let mut seen = Vec::new();
    for case in cases() {
        for state in [State::Backup, State::Master] {
            let (mut group, now) = router(case.settings.clone(), state);
            let packet = |src| {
                Input::Packet(Packet {
                    src,
                    dst: case.dst,
                    ttl: case.ttl,
                    payload: &case.payload,
                })
            };
            group.set_real_time(now, REAL);
            if case.reason == "replay" {
                // The first one counts.
                group.alone(now, &packet(case.src), &mut |_, _| {});
            }
            // Once it is told, and the reason is the one that is meant.
            let mut told = Vec::new();
            group.alone(now, &packet(case.src), &mut |_, output| told.push(output));
            let reason = match told.as_slice() {
                [Output::Alarm(Alarm::Ignored { reason, .. })] => name(*reason),
                [Output::Alarm(Alarm::Foreign { .. })] => "foreign",
                other => panic!("{}: {other:?}", case.reason),
            };
            assert_eq!(reason, case.reason);
            let mut more = 0;
            let cost = allocations(|| {
                for _ in 0..1000 {
                    group.alone(now, &packet(case.src), &mut |_, _| more += 1);
                }
            });
            assert_eq!((cost, more), (0, 0), "{}, as {state:?}", case.reason);
            assert_eq!(group.routers()[0].state(), state);
            seen.push(reason);
        }
    }
    for reason in REASONS {
        assert!(seen.contains(&reason), "no packet is refused for: {reason}");
    }
}

#[test]
fn senders_without_end_cost_no_memory_either() {
    // As if each sender were another one: whoever is known by its address is refused for that.
    for case in cases().into_iter().filter(|c| c.reason != "own") {
        let (mut group, now) = router(case.settings.clone(), State::Master);
        let mut give = |n: u16, told: &mut u64| {
            let [a, b] = n.to_be_bytes();
            let src = IpAddr::from([172, 16, a, b]);
            let input = Input::Packet(Packet {
                src,
                dst: case.dst,
                ttl: case.ttl,
                payload: &case.payload,
            });
            group.alone(now, &input, &mut |_, _| *told += 1);
        };
        let mut told = 0;
        for n in 0..1000 {
            give(n, &mut told);
        }
        assert!(told <= 64, "{}: {told} alarms", case.reason);
        let before = told;
        let cost = allocations(|| (1000..3000).for_each(|n| give(n, &mut told)));
        assert_eq!((cost, told), (0, before), "{}", case.reason);
    }
}

#[test]
fn what_counts_costs_no_memory_while_nothing_changes() {
    for version in [2, 3] {
        let s = settings(version, false);
        let group4 = IpAddr::V4(GROUP4);
        let payload = s.advert(200).encode(peer(), group4, Form::Pseudo);
        let (mut group, mut now) = router(s, State::Backup);
        let mut give = |now| {
            let packet = Packet {
                src: peer(),
                dst: group4,
                ttl: 255,
                payload: &payload,
            };
            group.alone(now, &Input::Packet(packet), &mut |_, _| {});
        };
        give(now);
        let cost = allocations(|| {
            for _ in 0..1000 {
                now += Duration::from_millis(500);
                give(now);
            }
        });
        assert_eq!(cost, 0, "version {version}");
    }
}

#[test]
fn bytes_that_are_no_ip_packet_cost_no_memory() {
    let good = frame::build_ipv4(
        [10, 0, 0, 1].into(),
        GROUP4,
        255,
        1,
        &settings(2, false)
            .advert(100)
            .encode(peer(), GROUP4.into(), Form::Plain),
    );
    let cost = allocations(|| {
        for cut in 0..good.len() {
            assert!(frame::parse_ipv4(&good[..cut]).is_err());
        }
        assert!(frame::parse_ipv4(&good).is_ok());
    });
    assert_eq!(cost, 0);
}

#[test]
fn tracking_says_nothing_new_for_free() {
    let (mut group, now) = router(settings(2, false), State::Master);
    let effective = Effective {
        priority: 100,
        fault: false,
        pending: false,
    };
    let cost = allocations(|| {
        for _ in 0..1000 {
            group.alone(now, &Input::Tracked(effective), &mut |_, _| {});
        }
    });
    assert_eq!(cost, 0);
}
