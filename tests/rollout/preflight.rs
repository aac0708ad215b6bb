//! What both hosts and the segment show before anything is changed.

use std::time::{Duration, SystemTime};

use hapair::desired::Templates;
use hapair::rollout::preflight;
use hapair::state::resource::InstanceRef;
use hapair::state::{
    Finding, FindingId, ForeignRouter, HostPreflight, HostState, Plan, Reply, Segment, Severity, Station,
};

use crate::world::*;

/// A host says this with its plan.
fn tells(world: &World, host: &str, told: HostPreflight) {
    let plan = Plan {
        host: host.into(),
        preflight: Some(told),
        ..Plan::default()
    };
    world.reply(host, "plan", &Reply::Plan { plan });
}

fn told(findings: Vec<Finding>, new_instances: &[&str]) -> HostPreflight {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time");
    HostPreflight {
        findings,
        new_instances: new_instances.iter().map(|name| (*name).to_owned()).collect(),
        at_ms: now.as_millis() as u64,
    }
}

fn found(world: &World) -> Vec<Finding> {
    let (inventory, templates) = (inventory(), Templates::embedded());
    block_on(async {
        let cx = context(&inventory, &templates);
        let mut pair = world.pair(&cx).await;
        for member in &mut pair.members {
            member.state = HostState {
                instances: vec![InstanceRef {
                    name: "VI_1".into(),
                    interface: "enp0s3".into(),
                    virtual_router_id: 51,
                    priority: 100,
                    vips: vec!["192.168.0.200".into()],
                }],
                ..HostState::default()
            };
        }
        pair.plan(cx.observer).await.expect("planned");
        preflight(&cx, &mut pair).await
    })
    .expect("both answer")
}

#[test]
fn a_pair_that_runs_as_wanted_is_asked_nothing_more() {
    let world = World::new(0);
    HOSTS.iter().for_each(|host| tells(&world, host, told(vec![], &[])));
    assert_eq!(found(&world), []);
    assert_eq!(world.log(), [""; 0], "nobody listens");
}

#[test]
fn what_both_hosts_see_of_a_stranger_is_told_once_and_the_peer_is_none() {
    let world = World::new(0);
    let taken = Finding::new(FindingId::PortTaken, Severity::Blocks, "cause", "remedy");
    tells(&world, HOSTS[0], told(vec![], &["VI_1"]));
    tells(&world, HOSTS[1], told(vec![taken], &["VI_1"]));
    let router = |sender: &str| ForeignRouter {
        interface: "enp0s3".into(),
        sender: sender.parse().expect("an address"),
        virtual_router_id: 51,
        priority: 150,
        vips: vec!["192.168.0.50".parse().expect("an address")],
    };
    for (host, peer) in [(HOSTS[0], "192.168.0.202"), (HOSTS[1], "192.168.0.201")] {
        let seen = Segment {
            stations: vec![Station {
                vip: "192.168.0.200".parse().expect("an address"),
                interface: "enp0s3".into(),
                mac: "52:54:00:6c:01:00".into(),
            }],
            routers: vec![router("192.168.0.254"), router(peer)],
            ..Segment::default()
        };
        world.reply(host, "segment", &Reply::Segment { seen });
    }
    let found = found(&world);
    let seen: Vec<(FindingId, Option<&str>)> = found.iter().map(|f| (f.id, f.host.as_deref())).collect();
    assert_eq!(
        seen,
        [
            (FindingId::VipInUse, None),
            (FindingId::VridInUse, None),
            (FindingId::PortTaken, Some(HOSTS[1])),
        ]
    );
    assert!(found[0].cause.contains("52:54:00:6c:01:00") && found[1].cause.contains("192.168.0.254"));
    let mut log = world.log();
    log.sort();
    assert_eq!(log, ["nginx-backup listens", "nginx-master listens"]);
}

#[test]
fn only_the_host_that_has_something_new_listens() {
    let world = World::new(0);
    tells(&world, HOSTS[0], told(vec![], &[]));
    tells(&world, HOSTS[1], told(vec![], &["VI_1"]));
    let seen = Segment::default();
    world.reply(HOSTS[1], "segment", &Reply::Segment { seen });
    assert_eq!(found(&world), []);
    assert_eq!(world.log(), ["nginx-backup listens"]);
}

#[test]
fn clocks_that_differ_are_told() {
    let world = World::new(0);
    let mut ahead = told(vec![], &[]);
    ahead.at_ms += Duration::from_secs(95).as_millis() as u64;
    tells(&world, HOSTS[0], ahead);
    tells(&world, HOSTS[1], told(vec![], &[]));
    let found = found(&world);
    assert_eq!((found.len(), found[0].id), (1, FindingId::ClocksDiffer));
    assert!(
        found[0].cause.starts_with("the clock of nginx-master is 9"),
        "{}",
        found[0].cause
    );
}
