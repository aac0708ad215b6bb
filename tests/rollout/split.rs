//! An apply that makes two owners stops the engine that it started.

use std::time::{Duration, Instant};

use hapair::inventory::Side;
use hapair::rollout::{ApplyReport, RolloutError, RolloutErrorKind, StoppedEngine};
use hapair::state::{Engine, Stage};

use crate::world::*;

/// Applies a change of the services to a pair.
fn applied(world: &World, gate_timeout: Duration) -> (Result<(), RolloutError>, ApplyReport) {
    let mut inventory = inventory();
    inventory.nginx = None;
    world.plans_a_change(Stage::Vrrp);
    world.apply(&inventory, gate_timeout)
}

/// A bare pair: no engine runs, and each host owns the VIP as soon as its own engine runs.
fn deaf_pair() -> World {
    let world = World::new(0);
    world.unmark(HOSTS[0], "owns");
    for host in HOSTS {
        world.unmark(host, "engine");
        world.mark(host, "starts");
    }
    world
}

#[test]
fn the_engine_whose_start_made_a_second_owner_is_stopped_and_the_owner_of_before_goes_on() {
    let world = deaf_pair();
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
fn an_engine_that_cannot_be_stopped_is_told_with_the_reason() {
    let world = deaf_pair();
    world.mark(HOSTS[0], "stays");
    let (done, report) = applied(&world, PATIENCE);
    let error = done.expect_err("two owners");
    let said = error.in_full();
    assert!(
        said.starts_with(
            "nginx-master: both hosts own the VIP of VI_1 since VRRP started here, and VRRP could not be stopped: "
        ),
        "{said}"
    );
    assert_eq!(report.left_stopped, None);
}

#[test]
fn an_apply_stops_no_engine_for_two_owners_that_were_there_before() {
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
