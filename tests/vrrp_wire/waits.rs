//! Who comes back waits, and who has not been checked does not own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::capture::{Capture, Frame};
use crate::net::{Engine, Host, PASS, Pair, VIP, able, config, until};

/// A check that takes a second to fail.
fn slow_to_fail(host: &Host, priority: u8, weight: i8) -> String {
    let script = host.dir.join("slow");
    fs::write(&script, "#!/bin/sh\nsleep 1\nexit 1\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script {}\n interval 2\n timeout 60\n fall 3\n \
         weight {weight}\n}}\n",
        script.display()
    ) + &config(priority, VIP, &format!("{PASS}\n track_script {{\n chk\n }}"))
}

#[test]
fn a_host_that_boots_with_a_broken_service_never_owns_the_vip() {
    if !able(&[]) {
        return;
    }
    // Alone, and as the owner of the addresses by its priority, which would wait for nothing.
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&slow_to_fail(&pair.a, 255, 0));
    pair.a.start(Engine::Agent);
    until("the check has answered", || pair.a.instance()["state"] == "FAULT");
    assert!(!pair.a.owns(VIP));
    assert_eq!((capture.count(|_| true), pair.a.counter("became_master")), (0, 0));
    drop(pair);
    // Beside a living owner of lower priority.
    let mut pair = Pair::new();
    pair.b.write(&config(100, VIP, PASS));
    pair.b.start(Engine::Agent);
    until("b owns the VIP", || pair.b.owns(VIP));
    pair.a.write(&slow_to_fail(&pair.a, 103, -5));
    pair.a.start(Engine::Agent);
    until("the check has answered", || pair.a.instance()["priority"] == 98);
    assert_eq!(pair.a.counter("became_master"), 0);
    pair.settle(false, VIP);
}

#[test]
fn a_check_that_a_reload_adds_does_not_take_the_owner_down() {
    if !able(&[]) {
        return;
    }
    let pair = Pair::owned_by_a();
    let mut capture = Capture::new(&pair.b.net);
    let text = slow_to_fail(&pair.a, 201, 20).replace("exit 1", "exit 0");
    let script = pair.a.dir.join("slow");
    fs::write(&script, "#!/bin/sh\nsleep 1\nexit 0\n").unwrap();
    pair.a.write(&text);
    assert!(pair.a.agent(&["reload"]).1);
    until("the check has answered", || {
        pair.a.status()["scripts"][0]["answered"] == true
    });
    assert_eq!(
        (pair.a.instance()["priority"].as_u64(), pair.a.counter("left_master")),
        (Some(221), 0)
    );
    let lower = |f: &Frame| matches!(f, Frame::Advert { priority, .. } if *priority < 201);
    assert_eq!(capture.count(lower), 0);
}

#[test]
fn a_link_that_flaps_moves_the_vip_once() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    // One step of priority is 4 ms of skew: started together, the lower one may be first.
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    until("b waits", || pair.b.counter("received") > 1);
    pair.settle(true, VIP);
    // Up for less than three adverts; until b has the VIP, and then on.
    let mut flaps = 0;
    until("the link has flapped", || {
        pair.wire.ip("link set dev port1 down");
        until("the fault", || pair.a.instance()["state"] == "FAULT");
        pair.wire.ip("link set dev port1 up");
        std::thread::sleep(Duration::from_millis(800));
        flaps += u32::from(pair.b.owns(VIP));
        flaps >= 6
    });
    assert_eq!(pair.a.counter("left_master"), 1, "{}", pair.a.log());
    assert_eq!((pair.b.counter("became_master"), pair.b.counter("left_master")), (1, 0));
    pair.settle(true, VIP);
}
