//! A planned move, on the standby's command.

use std::net::Ipv4Addr;

use crate::capture::{Capture, Frame};
use crate::net::{Engine, PASS, Pair, VIP, able, config, until};

/// The seed's priorities: a is preferred by 1.
fn pair(owner: Engine) -> Pair {
    let mut pair = Pair::new();
    pair.a.write(&config(101, VIP, PASS));
    pair.b.write(&config(100, VIP, PASS));
    pair.a.start(owner);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    until("b hears the owner", || pair.b.counter("received") > 1);
    pair
}

fn the_standby_takes_over_and_yields_after_resume(owner: Engine) {
    let pair = pair(owner);
    let mut capture = Capture::new(&pair.a.net);
    assert_eq!(pair.b.agent(&["takeover"]), (String::new(), true));
    pair.settle(false, VIP);
    // The word comes before the neighbours are told.
    let from = Ipv4Addr::new(10, 77, 0, 2);
    let vip: Ipv4Addr = VIP.parse().unwrap();
    let ours: Vec<Frame> = capture
        .read()
        .iter()
        .filter(|f| match f {
            Frame::Advert { src, .. } => *src == from,
            Frame::Garp { vip: told, .. } => *told == vip,
        })
        .copied()
        .collect();
    let raised = Frame::Advert {
        src: from,
        vrid: 51,
        priority: 102,
    };
    assert_eq!(ours.first(), Some(&raised));
    assert!(matches!(ours.get(1), Some(Frame::Garp { .. })), "{ours:?}");
    // It stays, although the other one is preferred: for longer than that one would wait.
    let sent = pair.b.counter("sent");
    until("adverts for longer than a takeover takes", || {
        pair.b.counter("sent") > sent + 5
    });
    pair.settle(false, VIP);
    let instance = pair.b.instance();
    assert_eq!(
        (&instance["cause"], &instance["raised_priority"]),
        (&"Takeover".into(), &102.into())
    );
    // Told so, it announces its own priority, and the preferred one takes over.
    assert!(pair.b.agent(&["resume"]).1);
    pair.settle(true, VIP);
    assert_eq!(pair.b.counter("became_master"), 1);
}

#[test]
fn from_an_agent() {
    if able(&[]) {
        the_standby_takes_over_and_yields_after_resume(Engine::Agent);
    }
}

#[test]
fn from_keepalived() {
    if able(&["keepalived"]) {
        the_standby_takes_over_and_yields_after_resume(Engine::Keepalived);
    }
}

#[test]
fn the_raise_ends_with_its_time() {
    if !able(&[]) {
        return;
    }
    let pair = pair(Engine::Agent);
    assert!(pair.b.agent(&["takeover", "2"]).1);
    pair.settle(false, VIP);
    pair.settle(true, VIP);
    assert_eq!(pair.a.instance()["cause"], "Preempt");
}

#[test]
fn who_cannot_serve_refuses() {
    if !able(&[]) {
        return;
    }
    let mut pair = pair(Engine::Agent);
    pair.b.end(libc::SIGTERM);
    let script = "global_defs {\n script_user root\n}\nvrrp_script chk {\n script /bin/false\n interval 1\n}\n";
    let more = format!("{PASS}\n track_script {{\n chk\n }}");
    pair.b.write(&(script.to_owned() + &config(100, VIP, &more)));
    pair.b.start(Engine::Agent);
    until("b is in FAULT", || pair.b.instance()["state"] == "FAULT");
    assert!(!pair.b.agent(&["takeover"]).1);
    pair.settle(true, VIP);
    // An owner is asked for what it does already.
    assert!(pair.a.agent(&["takeover"]).1);
    assert_eq!(pair.a.counter("became_master"), 1);
}
