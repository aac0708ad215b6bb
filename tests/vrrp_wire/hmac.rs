//! Signed adverts (`auth_hmac`) between agents on real interfaces, and beside a keepalived that knows them.

use crate::beside_keepalived::takeover_and_handback;
use crate::net::{Engine, FAST, Host, Pair, VIP, able, able_with_keepalived, config, until};

pub(crate) const V2: &str = " advert_int 1";
pub(crate) const VIP6: &str = "fd00:77::99";

/// A key of that id: the id, so many times.
fn key(id: u8) -> (u8, [u8; 32]) {
    (id, [id; 32])
}

/// `auth_hmac` with those keys.
pub(crate) fn auth_hmac(keys: &[(u8, [u8; 32])], active: u8) -> String {
    let hex = |secret: [u8; 32]| secret.map(|byte| format!("{byte:02x}")).concat();
    let keys: String = keys
        .iter()
        .map(|(id, secret)| format!(" key {id} hex:{}\n", hex(*secret)))
        .collect();
    format!("\n auth_hmac {{\n{keys} active_key {active}\n time_window {WINDOW}\n }}")
}

/// In seconds; longer than any test here, so that an old advert is refused for its order and not for its age.
pub(crate) const WINDOW: u64 = 120;

fn signed(ids: &[u8], active: u8) -> String {
    let keys: Vec<_> = ids.iter().map(|id| key(*id)).collect();
    auth_hmac(&keys, active)
}

/// The words of `a` and `b` for unicast between them, behind others.
pub(crate) fn unicast(words: &str, net: &str) -> [String; 2] {
    [(1, 2), (2, 1)]
        .map(|(own, peer)| format!("{words}\n unicast_src_ip {net}{own}\n unicast_peer {{\n {net}{peer}\n }}"))
}

/// VIP and words of `a` and `b`: both versions, both families, multicast and unicast.
pub(crate) fn ways() -> [(&'static str, [String; 2]); 6] {
    let both = |words: &str| [words.to_owned(), words.to_owned()];
    [
        (VIP, both(V2)),
        (VIP, unicast(V2, "10.77.0.")),
        (VIP, both(FAST)),
        (VIP, unicast(FAST, "10.77.0.")),
        (VIP6, both(FAST)),
        (VIP6, unicast(FAST, "fd00:77::")),
    ]
}

/// `a` owns the VIP, `b` waits and has said nothing yet, and both sign with key 1.
pub(crate) fn pair(vip: &str, more: &[String; 2]) -> Pair {
    let mut pair = Pair::new();
    let auth = signed(&[1], 1);
    pair.a.write(&config(201, vip, &format!("{}{auth}", more[0])));
    pair.b.write(&config(200, vip, &format!("{}{auth}", more[1])));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(vip));
    pair.b.start(Engine::Agent);
    until("b believes the owner", || pair.b.instance()["owner"]["priority"] == 201);
    pair.settle(true, vip);
    pair
}

fn fast_pair() -> Pair {
    pair(VIP, &[FAST.to_owned(), FAST.to_owned()])
}

pub(crate) fn transitions(host: &Host) -> u64 {
    host.counter("became_master") + host.counter("left_master")
}

#[test]
fn a_signed_pair_has_one_owner_and_hands_back() {
    if !able(&[]) {
        return;
    }
    for (vip, more) in ways() {
        let mut pair = pair(vip, &more);
        pair.a.end(libc::SIGTERM);
        pair.settle(false, vip);
        pair.a.start(Engine::Agent);
        pair.settle(true, vip);
        assert_eq!(
            (pair.b.counter("became_master"), pair.b.counter("ignored")),
            (1, 0),
            "{more:?}"
        );
    }
}

#[test]
fn a_signed_pair_of_agent_and_keepalived_has_one_owner_and_hands_back() {
    if !able_with_keepalived([2, 4, 2], [u32::MAX; 3]) {
        return;
    }
    let auth = signed(&[1], 1);
    for (vip, [a, b]) in ways() {
        let (a, b) = (a + &auth, b + &auth);
        takeover_and_handback(Engine::Agent, Engine::Keepalived, &a, &b, vip);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, &a, &b, vip);
    }
}

#[test]
fn the_stop_step_is_signed_and_the_peer_does_not_wait_for_silence() {
    if !able(&[]) {
        return;
    }
    for (vip, more) in ways() {
        let mut pair = pair(vip, &more);
        pair.a.end(libc::SIGKILL);
        pair.settle(false, vip);
        assert_eq!(pair.b.instance()["cause"], "OwnerStopped", "{}", pair.b.log());
        // Said in one form: the same words in another one look as if somebody sent them again.
        assert_eq!(pair.b.counter("ignored"), 0, "{more:?}: {}", pair.b.instance());
    }
}

/// A stranger with a higher priority, and this as its `auth_hmac`, moves nothing and is named.
fn refused(its_auth: &str, counter: &str, why: &str) {
    if !able(&[]) {
        return;
    }
    let pair = fast_pair();
    let before = [&pair.a, &pair.b].map(transitions);
    let mut stranger = pair.stranger();
    stranger.write(&config(254, VIP, &format!("{FAST}{its_auth}")));
    stranger.start(Engine::Agent);
    until("both refuse the stranger", || {
        [&pair.a, &pair.b].iter().all(|host| host.counter(counter) >= 15)
    });
    assert_eq!([&pair.a, &pair.b].map(transitions), before);
    for host in [&pair.a, &pair.b] {
        let warnings = host.status()["warnings"].to_string();
        assert!(
            warnings.contains(&format!("adverts of 10.77.0.3 are refused: {why}")),
            "{warnings}"
        );
    }
    pair.settle(true, VIP);
}

#[test]
fn who_does_not_sign_moves_nothing_and_is_named() {
    refused("", "hmac_missing", "it is not signed");
}

#[test]
fn who_signs_with_another_key_moves_nothing_and_is_named() {
    refused(&auth_hmac(&[(1, [7; 32])], 1), "hmac_wrong_key", "its HMAC is wrong");
}

#[test]
fn who_signs_with_a_key_of_another_id_moves_nothing_and_is_named() {
    refused(&signed(&[7], 7), "hmac_unknown_key", "it is signed with key 7");
}

#[test]
fn a_pair_whose_keys_differ_says_that_it_has_two_owners() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, &format!("{FAST}{}", signed(&[1], 1))));
    pair.b
        .write(&config(200, VIP, &format!("{FAST}{}", auth_hmac(&[(1, [7; 32])], 1))));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    until("two owners, as there must be", || pair.a.owns(VIP) && pair.b.owns(VIP));
    for (host, other) in [(&pair.a, "10.77.0.2"), (&pair.b, "10.77.0.1")] {
        until("it is said", || host.instance()["second_owner"] == other);
        let warnings = host.status()["warnings"].to_string();
        assert!(
            warnings.contains(&format!("two owners suspected: {other}")) && warnings.contains("the keys differ"),
            "{warnings}"
        );
    }
}

#[test]
fn a_signing_key_is_replaced_by_reloads_without_a_second_owner() {
    if !able(&[]) {
        return;
    }
    let pair = fast_pair();
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
