//! Signed adverts (`auth_hmac`) between agents on real interfaces.

use crate::net::{Engine, FAST, Host, Pair, VIP, able, config, until};

const V2: &str = " advert_int 1";
const UNICAST_A: &str = " unicast_src_ip 10.77.0.1\n unicast_peer {\n 10.77.0.2\n }";
const UNICAST_B: &str = " unicast_src_ip 10.77.0.2\n unicast_peer {\n 10.77.0.1\n }";

/// `auth_hmac` with keys of these ids, each its own.
fn signed(ids: &[u8], active: u8) -> String {
    let keys: String = ids
        .iter()
        .map(|id| format!(" key {id} hex:{}\n", format!("{id:02x}").repeat(32)))
        .collect();
    format!("\n auth_hmac {{\n{keys} active_key {active}\n }}")
}

fn pair(vip: &str, more: [&str; 2]) -> Pair {
    let mut pair = Pair::new();
    let auth = signed(&[1], 1);
    pair.a.write(&config(201, vip, &format!("{}{auth}", more[0])));
    pair.b.write(&config(200, vip, &format!("{}{auth}", more[1])));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, vip);
    pair
}

fn transitions(host: &Host) -> u64 {
    host.counter("became_master") + host.counter("left_master")
}

#[test]
fn a_signed_pair_has_one_owner_and_hands_back() {
    if !able(&[]) {
        return;
    }
    let unicast = [UNICAST_A, UNICAST_B].map(|words| format!("{FAST}\n{words}"));
    for (vip, more) in [
        (VIP, [V2, V2]),
        (VIP, [FAST, FAST]),
        ("fd00:77::99", [FAST, FAST]),
        (VIP, [unicast[0].as_str(), unicast[1].as_str()]),
    ] {
        let mut pair = pair(vip, more);
        until("b believes the owner", || pair.b.instance()["owner"]["priority"] == 201);
        pair.a.end(libc::SIGTERM);
        pair.settle(false, vip);
        pair.a.start(Engine::Agent);
        pair.settle(true, vip);
        assert_eq!(
            (pair.b.counter("became_master"), pair.b.counter("hmac_missing")),
            (1, 0),
            "{more:?}"
        );
    }
}

#[test]
fn an_unsigned_peer_moves_nothing_and_is_named() {
    if !able(&[]) {
        return;
    }
    let pair = pair(VIP, [FAST, FAST]);
    let before = [&pair.a, &pair.b].map(transitions);
    let mut stranger = pair.stranger();
    stranger.write(&config(254, VIP, FAST));
    stranger.start(Engine::Agent);
    until("both refuse the stranger", || {
        [&pair.a, &pair.b].iter().all(|host| host.counter("hmac_missing") >= 15)
    });
    assert_eq!([&pair.a, &pair.b].map(transitions), before);
    for host in [&pair.a, &pair.b] {
        let warnings = host.status()["warnings"].to_string();
        assert!(warnings.contains("adverts of 10.77.0.3 are refused"), "{warnings}");
    }
    pair.settle(true, VIP);
}

#[test]
fn a_signing_key_is_replaced_by_reloads_without_a_second_owner() {
    if !able(&[]) {
        return;
    }
    let pair = pair(VIP, [FAST, FAST]);
    let before = [&pair.a, &pair.b].map(transitions);
    for (ids, active) in [(&[1, 2][..], 1), (&[1, 2], 2), (&[2], 2)] {
        for (host, priority) in [(&pair.b, 200), (&pair.a, 201)] {
            host.write(&config(priority, VIP, &format!("{FAST}{}", signed(ids, active))));
            assert!(host.agent(&["reload"]).1);
            until("the reload", || {
                let auth = &host.instance()["auth_hmac"];
                auth["active_key"] == active && auth["keys"] == serde_json::json!(ids)
            });
            // Long enough for a takeover where the owner is not believed.
            let sent = pair.a.counter("sent");
            until("ten adverts", || pair.a.counter("sent") >= sent + 10);
            assert_eq!([&pair.a, &pair.b].map(transitions), before, "{ids:?} {active}");
        }
    }
    pair.settle(true, VIP);
    assert_eq!(pair.b.counter("hmac_unknown_key"), 0);
}
