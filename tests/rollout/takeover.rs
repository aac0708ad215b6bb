//! Planned moves: the standby is asked to take over; where it cannot, the VIP moves as it ever did, with a line that says so.

use std::time::Duration;

use hapair::desired::Templates;
use hapair::rollout::{
    ApplyReport, Context, HandoverOptions, Pair, RollbackReport, RolloutError, RolloutErrorKind, apply, hand_over,
    resume,
};
use hapair::state::{
    Engine, Goal, HostRollbackPlan, HostState, OutcomeKind, Plan, Reaction, Reply, Resource, Spec, Stage,
};

use crate::world::*;

const PROGRAM: &str = "file /usr/local/sbin/hapair-agent";

/// What a host is to become by an upgrade of the agent.
fn upgraded() -> HostState {
    HostState {
        resources: vec![Resource {
            id: PROGRAM.into(),
            stage: Stage::Vrrp,
            spec: Spec::Directory {
                path: "/".into(),
                mode: 0o755,
            },
            reactions: vec![Reaction::Restart {
                unit: Engine::Agent.unit().into(),
            }],
            cuts_ssh: false,
            election_critical: false,
        }],
        ..HostState::default()
    }
}

/// The first host owns the VIP, and these hosts have something to change.
fn world(stage: Stage, hosts: &[&str]) -> World {
    let world = World::new(0);
    for host in HOSTS {
        world.mark(host, "applied");
        let mut plan = Plan {
            host: host.into(),
            ..Plan::default()
        };
        if hosts.contains(&host) {
            let mut change = change(stage, false);
            if stage == Stage::Vrrp {
                change.resource = PROGRAM.into();
            }
            plan.changes.push(change);
        }
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    world
}

fn applied(world: &World, heard: &Heard) -> Result<ApplyReport, RolloutError> {
    let mut inventory = inventory();
    inventory.nginx = None;
    let templates = Templates::embedded();
    let options = options(PATIENCE);
    let mut report = ApplyReport::default();
    let done = block_on(async {
        let cx = Context {
            observer: heard,
            ..context(&inventory, &templates)
        };
        let mut pair = world.pair(&cx).await;
        pair.members.iter_mut().for_each(|member| member.state = upgraded());
        apply(&cx, &mut pair, &options, nobody_interrupts(), &mut report).await
    });
    done.map(|()| report)
}

#[test]
fn the_owners_network_changes_while_the_standby_stands_in_and_the_owner_takes_back() {
    let world = world(Stage::Network, &HOSTS[..1]);
    // It has just been started.
    world.mark(HOSTS[0], "pending");
    applied(&world, &Heard::default()).expect("applied");
    let order = [
        "nginx-backup takes over for 80 s",
        "nginx-master stop",
        "nginx-master apply",
        "nginx-master start",
        "nginx-backup resumes",
        "nginx-master is not ready",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn an_upgrade_restarts_the_owner_while_the_standby_stands_in() {
    let world = world(Stage::Vrrp, &HOSTS);
    applied(&world, &Heard::default()).expect("applied");
    let order = [
        "nginx-backup apply",
        "nginx-backup takes over for 80 s",
        "nginx-master apply",
        "nginx-backup resumes",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn what_restarts_no_engine_moves_nothing() {
    let world = world(Stage::Nginx, &HOSTS);
    applied(&world, &Heard::default()).expect("applied");
    assert_eq!(world.log(), ["nginx-backup apply", "nginx-master apply"]);
}

#[test]
fn a_standby_that_refuses_is_told_of_and_the_owner_leaves_as_ever() {
    let world = world(Stage::Network, &HOSTS[..1]);
    world.mark(HOSTS[1], "refuses");
    let heard = Heard::default();
    applied(&world, &heard).expect("applied");
    let order = [
        "nginx-backup refuses",
        "nginx-master stop",
        "nginx-master apply",
        "nginx-master start",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);
    heard.says(
        "nginx-backup: it does not take over on command (the agent refused `takeover`: VI_1: a reason): nginx-master gives up the \
         VIP, and nginx-backup owns it after its skew time",
    );
}

#[test]
fn beside_keepalived_the_owner_leaves_as_ever() {
    let world = world(Stage::Network, &HOSTS[..1]);
    world.runs(HOSTS[1], Engine::Keepalived);
    let heard = Heard::default();
    applied(&world, &heard).expect("applied");
    let order = [
        "nginx-master stop",
        "nginx-master apply",
        "nginx-master start",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);
    heard.says("nginx-backup: keepalived cannot take over on command");
}

#[test]
fn a_change_that_fails_leaves_nothing_raised() {
    let world = world(Stage::Vrrp, &HOSTS[..1]);
    world.ends(HOSTS[0], OutcomeKind::Reverted);
    let error = applied(&world, &Heard::default()).expect_err("no space left");
    assert_eq!(error.kind, RolloutErrorKind::RolledBack);
    let order = [
        "nginx-backup takes over for 80 s",
        "nginx-master apply",
        "nginx-backup resumes",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn a_rollback_of_the_owners_network_goes_the_same_way() {
    let world = World::new(0);
    world.can_roll_back(HOSTS[0], false);
    let plan = HostRollbackPlan {
        plan: Plan {
            host: HOSTS[0].into(),
            changes: vec![change(Stage::Network, false)],
            ..Plan::default()
        },
        engine_runs_after: true,
        serves_after: true,
        instances: vec![],
    };
    world.reply(HOSTS[0], "put_back", &Reply::RollbackPlan { plan });
    let nothing = Reply::History {
        transactions: vec![],
        installed: false,
    };
    world.reply(HOSTS[1], "history", &nothing);
    let (done, _): (_, RollbackReport) = world.rolls_back(Goal::Rollback);
    done.expect("rolled back");
    let order = [
        "nginx-backup takes over for 80 s",
        "nginx-master stop",
        "nginx-master put_back",
        "nginx-master start",
        "nginx-backup resumes",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);
}

fn handed_over(world: &World, heard: &Heard, hold: Option<Duration>) -> Result<(), RolloutError> {
    by_hand(world, heard, hold, async |cx, pair, options| {
        let done = hand_over(cx, pair, options, nobody_interrupts()).await?;
        assert_eq!((done.from.as_str(), done.to.as_str()), (HOSTS[0], HOSTS[1]));
        Ok(())
    })
}

fn by_hand(
    world: &World,
    heard: &Heard,
    hold: Option<Duration>,
    work: impl AsyncFnOnce(&Context<'_>, &mut Pair, &HandoverOptions) -> Result<(), RolloutError>,
) -> Result<(), RolloutError> {
    HOSTS.iter().for_each(|host| world.mark(host, "applied"));
    let mut inventory = inventory();
    inventory.nginx = None;
    let templates = Templates::embedded();
    let options = HandoverOptions {
        from: None,
        hold,
        operator: operator(),
        gate_timeout: Duration::from_secs(3),
    };
    block_on(async {
        let cx = Context {
            observer: heard,
            ..context(&inventory, &templates)
        };
        let mut pair = world.pair(&cx).await;
        work(&cx, &mut pair, &options).await
    })
}

#[test]
fn between_agents_the_giver_is_held_before_the_taker_takes_over() {
    let world = World::new(0);
    handed_over(&world, &Heard::default(), None).expect("moved");
    assert_eq!(world.log(), ["nginx-master holds", "nginx-backup takes over for 10 s"]);
}

#[test]
fn from_keepalived_the_raised_priority_stays_for_the_hold() {
    for (hold, takes_over) in [
        (Some(Duration::from_secs(600)), "nginx-backup takes over for 600 s"),
        (None, "nginx-backup takes over"),
    ] {
        let world = World::new(0);
        world.runs(HOSTS[0], Engine::Keepalived);
        handed_over(&world, &Heard::default(), hold).expect("moved");
        assert_eq!(world.log(), [takes_over]);
    }
}

#[test]
fn to_keepalived_the_giver_hands_over() {
    let world = World::new(0);
    world.runs(HOSTS[1], Engine::Keepalived);
    let heard = Heard::default();
    handed_over(&world, &heard, None).expect("moved");
    assert_eq!(world.log(), ["nginx-master hands over"]);
    heard.says("keepalived cannot take over on command");
}

#[test]
fn an_owner_that_does_not_yield_is_not_left_beside_a_second_one() {
    let world = World::new(0);
    world.mark(HOSTS[0], "deaf");
    let heard = Heard::default();
    handed_over(&world, &heard, None).expect("moved");
    let order = [
        "nginx-master holds",
        "nginx-backup takes over for 10 s",
        "nginx-backup resumes",
        "nginx-master hands over",
    ];
    assert_eq!(world.log(), order);
    heard.says("nginx-master does not yield, so the takeover was ended");
}

#[test]
fn who_is_preferred_takes_back_at_once_when_both_resume() {
    let resumed = |world: &World, heard: &Heard| {
        by_hand(world, heard, None, async |cx, pair, options| {
            resume(cx, pair, options, nobody_interrupts()).await.map(drop)
        })
    };
    let world = World::new(1);
    world.mark(HOSTS[1], "raised");
    resumed(&world, &Heard::default()).expect("settled");
    let order = [
        "nginx-master resumes",
        "nginx-backup resumes",
        "nginx-master takes over for 10 s",
    ];
    assert_eq!(world.log(), order);

    // keepalived is waited for; here it never comes.
    let world = World::new(1);
    world.runs(HOSTS[0], Engine::Keepalived);
    let heard = Heard::default();
    let error = resumed(&world, &heard).expect_err("nobody takes it back");
    assert!(
        error.message.contains("nginx-backup still owns the VIP of VI_1"),
        "{error}"
    );
    heard.says(
        "nginx-master: it does not take over on command (keepalived cannot): it owns the VIP after three adverts",
    );
}
