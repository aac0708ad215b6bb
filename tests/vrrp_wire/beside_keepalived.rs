//! Both engines understand each other, on either side.

use crate::net::{Engine, PASS, Pair, VIP, able, config, until};

/// Takeover on stop, handback on return, with one engine on each host.
pub(crate) fn takeover_and_handback(owner: Engine, standby: Engine, more_a: &str, more_b: &str, vip: &str) {
    let mut pair = Pair::new();
    pair.a.write(&config(201, vip, more_a));
    pair.b.write(&config(200, vip, more_b));
    pair.a.start(owner);
    pair.b.start(standby);
    pair.settle(true, vip);
    pair.a.end(libc::SIGTERM);
    pair.settle(false, vip);
    pair.a.start(owner);
    pair.settle(true, vip);
    // Both hear each other: no adverts are refused.
    for host in [&pair.a, &pair.b] {
        if host.daemon.as_ref().unwrap().0 == Engine::Agent {
            assert_eq!(host.instance()["statistics"]["ignored"], 0, "{}", host.log());
        }
    }
    pair.b.end(libc::SIGTERM);
    pair.settle(true, vip);
}

#[test]
fn version_2_with_a_password_beside_keepalived() {
    if able(&["keepalived"]) {
        takeover_and_handback(Engine::Agent, Engine::Keepalived, PASS, PASS, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, PASS, PASS, VIP);
    }
}

#[test]
fn version_3_beside_keepalived() {
    if able(&["keepalived"]) {
        let more = " version 3\n advert_int 0.2";
        takeover_and_handback(Engine::Agent, Engine::Keepalived, more, more, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, more, more, VIP);
    }
}

#[test]
fn ipv6_beside_keepalived() {
    if able(&["keepalived"]) {
        let more = " version 3\n advert_int 0.2";
        takeover_and_handback(Engine::Agent, Engine::Keepalived, more, more, "fd00:77::99");
        takeover_and_handback(Engine::Keepalived, Engine::Agent, more, more, "fd00:77::99");
    }
}

#[test]
fn unicast_beside_keepalived() {
    if able(&["keepalived"]) {
        let a = format!("{PASS}\n unicast_src_ip 10.77.0.1\n unicast_peer {{\n 10.77.0.2\n }}");
        let b = format!("{PASS}\n unicast_src_ip 10.77.0.2\n unicast_peer {{\n 10.77.0.1\n }}");
        takeover_and_handback(Engine::Agent, Engine::Keepalived, &a, &b, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, &a, &b, VIP);
    }
}

#[test]
fn two_agents_without_multicast_loss() {
    if able(&[]) {
        takeover_and_handback(Engine::Agent, Engine::Agent, PASS, PASS, VIP);
    }
}

#[test]
fn a_wrong_password_is_refused_and_said() {
    if !able(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(150, VIP, &PASS.replace("secret12", "other")));
    pair.b.write(&config(100, VIP, PASS));
    // It owns the VIP before it hears what it refuses: before 2.0.0 a standby begins its wait anew with every advert that it
    // refuses (vrrp_state_backup), and so never becomes owner beside one.
    pair.b.start(Engine::Keepalived);
    until("b owns the VIP", || pair.b.owns(VIP));
    pair.a.start(Engine::Agent);
    until("two owners, as there must be", || pair.a.owns(VIP) && pair.b.owns(VIP));
    until("the agent counts it", || {
        pair.a.instance()["statistics"]["auth_failures"].as_u64() > Some(0)
    });
    until("the agent says it", || {
        pair.a.log().contains("adverts are ignored: the password is wrong")
    });
    assert!(!pair.a.log().contains("secret12") && !pair.a.log().contains("other\""));
}

#[test]
fn handover_and_engine_switch() {
    if !able(&["keepalived"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Keepalived);
    pair.settle(true, VIP);
    assert!(pair.a.agent(&["handover"]).1);
    pair.settle(false, VIP);
    until("the agent hears the owner", || {
        pair.a.instance()["owner"]["priority"] == 200
    });
    assert!(!pair.a.owns(VIP));
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
    // The same host goes on with the other engine, and back.
    pair.a.end(libc::SIGTERM);
    assert!(!pair.a.dir.join("state/agent.running").exists());
    pair.a.start(Engine::Keepalived);
    pair.settle(true, VIP);
    pair.a.end(libc::SIGTERM);
    pair.a.start(Engine::Agent);
    pair.settle(true, VIP);
}
