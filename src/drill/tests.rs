//! Whole drills against a scripted pair.

mod scripted;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::inventory::Side;
use crate::remote::RemoteErrorKind;

pub(super) use scripted::inventory;
use scripted::{Stage, Trouble, World, lock, stage};

fn play(stage: &mut Stage, cancel: impl Future<Output = ()>) -> (Result<DrillReport, DrillError>, Vec<DrillEvent>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut events = Vec::new();
    let result = runtime.block_on(run(&mut stage.links, &stage.plan, cancel, &mut |e| events.push(e)));
    (result, events)
}

#[test]
fn both_scenarios_move_the_vip_and_bring_it_back() {
    let mut stage = stage(Trouble::Nothing, false);
    // Whether this busy machine is quick is not what is tested.
    stage.plan.budget_ms = Some(60_000);
    let (report, events) = play(&mut stage, std::future::pending());
    let report = report.unwrap();
    assert!(report.passed(), "{report:#?}");
    let names: Vec<_> = report.scenarios.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["nginx-stop", "vrrp-stop"]);
    for s in &report.scenarios {
        assert_eq!(
            (s.owner_before.as_str(), s.owner_after.as_deref()),
            ("node-a", Some("node-b"))
        );
        assert_eq!((s.max_owners, s.failback.owner.as_deref()), (1, Some("node-a")));
        assert!(
            s.outage_ms > 0 && s.failed_requests > 0 && s.failed_requests < s.total_requests,
            "{s:#?}"
        );
        assert!(
            s.moved_after_ms.unwrap() >= 30,
            "the scripted pair needs a while: {s:#?}"
        );
        let nodes = s.vips[0].seen.iter().filter_map(|x| match &x.seen {
            crate::probe::Seen::Node(node) => Some(node.as_str()),
            _ => None,
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.dedup();
        assert_eq!(nodes, ["node-a", "node-b", "node-a"]);
        let marks: Vec<_> = s.marks.iter().map(|m| m.what.as_str()).collect();
        assert_eq!(marks, ["fault", "moved", "repair", "settled"]);
        assert!(s.marks.windows(2).all(|m| m[0].at_ms <= m[1].at_ms), "{:?}", s.marks);
    }
    assert_eq!(
        lock(&stage.world).log,
        [
            "node-a: stop nginx.service",
            "node-a: repair nginx.service",
            "node-a: stop keepalived.service",
            "node-a: repair keepalived.service"
        ]
    );
    let finished = events.iter().filter(|e| matches!(e, DrillEvent::Finished(_))).count();
    assert_eq!(finished, 2);
    assert!(
        events
            .iter()
            .any(|e| matches!(e, DrillEvent::Ownership { host, owns: true, .. } if host == "node-b"))
    );
}

/// With an agent there the repaired host is asked; it need not wait for three adverts.
#[test]
fn a_repaired_agent_takes_back_on_command() {
    let mut stage = stage(Trouble::Nothing, false);
    stage.plan.budget_ms = Some(60_000);
    stage.plan.scenarios = vec![Scenario::NginxStop];
    {
        let mut world = lock(&stage.world);
        (world.kind, world.refusals, world.only_on_command) = (crate::state::Engine::Agent, 1, true);
    }
    let (report, _) = play(&mut stage, std::future::pending());
    let report = report.unwrap();
    let s = &report.scenarios[0];
    assert!(s.passed && s.failback.owner.as_deref() == Some("node-a"), "{s:#?}");
    assert_eq!(
        lock(&stage.world).log,
        [
            "node-a: stop nginx.service",
            "node-a: repair nginx.service",
            "node-a: take over VI_1",
            "node-a: take over VI_1",
        ]
    );
    assert!(
        s.notes.iter().any(|n| n.contains("a check has not answered yet")),
        "{:?}",
        s.notes
    );
}

/// Nobody is asked to do at once what the operator wants delayed.
#[test]
fn a_preempt_delay_is_waited_for() {
    let mut inventory = inventory(80);
    let instance = &mut inventory.vrrp.as_mut().unwrap().instances[0];
    instance.preempt_delay = Some(5);
    let plan = DrillPlan::new(&inventory, &[], None).unwrap();
    assert!(plan.instances[0].preempt && !plan.instances[0].at_once);
}

#[test]
fn a_vip_that_does_not_move_fails_and_is_repaired() {
    let mut stage = stage(Trouble::Stuck, false);
    stage.plan.scenarios = vec![Scenario::NginxStop];
    stage.plan.budget_ms = Some(50);
    stage.plan.patience = Duration::from_secs(1);
    let (report, _) = play(&mut stage, std::future::pending());
    let report = report.unwrap();
    let s = &report.scenarios[0];
    assert!(!report.passed());
    assert_eq!((s.owner_after.as_deref(), s.moved_after_ms), (Some("node-a"), None));
    assert_eq!(s.reasons[0], "the VIP did not move from node-a to node-b");
    assert!(
        s.reasons[1].contains("ms without service, the budget is 50 ms"),
        "{:?}",
        s.reasons
    );
    assert!(s.repaired && s.failback.owner.as_deref() == Some("node-a"), "{s:#?}");
}

#[test]
fn two_owners_are_seen() {
    let mut stage = stage(Trouble::Split, false);
    stage.plan.scenarios = vec![Scenario::VrrpStop];
    stage.plan.patience = Duration::from_secs(1);
    let (report, _) = play(&mut stage, std::future::pending());
    let s = &report.unwrap().scenarios[0];
    assert!(!s.passed);
    assert_eq!(s.max_owners, 2);
    assert!(s.overlap_ms >= OVERLAP_RESOLUTION_MS, "{}", s.overlap_ms);
    assert!(
        s.reasons.contains(&"2 owners of one VIP at once".to_owned()),
        "{:?}",
        s.reasons
    );
}

#[test]
fn without_preemption_the_vip_stays() {
    let mut stage = stage(Trouble::Nothing, true);
    stage.plan.scenarios = vec![Scenario::VrrpStop];
    stage.plan.budget_ms = Some(60_000);
    let (report, _) = play(&mut stage, std::future::pending());
    let report = report.unwrap();
    assert_eq!(
        report.scenarios.len(),
        1,
        "the new owner is not drilled in the same breath"
    );
    let s = &report.scenarios[0];
    assert!(s.passed, "{s:#?}");
    assert_eq!(
        (s.failback.expected, s.failback.owner.as_deref()),
        (false, Some("node-b"))
    );
    assert!(
        s.notes.iter().any(|n| n.contains("node-a does not preempt")),
        "{:?}",
        s.notes
    );
}

#[test]
fn ctrl_c_repairs_first() {
    let mut stage = stage(Trouble::Stuck, false);
    let world = Arc::clone(&stage.world);
    let stopped = async move {
        while lock(&world).log.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (result, _) = play(&mut stage, stopped);
    let error = result.unwrap_err();
    assert_eq!(error.kind, DrillErrorKind::Cancelled);
    assert_eq!(
        error.hints,
        ["node-a was repaired: nginx.service was stopped by the drill"]
    );
    assert_eq!(
        lock(&stage.world).log,
        ["node-a: stop nginx.service", "node-a: repair nginx.service"]
    );
}

#[test]
fn a_lost_link_says_that_the_host_repairs_itself() {
    let mut stage = stage(Trouble::LinkLost, false);
    let (result, _) = play(&mut stage, std::future::pending());
    let error = result.unwrap_err();
    assert_eq!(error.kind, DrillErrorKind::Host(RemoteErrorKind::Lost));
    assert_eq!(error.to_string(), "node-a: the connection broke");
    assert!(
        error
            .hints
            .iter()
            .any(|h| h.contains("node-a undoes the fault automatically within")),
        "{:?}",
        error.hints
    );
}

#[test]
fn a_pair_that_is_not_well_is_not_broken_further() {
    type Spoil = fn(&mut World);
    let cases: [(Spoil, &str); 4] = [
        (
            |w| w.engine[1] = false,
            "node-b: no VRRP engine runs, so nothing would take over",
        ),
        (
            |w| w.nginx[1] = false,
            "node-b: nginx is inactive, so the VIP would move to a host that cannot serve",
        ),
        (|w| w.owns = [false; 2], "no host owns 127.0.0.1"),
        (
            |w| w.owns = [true; 2],
            "both hosts own 127.0.0.1: their adverts do not reach each other",
        ),
    ];
    for (spoil, message) in cases {
        let mut stage = stage(Trouble::Nothing, false);
        stage.plan.patience = Duration::ZERO;
        spoil(&mut lock(&stage.world));
        let (result, _) = play(&mut stage, std::future::pending());
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.to_string().as_str()),
            (DrillErrorKind::Precondition, message)
        );
        assert!(lock(&stage.world).log.is_empty(), "nothing was touched");
    }
}

#[test]
fn plan_from_an_inventory() {
    let mut inventory = inventory(8080);
    let plan = DrillPlan::new(&inventory, &[], None).unwrap();
    assert_eq!(plan.scenarios, Scenario::ALL);
    assert_eq!(plan.instances[0].endpoints[0].probed(), "http:8080");
    assert_eq!(plan.instances[0].endpoints[0].vip, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(plan.states[1].instances[0].priority, 100);
    inventory.nginx.as_mut().unwrap().servers[0].tls = true;
    let plan = DrillPlan::new(&inventory, &[Scenario::VrrpStop], Some(700)).unwrap();
    assert_eq!(plan.instances[0].endpoints[0].probed(), "tcp:8080");
    assert_eq!(
        plan.budget_for(Scenario::VrrpStop, Side::First, &[&plan.instances[0]]),
        700
    );
    inventory.vrrp = None;
    let error = DrillPlan::new(&inventory, &[], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "inventory.yaml: the inventory has no VRRP instance to drill"
    );
    assert_eq!("nginx-stop".parse(), Ok(Scenario::NginxStop));
    assert!(
        "power-off"
            .parse::<Scenario>()
            .unwrap_err()
            .to_string()
            .contains("known are")
    );
}
