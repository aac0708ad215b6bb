//! Who is not our peer moves nothing: another cluster, forged packets, floods.

use std::net::{IpAddr, Ipv4Addr};

use hapair::vrrp::Form;
use hapair::vrrp::packet::GROUP4;

use crate::capture::{Capture, Frame};
use crate::forger::{Forger, advert};
use crate::net::{Engine, FAST, Host, PASS, Pair, VIP, able, config, until};

fn transitions(host: &Host) -> u64 {
    host.counter("became_master") + host.counter("left_master")
}

/// The pair has its owner, and nothing changes although the stranger is heard.
fn undisturbed(pair: &Pair, vip: &str, adverts: u64) {
    pair.settle(true, vip);
    let before = [&pair.a, &pair.b].map(transitions);
    until("both hear the stranger", || {
        [&pair.a, &pair.b].iter().all(|host| host.counter("foreign") >= adverts)
    });
    assert_eq!([&pair.a, &pair.b].map(transitions), before, "{}", pair.b.log());
    pair.settle(true, vip);
}

/// Another cluster with our virtual router id, a higher priority and another address.
fn beside_another_cluster(theirs: Engine, more: &str, vip: &str, other: &str) {
    let mut pair = Pair::new();
    let mut stranger = pair.stranger();
    stranger.write(&config(254, other, more));
    stranger.start(theirs);
    until("the stranger owns its VIP", || stranger.owns(other));
    pair.a.write(&config(201, vip, more));
    pair.b.write(&config(200, vip, more));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    // A keepalived that hears adverts of another list falls silent; an agent goes on.
    undisturbed(&pair, vip, if theirs == Engine::Agent { 15 } else { 2 });
    let log = pair.a.log();
    assert!(
        log.contains("another cluster uses virtual_router_id 51") && log.contains(other),
        "{log}"
    );
    // Its end, priority 0, says nothing either; and a dead owner of ours is replaced beside it.
    stranger.end(libc::SIGTERM);
    pair.settle(true, vip);
    stranger.start(theirs);
    pair.a.end(libc::SIGTERM);
    pair.settle(false, vip);
}

#[test]
fn another_cluster_with_our_id_and_password_moves_nothing() {
    if able(&["keepalived"]) {
        let more = PASS.replace("advert_int 1", "advert_int 1\n garp_master_delay 0");
        beside_another_cluster(Engine::Keepalived, &more, VIP, "10.77.0.50");
        beside_another_cluster(Engine::Agent, &more, VIP, "10.77.0.50");
    }
}

#[test]
fn another_cluster_of_version_3_moves_nothing() {
    if able(&["keepalived"]) {
        beside_another_cluster(Engine::Keepalived, FAST, VIP, "10.77.0.50");
        beside_another_cluster(Engine::Agent, FAST, "fd00:77::99", "fd00:77::50");
    }
}

#[test]
fn forged_unicast_packets_move_nothing() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let stranger = pair.stranger();
    stranger.net.ip("route add default dev eth0");
    let forger = Forger::new(&stranger.net);
    let unicast =
        |own: u8, peer: u8| format!("{PASS}\n unicast_src_ip 10.77.0.{own}\n unicast_peer {{\n 10.77.0.{peer}\n }}");
    pair.a.write(&config(201, VIP, &unicast(1, 2)));
    pair.b.write(&config(200, VIP, &unicast(2, 1)));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    let before = [&pair.a, &pair.b].map(transitions);
    for (host, own) in [(&pair.a, 1), (&pair.b, 2)] {
        let refused = host.counter("ignored");
        let mut sent = 0;
        until("the forged packets are refused", || {
            for (ttl, src) in [(255, [198, 51, 100, 7]), (64, [198, 51, 100, 7]), (1, [10, 77, 0, 3])] {
                let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::new(10, 77, 0, own));
                let payload = advert(2, 255).encode(src.into(), dst.into(), Form::Plain);
                forger.send(src, dst, ttl, &payload);
                sent += 1;
            }
            sent > 60 && host.counter("ignored") >= refused + 60
        });
    }
    assert_eq!([&pair.a, &pair.b].map(transitions), before);
    pair.settle(true, VIP);
}

#[test]
fn version_3_with_an_interval_of_0_moves_nothing() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let stranger = pair.stranger();
    stranger.net.ip("route add 224.0.0.0/4 dev eth0");
    let forger = Forger::new(&stranger.net);
    pair.a.write(&config(201, VIP, FAST));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    let before = transitions(&pair.a);
    let src = Ipv4Addr::new(10, 77, 0, 3);
    let mut payload = advert(3, 254).encode(src.into(), IpAddr::V4(GROUP4), Form::Plain);
    payload[4] = 0;
    payload[5] = 0;
    // The field was 20; a checksum is a sum.
    let sum = u16::from_be_bytes([payload[6], payload[7]]);
    payload[6..8].copy_from_slice(&sum.checked_add(20).unwrap().to_be_bytes());
    let refused = pair.a.counter("ignored");
    until("they are refused", || {
        forger.send(src, GROUP4, 255, &payload);
        pair.a.counter("ignored") >= refused + 10
    });
    assert_eq!(transitions(&pair.a), before);
    assert!(pair.a.owns(VIP));
}

#[test]
fn a_flood_of_lower_adverts_is_not_answered_one_for_one() {
    if !able(&[]) {
        return;
    }
    let pair = Pair::owned_by_a();
    let stranger = pair.stranger();
    stranger.net.ip("route add 224.0.0.0/4 dev eth0");
    let forger = Forger::new(&stranger.net);
    let mut capture = Capture::new(&stranger.net);
    let src = Ipv4Addr::new(10, 77, 0, 2);
    let payload = advert(2, 1).encode(src.into(), IpAddr::V4(GROUP4), Form::Plain);
    let (heard, sent) = (pair.a.counter("received"), pair.a.counter("sent"));
    let begin = std::time::Instant::now();
    for _ in 0..5000 {
        forger.send(src, GROUP4, 255, &payload);
    }
    until("the flood is over", || pair.a.counter("received") >= heard + 4000);
    // Ten a second, the adverts of every second, and the one that was due.
    let allowed = 11 * (begin.elapsed().as_secs() + 1) + 1;
    let answers = pair.a.counter("sent") - sent;
    assert!((1..=allowed).contains(&answers), "{answers} of {allowed}");
    let told = capture.count(|f| matches!(f, Frame::Garp { .. })) as u64;
    assert!(told <= 5 * (begin.elapsed().as_secs() + 1) + 5, "{told}");
    assert!(pair.a.owns(VIP));
}
