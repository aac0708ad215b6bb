//! The order over the pair, against two stand-in executors: shell scripts that answer like a host would, keep a log of
//! what they were ordered, and hold an election of a kind.
#![cfg(feature = "cli")]

mod clocks;
mod preflight;
mod split;
mod takeover;
mod world;

use std::time::Duration;

use hapair::desired::Templates;
use hapair::rollout::{ApplyReport, Context, Proof, RolloutErrorKind, Vantage, apply, verify};
use hapair::state::{DisabledCheck, Engine, Goal, OutcomeKind, Plan, Reply, Stage};

use world::*;

#[test]
fn an_owner_hands_over_before_its_network_changes_though_the_inventory_has_other_vips() {
    let mut inventory = inventory();
    // Nothing to ask through the VIP: the order is what is looked at.
    inventory.nginx = None;
    let world = World::new(1);
    world.plans_a_change(Stage::Network);
    let (done, report) = world.apply(&inventory, PATIENCE);
    done.expect("applied");
    assert_eq!(report.changed, [1, 1]);
    // The preferred host does not own the VIP, so it is the standby, and comes first.
    let order = [
        "nginx-master apply",
        "nginx-master takes over for 80 s",
        "nginx-backup stop",
        "nginx-backup apply",
        "nginx-backup start",
        "nginx-master resumes",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn removal_restores_an_earlier_pair_with_the_standby_stopped() {
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.can_roll_back(host, true));
    let (done, report) = world.rolls_back(Goal::Remove);
    done.expect("rolled back");
    assert_eq!(report.changed, [1, 1]);
    let order = [
        "nginx-backup stop",
        "nginx-master put_back",
        "nginx-backup put_back",
        "nginx-backup start",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn a_stopped_standby_is_not_rolled_back_before_the_owner() {
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.can_roll_back(host, true));
    world.unmark(HOSTS[1], "engine");
    // The rollback starts the engine, as before the run.
    world.mark(HOSTS[1], "wakes");
    let (done, report) = world.rolls_back(Goal::Rollback);
    done.expect("rolled back");
    assert_eq!(report.changed, [1, 1]);
    assert_eq!(world.log(), ["nginx-master put_back", "nginx-backup put_back"]);
}

#[test]
fn an_owner_that_changed_since_the_plan_leaves_the_standby_in_election() {
    let mut inventory = inventory();
    inventory.nginx = None;
    let world = World::new(0);
    for host in HOSTS {
        let plan = Plan {
            host: host.into(),
            changes: vec![change(Stage::Vrrp, true)],
            ..Plan::default()
        };
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    let templates = Templates::embedded();
    let options = options(PATIENCE);
    let cx = context(&inventory, &templates);
    let error = block_on(async {
        let mut pair = world.pair(&cx).await;
        let plan = Plan {
            fingerprint: "another".into(),
            ..pair.members[0].plan.clone()
        };
        world.reply(HOSTS[0], "plan", &Reply::Plan { plan });
        apply(
            &cx,
            &mut pair,
            &options,
            nobody_interrupts(),
            &mut ApplyReport::default(),
        )
        .await
    })
    .expect_err("it has moved");
    assert!(
        error.message.contains("the host has changed since the plan was made"),
        "{error}"
    );
    assert_eq!(world.log(), Vec::<String>::new(), "nothing was stopped");
}

#[test]
fn a_rollback_or_removal_that_a_host_takes_back_says_so_and_ends_there() {
    for goal in [Goal::Rollback, Goal::Remove] {
        let world = World::new(0);
        HOSTS.iter().for_each(|host| world.can_roll_back(host, false));
        world.ends(HOSTS[1], OutcomeKind::Reverted);
        let (done, report) = world.rolls_back(goal);
        let error = done.expect_err("the standby took it back");
        // Exit code 5.
        assert_eq!(error.kind, RolloutErrorKind::RolledBack);
        assert_eq!(
            error.in_full(),
            "nginx-backup: no space left; this transaction was reverted"
        );
        assert_eq!(
            (report.changed, world.log()),
            ([0, 0], vec!["nginx-backup put_back".to_owned()])
        );
    }
}

#[test]
fn a_check_that_a_host_does_not_run_is_told_at_the_end() {
    let mut inventory = inventory();
    inventory.nginx = None;
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.mark(host, "applied"));
    for (bits, [runs, owns, applied]) in (0..8).map(|n| (n, [n & 4 > 0, n & 2 > 0, n & 1 > 0])) {
        let mut status = status(HOSTS[1], Engine::Agent, [runs, owns, applied, false, false]);
        status.disabled_checks.push(DisabledCheck {
            name: "chk_process".into(),
            reason: "`killall` is not in /usr/bin".into(),
        });
        world.reply(HOSTS[1], &format!("status.{bits}"), &Reply::Status { status });
    }
    let (templates, heard) = (Templates::embedded(), Heard::default());
    let cx = Context {
        observer: &heard,
        ..context(&inventory, &templates)
    };
    block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, PATIENCE, nobody_interrupts()).await
    })
    .expect("verified");
    let wanted = "nginx-backup: check chk_process is disabled and counts for nothing: `killall` is not in /usr/bin";
    heard.says(wanted);
}

#[test]
fn a_pair_that_speaks_tls_only_is_seen_from_the_standby_as_far_as_that_goes() {
    let mut inventory = inventory();
    let servers = &mut inventory.nginx.as_mut().expect("nginx").servers;
    servers.truncate(1);
    let port = free_port();
    (servers[0].tls, servers[0].listen.port) = (true, port);
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.mark(host, "applied"));
    world.reply(HOSTS[1], "connect", &Reply::Ack);
    let templates = Templates::embedded();
    let cx = context(&inventory, &templates);
    let seen = block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, PATIENCE, nobody_interrupts()).await
    })
    .expect("verified");
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.owner.as_str(), seen.port), (HOSTS[0], port));
    assert_eq!((seen.from, seen.proof), (Vantage::Standby, Proof::Connection));

    // Where the standby gets no connection either, that is a failure that says so.
    let refused = Reply::Error {
        message: "no connection to it: refused".into(),
        hints: vec![],
    };
    world.reply(HOSTS[1], "connect", &refused);
    let error = block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, Duration::ZERO, nobody_interrupts()).await
    })
    .expect_err("nobody takes a connection");
    assert!(
        error.message.contains("from here: ") && error.message.contains("nginx-backup: no connection to it"),
        "{error}"
    );
}
