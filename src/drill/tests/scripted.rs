//! The scripted pair: two fake hosts and a local HTTP server whose answering node moves.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::drill::{DrillPlan, HostLink};
use crate::inventory::*;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::state::frame::VrrpOrder;
use crate::state::{Engine, Fault, HostStatus, InstanceState, InstanceStatus, Reply, Request};

const NODES: [&str; 2] = ["node-a", "node-b"];
const VIP: &str = "127.0.0.1";

/// A pair with one VIP on the loopback interface and timers of hundredths of a second.
pub(in crate::drill) fn inventory(port: u16) -> Inventory {
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
        auth_hmac: None,
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
pub(super) enum Trouble {
    Nothing,
    /// The VIP stays where it is.
    Stuck,
    /// The standby takes the VIP and the old owner keeps it.
    Split,
    /// The broken host's connection breaks when the fault is injected.
    LinkLost,
}

pub(super) struct World {
    trouble: Trouble,
    preempt: bool,
    pub(super) nginx: [bool; 2],
    pub(super) engine: [bool; 2],
    /// Which engine both run.
    pub(super) kind: Engine,
    /// How often a host refuses to take over before it does.
    pub(super) refusals: usize,
    /// An election alone moves no VIP back.
    pub(super) only_on_command: bool,
    pub(super) owns: [bool; 2],
    watchers: [Option<UnboundedSender<Reply>>; 2],
    /// Requests that break or repair something, as `node-a: stop nginx.service`.
    pub(super) log: Vec<String>,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn lock(world: &Shared) -> MutexGuard<'_, World> {
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
            Some(owner) if w.healthy(owner) && !(w.preempt && !w.only_on_command && owner == 1 && w.healthy(0)) => {
                return;
            }
            _ => (0..2).find(|h| w.healthy(*h)),
        };
        let Some(best) = best else { return };
        w.set_owner(best, true);
        if w.trouble != Trouble::Split {
            w.set_owner(1 - best, false);
        }
    });
}

pub(super) struct FakeLink {
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
        RemoteError::on(NODES[self.index], RemoteErrorKind::Lost, "the connection broke")
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
                    engine: w.engine[self.index].then_some(w.kind),
                    instances: vec![InstanceStatus {
                        name: "VI_1".into(),
                        state: match (w.engine[self.index], w.owns[self.index]) {
                            (false, _) => InstanceState::Stopped,
                            (true, true) => InstanceState::Master,
                            (true, false) => InstanceState::Backup,
                        },
                        priority: if w.nginx[self.index] { [101, 100] } else { [96, 95] }[self.index],
                        vips: vec![VIP.into()],
                        owns_vip: w.owns[self.index],
                        held: false,
                        raised: None,
                    }],
                    running: vec![],
                    disabled_checks: vec![],
                    warnings: vec![],
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
                    "keepalived.service" | "hapair-agent.service" => {
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
            Request::Vrrp {
                order: VrrpOrder::TakeOver { instances, seconds },
            } => {
                w.log.push(format!("{name}: take over {}", instances.join(" ")));
                assert!(seconds.is_some_and(|s| s <= 60), "the raise must end by itself");
                if w.refusals > 0 {
                    w.refusals -= 1;
                    Reply::Error {
                        message: "VI_1: a check has not answered yet".into(),
                        hints: vec![],
                    }
                } else {
                    w.set_owner(self.index, true);
                    w.set_owner(1 - self.index, false);
                    Reply::Ack
                }
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

pub(super) struct Stage {
    pub(super) world: Shared,
    pub(super) links: [FakeLink; 2],
    pub(super) plan: DrillPlan,
}

pub(super) fn stage(trouble: Trouble, nopreempt: bool) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inventory = inventory(listener.local_addr().unwrap().port());
    inventory.vrrp.as_mut().unwrap().instances[0].nopreempt = nopreempt;
    let world = Arc::new(Mutex::new(World {
        trouble,
        preempt: !nopreempt,
        nginx: [true; 2],
        engine: [true; 2],
        kind: Engine::Keepalived,
        refusals: 0,
        only_on_command: false,
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
