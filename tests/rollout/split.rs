//! An apply that makes two owners stops the engine that it started.

use std::time::{Duration, Instant};

use hapair::desired::Templates;
use hapair::inventory::Side;
use hapair::rollout::{ApplyOptions, ApplyReport, RolloutError, RolloutErrorKind, StoppedEngine, apply};
use hapair::state::{Engine, Plan, Reply, Stage};

use crate::world::*;

/// Applies a change of the services to a pair.
fn applied(world: &World, gate_timeout: Duration) -> (Result<(), RolloutError>, ApplyReport) {
    let mut inventory = inventory();
    inventory.nginx = None;
    for host in HOSTS {
        let plan = Plan {
            host: host.into(),
            changes: vec![change(Stage::Vrrp, false)],
            ..Plan::default()
        };
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    let templates = Templates::embedded();
    let options = ApplyOptions {
        limit: None,
        confirm_timeout: 20,
        operator: operator(),
        gate_timeout,
    };
    let mut report = ApplyReport::default();
    let done = block_on(async {
        let cx = context(&inventory, &templates);
        let mut pair = world.pair(&cx).await;
        apply(&cx, &mut pair, &options, nobody_interrupts(), &mut report).await
    });
    (done, report)
}

#[test]
fn the_engine_whose_start_made_a_second_owner_is_stopped_and_the_owner_of_before_goes_on() {
    let world = World::new(0);
    // A bare pair: no engine runs, and each owns the VIP as soon as its own one does.
    world.unmark(HOSTS[0], "owns");
    for host in HOSTS {
        world.unmark(host, "engine");
        world.mark(host, "starts");
    }
    let began = Instant::now();
    let (done, report) = applied(&world, PATIENCE);
    let error = done.expect_err("two owners");
    assert!(began.elapsed() < PATIENCE / 2, "it waited for what cannot become right");
    assert_eq!(error.kind, RolloutErrorKind::Failed);
    assert_eq!(error.host.as_deref(), Some(HOSTS[0]));
    assert!(
        error
            .message
            .starts_with("both hosts own the VIP of VI_1 since VRRP started here")
            && error.message.ends_with("nginx-backup keeps the VIP"),
        "{error}"
    );
    assert!(
        error.hints.iter().any(|hint| hint.contains("protocol 112")),
        "{:?}",
        error.hints
    );
    assert_eq!(
        world.log(),
        ["nginx-backup apply", "nginx-master apply", "nginx-master stop"]
    );
    let left = StoppedEngine {
        host: Side::First,
        engine: Engine::Agent,
    };
    assert_eq!(report.left_stopped, Some(left));
}

#[test]
fn two_owners_of_before_are_nobodys_doing() {
    let world = World::new(0);
    world.mark(HOSTS[1], "owns");
    world.mark(HOSTS[1], "deaf");
    let (done, _) = applied(&world, Duration::from_secs(1));
    let error = done.expect_err("two owners");
    assert!(error.message.contains("both hosts own the VIP of VI_1"), "{error}");
    assert!(
        !world.log().iter().any(|line| line.ends_with(" stop")),
        "{:?}",
        world.log()
    );
}
