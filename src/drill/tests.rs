//! Whole drills against a scripted pair: two fake hosts and a local HTTP server whose answering node moves.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::inventory::*;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::state::{Engine, Fault, HostStatus, InstanceState, InstanceStatus, Reply, Request};

const NODES: [&str; 2] = ["node-a", "node-b"];
const VIP: &str = "127.0.0.1";

/// A pair with one VIP on the loopback interface and timers of hundredths of a second.
pub(super) fn inventory(port: u16) -> Inventory {
    let host = |name: &str| Host {
        name: name.into(),
        address: None,
        address_is_stable: false,
        network: None,
        release: None,
    };
    let script = Script {
        name: "chk".into(),
        kind: ScriptKind::Http {
            url: None,
            try_timeout: 1,
            tries: 1,
            pause: 0,
        },
        interval: 0.01,
        timeout: 1,
        weight: -5,
        fall: 1,
        rise: 1,
        user: None,
        init_fail: false,
    };
    let instance = Instance {
        name: "VI_1".into(),
        virtual_router_id: 51,
        priorities: BTreeMap::from([("node-a".into(), 101), ("node-b".into(), 100)]),
        version: 3,
        advert_int: 0.01,
        auth_pass: None,
        interface: Some("eth0".into()),
        state: None,
        unicast: false,
        mcast_src_ip: BTreeMap::new(),
        nopreempt: false,
        preempt_delay: None,
        garp_master_refresh: 60,
        virtual_ipaddress: vec![Vip {
            address: "127.0.0.1/8".parse().unwrap(),
            prefix_written: true,
        }],
        virtual_ipaddress_excluded: vec![],
        track_script: vec!["chk".into()],
        track_interface: vec![],
        track_process: vec![],
        notify: Notify::default(),
    };
    let server = Server {
        listen: Listen { address: None, port },
        server_name: vec![],
        proxy_pass: "app".into(),
        tls: false,
        certificate: None,
        certificate_key: None,
    };
    Inventory {
        path: PathBuf::from("inventory.yaml"),
        name: "edge".into(),
        ssh: Ssh {
            user: None,
            port: None,
            identity_file: None,
            password: None,
            r#become: None,
            known_hosts: None,
            proxy_jump: None,
        },
        hosts: NODES.map(host),
        system: System::default(),
        repositories: Repositories::default(),
        nginx: Some(Nginx {
            servers: vec![server],
            ..Nginx::default()
        }),
        vrrp: Some(Vrrp {
            engine: Engine::Keepalived,
            metrics_listen: None,
            global_defs: GlobalDefs::default(),
            scripts: vec![script],
            track_processes: vec![],
            instances: vec![instance],
        }),
    }
}

/// What goes wrong in the scripted pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// The VIP stays where it is.
    Stuck,
    /// The standby takes the VIP and the old owner keeps it.
    Split,
    /// The broken host's connection breaks when the fault is injected.
    LinkLost,
}

struct World {
    trouble: Trouble,
    preempt: bool,
    nginx: [bool; 2],
    engine: [bool; 2],
    owns: [bool; 2],
    watchers: [Option<UnboundedSender<Reply>>; 2],
    /// Requests that break or repair something, as `node-a: stop nginx.service`.
    log: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Both fake hosts have this machine's clock.
fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

impl World {
    fn set_owner(&mut self, host: usize, owns: bool) {
        self.owns[host] = owns;
        if let Some(watcher) = &self.watchers[host] {
            let _ = watcher.send(self.owned(host));
        }
    }

    fn owned(&self, host: usize) -> Reply {
        Reply::Owned {
            at_ms: now_ms(),
            addresses: if self.owns[host] { vec![VIP.into()] } else { vec![] },
        }
    }

    fn healthy(&self, host: usize) -> bool {
        self.nginx[host] && self.engine[host]
    }
}

/// What VRRP would do a moment later.
fn elect_soon(world: &Shared) {
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        let mut w = lock(&world);
        if w.trouble == Trouble::Stuck {
            return;
        }
        let owner = (0..2).find(|h| w.owns[*h]);
        let best = match owner {
            Some(owner) if w.healthy(owner) && !(w.preempt && owner == 1 && w.healthy(0)) => return,
            _ => (0..2).find(|h| w.healthy(*h)),
        };
        let Some(best) = best else { return };
        w.set_owner(best, true);
        if w.trouble != Trouble::Split {
            w.set_owner(1 - best, false);
        }
    });
}

struct FakeLink {
    index: usize,
    world: Shared,
    replies: UnboundedSender<Reply>,
    inbox: UnboundedReceiver<Reply>,
}

impl FakeLink {
    fn answer(&self, reply: Reply) -> Result<(), RemoteError> {
        self.replies.send(reply).map_err(|_| self.lost())
    }

    fn lost(&self) -> RemoteError {
        RemoteError {
            host: NODES[self.index].into(),
            kind: RemoteErrorKind::Lost,
            message: "the connection broke".into(),
            hints: vec![],
        }
    }
}

impl HostLink for FakeLink {
    fn host(&self) -> &str {
        NODES[self.index]
    }

    fn macs(&self) -> Vec<String> {
        vec![format!("02:00:00:00:00:0{}", self.index + 1)]
    }

    async fn send(&self, request: &Request) -> Result<(), RemoteError> {
        let mut w = lock(&self.world);
        let name = NODES[self.index];
        let reply = match request {
            Request::Status { .. } => Reply::Status {
                status: HostStatus {
                    host: name.into(),
                    engine: w.engine[self.index].then_some(Engine::Keepalived),
                    instances: vec![InstanceStatus {
                        name: "VI_1".into(),
                        state: match (w.engine[self.index], w.owns[self.index]) {
                            (false, _) => InstanceState::Stopped,
                            (true, true) => InstanceState::Master,
                            (true, false) => InstanceState::Backup,
                        },
                        priority: 100,
                        vips: vec![VIP.into()],
                        owns_vip: w.owns[self.index],
                        held: false,
                    }],
                    nginx: if w.nginx[self.index] { "active" } else { "inactive" }.into(),
                    drift: vec![],
                    drift_details: vec![],
                    transactions: vec![],
                },
            },
            Request::Watch { .. } => {
                w.watchers[self.index] = Some(self.replies.clone());
                w.owned(self.index)
            }
            Request::Unwatch => {
                w.watchers[self.index] = None;
                Reply::Ack
            }
            Request::Inject {
                fault: Fault::Stop { unit },
                undo_after,
            } => {
                w.log.push(format!("{name}: stop {unit}"));
                assert!(*undo_after > 0);
                if w.trouble == Trouble::LinkLost {
                    return Err(self.lost());
                }
                match unit.as_str() {
                    "nginx.service" => w.nginx[self.index] = false,
                    "keepalived.service" => {
                        w.engine[self.index] = false;
                        if w.trouble == Trouble::Nothing {
                            w.set_owner(self.index, false);
                        }
                    }
                    other => panic!("{other}"),
                }
                elect_soon(&self.world);
                Reply::Ack
            }
            Request::Repair {
                fault: Fault::Stop { unit },
            } => {
                w.log.push(format!("{name}: repair {unit}"));
                if w.trouble == Trouble::LinkLost {
                    return Err(self.lost());
                }
                w.nginx[self.index] = true;
                w.engine[self.index] = true;
                elect_soon(&self.world);
                Reply::Ack
            }
            other => panic!("not expected: {other:?}"),
        };
        drop(w);
        self.answer(reply)
    }

    async fn recv(&mut self) -> Result<Reply, RemoteError> {
        match self.inbox.recv().await {
            Some(reply) => Ok(reply),
            None => Err(self.lost()),
        }
    }
}

/// Answers like nginx on whoever owns the VIP; without an owner that can serve, the connection just closes.
fn serve(listener: TcpListener, world: Shared) {
    for stream in listener.incoming() {
        let (Ok(mut stream), world) = (stream, Arc::clone(&world)) else {
            return;
        };
        let mut request = Vec::new();
        let mut chunk = [0u8; 512];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
                _ => break,
            }
        }
        let node = {
            let w = lock(&world);
            (0..2).find(|h| w.owns[*h] && w.nginx[*h]).map(|h| NODES[h])
        };
        if let Some(node) = node {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nX-Hapair-Node: {node}\r\nContent-Length: 3\r\n\r\nok\n"
            );
        }
    }
}

struct Stage {
    world: Shared,
    links: [FakeLink; 2],
    plan: DrillPlan,
}

fn stage(trouble: Trouble, nopreempt: bool) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inventory = inventory(listener.local_addr().unwrap().port());
    inventory.vrrp.as_mut().unwrap().instances[0].nopreempt = nopreempt;
    let world = Arc::new(Mutex::new(World {
        trouble,
        preempt: !nopreempt,
        nginx: [true; 2],
        engine: [true; 2],
        owns: [true, false],
        watchers: [None, None],
        log: vec![],
    }));
    let for_server = Arc::clone(&world);
    // Ends with the test process: it blocks in accept.
    std::thread::spawn(move || serve(listener, for_server));
    let links = [0, 1].map(|index| {
        let (replies, inbox) = unbounded_channel();
        FakeLink {
            index,
            world: Arc::clone(&world),
            replies,
            inbox,
        }
    });
    let mut plan = DrillPlan::new(&inventory, &[], None).unwrap();
    plan.probe.interval = Duration::from_millis(5);
    plan.settled_streak = 5;
    Stage { world, links, plan }
}

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
        ["node-a was repaired: nginx.service was stopped on purpose"]
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
            .any(|h| h.contains("node-a undoes it by itself within")),
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
        (|w| w.owns = [false; 2], "nobody owns 127.0.0.1"),
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
    assert_eq!(plan.budget_for(Scenario::VrrpStop, 0, &[&plan.instances[0]]), 700);
    inventory.vrrp = None;
    let error = DrillPlan::new(&inventory, &[], None).unwrap_err();
    assert_eq!(error.to_string(), "inventory.yaml: there is no VRRP instance to drill");
    assert_eq!("nginx-stop".parse(), Ok(Scenario::NginxStop));
    assert!(
        "power-off"
            .parse::<Scenario>()
            .unwrap_err()
            .to_string()
            .contains("known are")
    );
}
