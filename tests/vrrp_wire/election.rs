//! Who owns the addresses, and by which cause.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::capture::{Capture, Frame};
use crate::net::{Engine, FAST, PASS, Pair, Split, VIP, able, able_with_keepalived, checked, config, fail, until};

#[test]
fn equal_priorities_have_one_owner() {
    if !able(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::new();
    let more = " version 3\n advert_int 0.2";
    pair.a.write(&config(150, VIP, more));
    pair.b.write(&config(150, VIP, more));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    // Who owns it keeps it against an equal.
    until("adverts go out", || {
        pair.a.instance()["statistics"]["sent"].as_u64() > Some(15)
    });
    pair.settle(true, VIP);
    assert_eq!(pair.a.instance()["statistics"]["left_master"], 0);
}

#[test]
fn a_failed_check_moves_the_vip_and_back() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let flag = pair.a.dir.join("good");
    fs::write(&flag, "").unwrap();
    let script = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/usr/bin/test -e {}\"\n interval 0.1\n weight -5\n fall 2\n rise 2\n}}\n",
        flag.display()
    );
    pair.a
        .write(&(script + &config(201, VIP, &format!("{PASS}\n track_script {{\n chk\n }}"))));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    fs::remove_file(&flag).unwrap();
    pair.settle(false, VIP);
    assert_eq!(pair.a.instance()["priority"], 196);
    assert_eq!(
        pair.b.instance()["cause"],
        "Preempt",
        "not by silence: both know both priorities"
    );
    fs::write(&flag, "").unwrap();
    pair.settle(true, VIP);
}

#[test]
fn processes_and_files_change_the_priority() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let (program, file) = (pair.a.dir.join("hp-tracked"), pair.a.dir.join("number"));
    fs::copy("/bin/sleep", &program).unwrap();
    let mut tracked = Command::new(&program).arg("300").spawn().unwrap();
    let rules = format!(
        "vrrp_track_process p {{\n process hp-tracked\n weight -10\n delay 0.3\n}}\ntrack_file f {{\n file {}\n}}\n",
        file.display()
    );
    let more = format!("{PASS}\n track_process {{\n p\n }}\n track_file {{\n f\n }}");
    pair.a.write(&(rules + &config(100, VIP, &more)));
    pair.a.start(Engine::Agent);
    until("all good", || pair.a.instance()["priority"] == 100);
    drop(tracked.kill());
    drop(tracked.wait());
    until("the process is missed", || pair.a.instance()["priority"] == 90);
    fs::write(&file, "-25\n").unwrap();
    until("the file counts", || pair.a.instance()["priority"] == 65);
    let mut again = Command::new(&program).arg("300").spawn().unwrap();
    until("the process is back", || pair.a.instance()["priority"] == 75);
    drop(again.kill());
    drop(again.wait());
    fs::write(&file, "-300\n").unwrap();
    until("too low is a fault", || pair.a.instance()["state"] == "FAULT");
}

/// Both own the VIP behind a split; healed, the higher address keeps it.
fn tie_by_address(a: Engine, b: Engine) {
    let mut pair = Pair::new();
    pair.split(Split::Apart);
    pair.a.write(&config(150, VIP, FAST));
    pair.b.write(&config(150, VIP, FAST));
    pair.a.start(a);
    pair.b.start(b);
    until("two owners, as there must be", || pair.a.owns(VIP) && pair.b.owns(VIP));
    pair.split(Split::Healed);
    pair.settle(false, VIP);
    for host in [&pair.a, &pair.b] {
        if host.daemon.as_ref().unwrap().0 == Engine::Agent {
            let yielded = host.counter("left_master");
            assert_eq!(yielded, u64::from(std::ptr::eq(host, &pair.a)), "{}", host.log());
        }
    }
}

#[test]
fn between_equal_priorities_the_higher_address_wins() {
    if able(&["keepalived"]) {
        tie_by_address(Engine::Agent, Engine::Keepalived);
        tie_by_address(Engine::Keepalived, Engine::Agent);
        tie_by_address(Engine::Agent, Engine::Agent);
    }
}

/// Adverts of the degraded owner before the standby's first own one.
fn lowered_adverts_until_takeover(engine: Engine) -> usize {
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&checked(&pair.a, 201, -5, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(engine);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(engine);
    until("b waits", || match engine {
        Engine::Agent => pair.b.counter("received") > 1,
        Engine::Keepalived => pair.b.log().contains("Entering BACKUP STATE"),
    });
    capture.forget();
    until("two more adverts", || capture.read().len() >= 2);
    pair.settle(true, VIP);
    fail(&pair.a);
    pair.settle(false, VIP);
    if engine == Engine::Agent {
        assert_eq!(pair.b.instance()["cause"], "Preempt", "{}", pair.b.log());
    }
    let ours = Ipv4Addr::new(10, 77, 0, 2);
    let before = capture
        .read()
        .iter()
        .take_while(|f| !matches!(f, Frame::Advert { src, .. } if *src == ours));
    before
        .filter(|f| matches!(f, Frame::Advert { priority: 196, .. }))
        .count()
}

#[test]
fn a_failed_check_does_not_wait_for_silence_as_keepalived_does() {
    if !able(&[]) {
        return;
    }
    // The word of the owner itself is enough; keepalived's standby lets it go on for master_down: three adverts.
    let agent = lowered_adverts_until_takeover(Engine::Agent);
    assert!((1..3).contains(&agent), "{agent}");
    // Before 2.0.0 a standby that may preempt takes over at the first lower advert, whosever it is (vrrp_state_backup: "forcing a new
    // MASTER election"); since then it drops what is lower and waits on.
    if able_with_keepalived([2, 0, 0], [u32::MAX; 3]) {
        let keepalived = lowered_adverts_until_takeover(Engine::Keepalived);
        assert!(keepalived >= 3, "{keepalived}");
    }
}

#[test]
fn a_check_changes_the_priority_that_keepalived_hears() {
    if !able(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&checked(&pair.a, 201, -5, FAST));
    pair.b.write(&config(200, VIP, FAST));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    pair.settle(true, VIP);
    fail(&pair.a);
    pair.settle(false, VIP);
    let lowered = |f: &Frame| matches!(f, Frame::Advert { priority: 196, .. });
    assert!(capture.count(lowered) > 0);
    until("the agent follows", || pair.a.instance()["owner"]["priority"] == 200);
}

#[test]
fn two_degraded_hosts_do_not_pass_the_vip_to_and_fro() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&checked(&pair.a, 201, -5, FAST));
    pair.b.write(&checked(&pair.b, 200, -5, FAST));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    until("b waits", || pair.b.counter("received") > 1);
    pair.settle(true, VIP);
    fail(&pair.a);
    pair.settle(false, VIP);
    // Equally bad, a is the better one again: once more it moves, and that is the end of it.
    fail(&pair.b);
    pair.settle(true, VIP);
    let moves = || (pair.a.counter("became_master"), pair.b.counter("became_master"));
    assert_eq!(moves(), (2, 1));
    let sent = pair.a.counter("sent");
    until("twenty adverts more", || pair.a.counter("sent") > sent + 20);
    assert_eq!(moves(), (2, 1), "{}", pair.a.log());
    pair.settle(true, VIP);
}

#[test]
fn hold_keeps_a_better_host_from_taking_over_until_resume() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&checked(&pair.a, 201, -5, FAST));
    pair.b.write(&config(200, VIP, FAST));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    until("b waits", || pair.b.counter("received") > 1);
    assert!(pair.a.agent(&["hold"]).1);
    assert!(pair.a.owns(VIP), "it takes nothing away");
    fail(&pair.a);
    pair.settle(false, VIP);
    fs::write(pair.a.dir.join("good"), "").unwrap();
    until("a is good again", || pair.a.instance()["priority"] == 201);
    let heard = pair.a.counter("received");
    until("ten adverts more", || pair.a.counter("received") > heard + 10);
    pair.settle(false, VIP);
    assert_eq!(pair.a.instance()["held"], true);
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
}
