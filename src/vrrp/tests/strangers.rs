//! Packets of others have no say: another cluster on the same id, forged senders, floods.

use super::*;

/// An advert of somebody with other addresses.
fn foreign(s: &Settings, priority: u8, addresses: &[IpAddr]) -> Advert {
    Advert {
        addresses: addresses.to_vec(),
        ..s.advert(priority)
    }
}

fn send(b: &mut Bench, src: IpAddr, dst: IpAddr, ttl: u8, advert: &Advert) {
    let payload = advert.encode(src, dst, Form::Pseudo);
    b.give(Input::Packet(Packet {
        src,
        dst,
        ttl,
        payload: &payload,
    }));
}

/// Every kind of router in every state, with the group that its adverts go to.
fn routers() -> Vec<(Settings, IpAddr)> {
    let v2 = settings(100);
    let v3 = Settings {
        version: 3,
        auth: None,
        ..settings(100)
    };
    let v6 = Settings {
        source: "fe80::2".parse().unwrap(),
        vips: vec!["fe80::9".parse().unwrap(), "fd00::9".parse().unwrap()],
        ..v3.clone()
    };
    let group6 = IpAddr::V6(packet::GROUP6);
    vec![(v2, GROUP), (v3, GROUP), (v6, group6)]
}

#[test]
fn another_cluster_on_our_id_has_no_say_in_any_state() {
    for (s, group) in routers() {
        let (stranger, theirs): (IpAddr, Vec<IpAddr>) = match s.source {
            IpAddr::V4(_) => ("10.0.0.77".parse().unwrap(), vec!["10.0.0.50".parse().unwrap()]),
            IpAddr::V6(_) => ("fe80::77".parse().unwrap(), vec!["fd00::50".parse().unwrap()]),
        };
        for priority in [0, 1, 100, 254, 255] {
            for lists in [theirs.clone(), Vec::new()] {
                // Once as standby that nobody else is heard by, once as owner; beside a twin that hears nothing.
                let (mut b, mut twin) = (Bench::new(s.clone()), Bench::new(s.clone()));
                for _ in 0..40 {
                    send(&mut b, stranger, group, 255, &foreign(&s, priority, &lists));
                    b.pass(0.25);
                    twin.pass(0.25);
                }
                assert_eq!(b.state(), State::Master);
                let (alarms, rest): (Vec<_>, Vec<_>) =
                    b.take().into_iter().partition(|(_, o)| matches!(o, Output::Alarm(_)));
                assert_eq!(rest, twin.take(), "priority {priority}");
                let alarm = Output::Alarm(Alarm::Foreign {
                    src: stranger,
                    theirs: lists,
                });
                assert!(
                    !alarms.is_empty() && alarms.iter().all(|(_, o)| *o == alarm),
                    "{alarms:?}"
                );
                let statistics = b.router.snapshot(b.now).statistics;
                assert_eq!((statistics.foreign, statistics.received), (40, 0));
            }
        }
    }
}

#[test]
fn a_router_that_shares_one_vip_is_heard_and_the_difference_is_reported() {
    for (s, group) in routers() {
        let src: IpAddr = match s.source {
            IpAddr::V4(_) => peer(),
            IpAddr::V6(_) => "fe80::1".parse().unwrap(),
        };
        let other = match s.source {
            IpAddr::V4(_) => "10.0.0.50".parse().unwrap(),
            IpAddr::V6(_) => "fd00::50".parse().unwrap(),
        };
        let shared = *s.vips.last().unwrap();
        let mut b = Bench::new(s.clone());
        b.take();
        for _ in 0..20 {
            send(&mut b, src, group, 255, &foreign(&s, 150, &[other, shared]));
            b.pass(1.0);
        }
        assert_eq!(b.state(), State::Backup);
        assert!(
            matches!(&b.said[..], [(_, Output::Alarm(Alarm::VipMismatch { .. }))]),
            "{:?}",
            b.said
        );
    }
}

#[test]
fn routers_without_addresses_are_one_cluster() {
    let s = Settings {
        vips: Vec::new(),
        ..settings(100)
    };
    let mut b = Bench::new(s.clone());
    for _ in 0..10 {
        send(&mut b, peer(), GROUP, 255, &s.advert(150));
        b.pass(1.0);
    }
    assert_eq!(b.state(), State::Backup);
    // But not with those that have some.
    for _ in 0..10 {
        let other = foreign(&s, 150, &["10.0.0.50".parse().unwrap()]);
        send(&mut b, peer(), GROUP, 255, &other);
        b.pass(1.0);
    }
    assert_eq!(b.state(), State::Master);
}

#[test]
fn unicast_hears_its_peers_only() {
    let s = Settings {
        peers: Some(vec![Peer {
            ip: peer(),
            ttl: (0, 255),
        }]),
        ..settings(100)
    };
    let mut b = Bench::new(s.clone());
    b.take();
    for ttl in (0..=255).step_by(15) {
        send(&mut b, "198.51.100.7".parse().unwrap(), s.source, ttl, &s.advert(255));
        b.pass(0.5);
    }
    assert_eq!(b.state(), State::Master);
    let alarm = Output::Alarm(Alarm::Ignored {
        src: "198.51.100.7".parse().unwrap(),
        reason: Ignored::Stranger,
    });
    assert!(b.said.iter().any(|(_, o)| *o == alarm));
    send(&mut b, peer(), s.source, 64, &s.advert(150));
    assert_eq!(b.state(), State::Backup);
}

#[test]
fn an_interval_of_0_is_malformed() {
    let s = Settings {
        version: 3,
        auth: None,
        ..settings(100)
    };
    let mut bytes = s.advert(200).encode(peer(), GROUP, Form::Plain);
    bytes[4..8].fill(0);
    let sum = packet::fold(packet::words(&bytes));
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(Advert::decode(&bytes, peer(), GROUP), Err(PacketError::Interval));
    let mut b = Bench::new(s);
    for _ in 0..10 {
        b.give(Input::Packet(Packet {
            src: peer(),
            dst: GROUP,
            ttl: 255,
            payload: &bytes,
        }));
        b.pass(1.0);
    }
    assert_eq!(
        b.mastery().map(|m| m.1),
        Some(Cause::Silence),
        "as if it had not been heard"
    );
}

#[test]
fn a_flood_of_lower_adverts_is_answered_ten_times_a_second_at_most() {
    let mut b = Bench::new(settings(200));
    b.pass(10.0);
    b.take();
    for n in 0..5000 {
        b.hear(if n % 3 == 0 { 0 } else { 100 });
        b.pass(0.001);
    }
    let count = |wanted| b.said.iter().filter(|(_, o)| kind(o) == Some(wanted)).count();
    assert!((40..=51).contains(&count(b'S')), "{}", count(b'S'));
    assert!(count(b'G') <= 7, "{}", count(b'G'));
}

#[test]
fn after_a_reload_the_new_list_says_who_is_a_stranger() {
    let mut b = Bench::new(settings(100));
    let old = settings(100);
    let new = Settings {
        vips: vec!["10.0.0.60".parse().unwrap()],
        ..settings(100)
    };
    let effective = Effective {
        priority: 100,
        fault: false,
        pending: false,
    };
    b.give(Input::Configure(Box::new(new.clone()), effective));
    for _ in 0..10 {
        send(&mut b, peer(), GROUP, 255, &new.advert(150));
        b.pass(1.0);
    }
    assert_eq!(b.state(), State::Backup);
    for _ in 0..10 {
        send(&mut b, peer(), GROUP, 255, &old.advert(150));
        b.pass(1.0);
    }
    assert_eq!(b.state(), State::Master);
}

#[test]
fn what_came_over_a_router_or_with_another_password_does_not_count() {
    let s = settings(100);
    let wrong = Advert {
        auth_data: *b"secret13",
        ..s.advert(150)
    };
    for (ttl, advert, expected) in [(254, s.advert(150), Ignored::Ttl(254)), (255, wrong, Ignored::Password)] {
        let mut b = Bench::new(s.clone());
        b.take();
        send(&mut b, peer(), GROUP, ttl, &advert);
        assert!(
            matches!(&b.said[..], [(_, Output::Alarm(Alarm::Ignored { reason, .. }))] if *reason == expected),
            "{:?}",
            b.said
        );
    }
}
