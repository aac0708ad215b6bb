//! How an owner ceases to be one: crash, fault, command.

use std::fs;
use std::net::Ipv4Addr;

use crate::capture::{Capture, Frame};
use crate::net::{Engine, PASS, Pair, VIP, able, config, until};

#[test]
fn a_crash_gives_the_vip_away_and_does_not_take_it_back_at_once() {
    if !able(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Keepalived);
    pair.settle(true, VIP);
    pair.a.end(libc::SIGKILL);
    assert!(!pair.a.owns(VIP), "the stop step took it off");
    pair.settle(false, VIP);
    pair.a.start(Engine::Agent);
    until("the agent hears the owner", || {
        pair.a.instance()["statistics"]["received"].as_u64() > Some(4)
    });
    pair.settle(false, VIP);
    assert_eq!(pair.a.instance()["held"], true);
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
}

#[test]
fn a_crash_gives_the_vip_away_whatever_became_of_the_configuration() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::owned_by_a();
    // Somebody is at it with an editor.
    pair.a.write("vrrp_instance VI_1 {\n");
    pair.a.end(libc::SIGKILL);
    assert!(!pair.a.owns(VIP), "the stop step took off what that run had on");
}

#[test]
fn a_script_that_a_reload_begins_to_track_is_run() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let script =
        "global_defs {\n script_user root\n}\nvrrp_script chk {\n script /bin/false\n interval 1\n weight -5\n}\n";
    pair.a.write(&format!("{script}{}", config(201, VIP, PASS)));
    pair.a.start(Engine::Agent);
    until("owner", || pair.a.owns(VIP));
    let tracked = format!("{PASS}\n track_script {{\n chk\n }}");
    pair.a.write(&format!("{script}{}", config(201, VIP, &tracked)));
    assert!(pair.a.agent(&["reload"]).1);
    until("it counts", || pair.a.instance()["priority"] == 196);
}

#[test]
fn notifications_come_in_order() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let seen = pair.a.dir.join("seen");
    let script = pair.a.dir.join("notify.sh");
    // The first is slow: the second must wait for it.
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n[ \"$3\" = BACKUP ] && sleep 0.3\necho \"$*\" >>{}\n",
            seen.display()
        ),
    )
    .unwrap();
    let notify = format!("{PASS}\n notify \"/bin/sh {}\" root", script.display());
    pair.a.write(&config(201, VIP, &notify));
    pair.a.start(Engine::Agent);
    until("owner", || pair.a.owns(VIP));
    pair.a.end(libc::SIGTERM);
    let text = fs::read_to_string(&seen).unwrap();
    assert_eq!(
        text,
        "INSTANCE VI_1 BACKUP 201\nINSTANCE VI_1 MASTER 201\nINSTANCE VI_1 STOP 201\n"
    );
}

#[test]
fn after_a_crash_the_address_goes_first_and_then_the_word() {
    if !able(&["keepalived", "strace"]) {
        return;
    }
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    until("b waits", || pair.b.log().contains("Entering BACKUP STATE"));
    capture.forget();
    until("two more adverts", || capture.read().len() >= 2);
    pair.a.signal(libc::SIGKILL);
    let (_, mut child) = pair.a.daemon.take().unwrap();
    drop(child.wait());
    assert!(pair.a.owns(VIP), "nobody was there to take it off");
    let trace = pair.a.dir.join("trace");
    let config = pair.a.dir.join("keepalived.conf");
    let mut release = pair.a.net.command("strace");
    release
        .args(["-f", "-e", "trace=sendto,sendmsg,sendmmsg", "-o"])
        .arg(&trace);
    release
        .arg(env!("CARGO_BIN_EXE_hapair-agent"))
        .args(["release", "--config"]);
    release.arg(&config).arg("--state-dir").arg(pair.a.dir.join("state"));
    assert!(release.status().unwrap().success());
    let text = fs::read_to_string(&trace).unwrap();
    let line = |wanted: &str| text.lines().position(|l| l.contains(wanted));
    let (off, word) = (line("RTM_DELADDR"), line("224.0.0.18"));
    assert!(off.is_some() && word.is_some() && off < word, "{text}");
    assert!(!pair.a.owns(VIP));
    pair.settle(false, VIP);
    // Not by silence: between the word and the new owner's first advert the dead one was not waited for.
    let (a, b) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
    let adverts: Vec<Frame> = capture.read().to_vec();
    let zero = adverts
        .iter()
        .position(|f| matches!(f, Frame::Advert { src, priority: 0, .. } if *src == a));
    let first = adverts
        .iter()
        .position(|f| matches!(f, Frame::Advert { src, .. } if *src == b));
    assert!(zero.is_some() && zero < first, "{adverts:?}");
}

#[test]
fn a_clean_stop_takes_the_address_off_before_it_says_so() {
    if !able(&["strace"]) {
        return;
    }
    let mut pair = Pair::owned_by_a();
    let trace = crate::net::Trace::attach(&pair.a, "sendto,sendmsg,sendmmsg");
    pair.a.end(libc::SIGTERM);
    let text = trace.end();
    let last = |wanted: &str| {
        text.lines()
            .collect::<Vec<_>>()
            .iter()
            .rposition(|l| l.contains(wanted))
    };
    let (off, word) = (last("RTM_DELADDR"), last("224.0.0.18"));
    assert!(off.is_some() && word.is_some() && off < word, "{text}");
}

/// What the unit's ExecStopPost does.
fn release(host: &crate::net::Host) -> bool {
    let config = host.dir.join("keepalived.conf");
    host.agent(&["release", "--config", config.to_str().unwrap()]).1
}

#[test]
fn an_address_that_cannot_be_removed_is_removed_later() {
    if !able(&["strace"]) {
        return;
    }
    let mut pair = Pair::owned_by_a();
    // Netlink's, and the answers of the control socket.
    let trace = crate::net::Trace::failing(&pair.a, "sendto", "ENOBUFS");
    let other = "10.77.0.98";
    pair.a.write(&config(201, other, PASS));
    pair.a.signal(libc::SIGHUP);
    until("it is said", || pair.a.log().contains("cannot remove addresses"));
    assert!(pair.a.owns(VIP) && !pair.a.owns(other));
    assert!(trace.end().contains("INJECTED"));
    until("what was to change changes after all", || {
        !pair.a.owns(VIP) && pair.a.owns(other)
    });
    // At a stop nobody is left to try again but the stop step.
    let trace = crate::net::Trace::failing(&pair.a, "sendto", "ENOBUFS");
    pair.a.end(libc::SIGTERM);
    drop(trace);
    assert!(pair.a.owns(other));
    assert!(release(&pair.a));
    assert!(!pair.a.owns(other));
}

#[test]
fn the_stop_step_takes_nothing_from_who_lives_and_works_once() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::owned_by_a();
    assert!(!release(&pair.a), "it refuses");
    assert!(pair.a.owns(VIP));
    // Ended by the signal, and then released.
    pair.a.end(libc::SIGKILL);
    assert!(!pair.a.owns(VIP));
    // Another engine, or an operator.
    pair.a.net.ip("addr add 10.77.0.99/24 dev eth0");
    assert!(release(&pair.a));
    assert!(pair.a.owns(VIP), "there was nothing of the agent's any more");
    pair.a.net.ip("addr del 10.77.0.99/24 dev eth0");
    // The next start knows of the crash all the same.
    pair.a.start(Engine::Agent);
    until("it answers", || pair.a.instance()["held"] == true);
    pair.a.end(libc::SIGTERM);
    pair.a.start(Engine::Agent);
    until("it answers", || pair.a.instance()["held"] == false);
}

#[test]
fn two_agents_do_not_run_at_once() {
    if !able(&[]) {
        return;
    }
    let pair = Pair::owned_by_a();
    // Not even if the first one cannot be asked.
    fs::remove_file(pair.a.dir.join("state/agent.sock")).unwrap();
    let config = pair.a.dir.join("keepalived.conf");
    let mut second = pair.a.net.command("timeout");
    second.args(["20", env!("CARGO_BIN_EXE_hapair-agent"), "run", "--config"]);
    second.arg(config).arg("--state-dir").arg(pair.a.dir.join("state"));
    assert_eq!(second.status().unwrap().code(), Some(1), "it ends by itself");
    assert!(pair.a.owns(VIP));
}
