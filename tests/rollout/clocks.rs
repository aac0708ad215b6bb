//! `auth_hmac` is not switched on while the hosts' clocks differ.

use std::path::Path;
use std::time::Duration;

use hapair::inventory::Inventory;
use hapair::rollout::RolloutError;
use hapair::state::facts::{HmacDemand, HmacInPlace};
use hapair::state::{Facts, Reply, Secret, Stage};

use crate::world::*;

/// Applies a change of the service to a pair whose clocks differ by that much, where `in_place` is what both hosts have now; says
/// what was ordered.
fn signed(ahead_ms: [i64; 2], written: &str, in_place: Option<HmacInPlace>) -> (Result<(), RolloutError>, Vec<String>) {
    let text =
        include_str!("../../inventory.example.yaml").replace("auth_pass: \"1111\"", &format!("auth_hmac: {written}"));
    let mut wanted = inventory();
    wanted.nginx = None;
    let parsed = Inventory::parse(&text, Path::new("inventory.yaml")).expect("valid");
    let auth = &parsed.vrrp.expect("vrrp").instances[0].auth_hmac;
    wanted.vrrp.as_mut().expect("vrrp").instances[0].auth_hmac = auth.clone();
    let world = World::new(0);
    for (host, ahead) in HOSTS.iter().zip(ahead_ms) {
        world.clock_is_ahead(host, ahead);
        let facts = Box::new(Facts {
            hostname: (*host).into(),
            auth_hmac: in_place.iter().map(|auth| ("VI_1".to_owned(), auth.clone())).collect(),
            ..Facts::default()
        });
        world.reply(host, "hello", &Reply::Hello { protocol: 1, facts });
    }
    world.plans_a_change(Stage::Vrrp);
    let (result, _) = world.apply(&wanted, Duration::from_secs(1));
    (result, world.log())
}

#[test]
fn signing_is_not_switched_on_while_the_clocks_differ() {
    let has = |mode, window| {
        Some(HmacInPlace {
            keys: [(1, Secret::new("k"))].into(),
            mode,
            window: Some(window),
        })
    };
    use HmacDemand::{Enforce, Permissive, ReceiveOnly};
    // Half of the window of 60 s is 30 s; the stand-ins answer within some of the other seconds.
    for (ahead, written, in_place) in [
        ([31_000, 0], "{time_window: 60}", None),
        ([-31_000, 0], "{time_window: 60, mode: permissive}", None),
        ([0, 31_000], "{time_window: 60}", has(Permissive, 60)),
        ([0, 31_000], "{time_window: 60, mode: permissive}", has(ReceiveOnly, 60)),
        ([0, 31_000], "{time_window: 60}", has(Enforce, 300)),
        ([0, 3_000], "true", None),
    ] {
        let (result, log) = signed(ahead, written, in_place);
        let error = result.expect_err(written);
        assert!(
            error
                .message
                .starts_with("auth_hmac of VI_1 is not switched on: the clock of"),
            "{error}"
        );
        let first = if ahead[0] > ahead[1] { HOSTS[0] } else { HOSTS[1] };
        assert!(error.message.contains(&format!("the clock of {first} is")), "{error}");
        assert_eq!(log, [""; 0], "{written}");
    }
    for (ahead, written, in_place) in [
        // Both clocks are wrong by the same, as where the controller's is.
        ([90_000, 90_000], "{time_window: 60}", None),
        ([15_000, 0], "{time_window: 60}", None),
        // Nothing becomes stricter than it is, and a repair must not be refused.
        ([0, 59_000], "{time_window: 60}", has(Enforce, 60)),
        ([0, 59_000], "{time_window: 60, mode: permissive}", has(Enforce, 60)),
        ([0, 59_000], "{time_window: 60, mode: receive-only}", None),
    ] {
        let (_, log) = signed(ahead, written, in_place);
        // The stand-in's VIP stays with its owner, so the gate behind the first host ends the run.
        assert_eq!(log.first().map(String::as_str), Some("nginx-backup apply"), "{written}");
    }
}
