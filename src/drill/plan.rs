//! What a drill does and by when, from the inventory. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::budget::{self, Watcher};
use super::error::{DrillError, DrillErrorKind};
use super::scenario::Scenario;
use crate::inventory::{Instance, Inventory, ScriptKind, Side, Vrrp};
use crate::probe::{ProbeConfig, ProbeTarget};
use crate::state::resource::InstanceRef;
use crate::state::{HEALTH_PATH, HostState};

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct DrillPlan {
    /// Name of the pair.
    pub pair: String,
    /// Engine of the inventory, for the report.
    pub engine: String,
    /// Both hosts, in the inventory's order; links must come in the same.
    pub hosts: [String; 2],
    /// What to break, in order.
    pub scenarios: Vec<Scenario>,
    /// Most ms without service that pass, instead of the computed ones.
    pub budget_ms: Option<u64>,
    /// Virtual routers, with what to probe.
    pub instances: Vec<InstancePlan>,
    /// What each host is asked its status with: hosts, instances and engine are enough. Callers that have the full
    /// desired state may put it here.
    pub states: [HostState; 2],
    /// The unit that runs nginx.
    pub nginx_unit: String,
    /// How the VIPs are probed.
    pub probe: ProbeConfig,
    /// Time between ARP requests.
    pub arp_interval: Duration,
    /// Answers in a row from one node until it counts as settled.
    pub settled_streak: u64,
    /// How long the healthy pair may take to show one owner and a steadily answering VIP; deadlines after a fault are
    /// this much longer than computed.
    pub patience: Duration,
    /// Limit for one request to a host: `systemctl stop` and `start` may take their time.
    pub request_timeout: Duration,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct InstancePlan {
    /// `VI_1`.
    pub name: String,
    /// Its VIPs, and how each is probed.
    pub endpoints: Vec<Endpoint>,
    /// Host with the higher priority.
    pub preferred: String,
    /// The preferred host preempts.
    pub preempt: bool,
    /// It does so as soon as it can (no `preempt_delay`).
    pub at_once: bool,
    /// For each scenario of the plan, by broken host: expected time until the other host owns the VIP; `None`: nothing
    /// would notice. Same order as `DrillPlan::hosts`.
    expected: Vec<(Scenario, [Option<Duration>; 2], [Duration; 2])>,
    /// Why a failover might not come, by scenario: said when it does not.
    doubts: Vec<(Scenario, String)>,
}

/// A VIP and how it is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Without prefix.
    pub vip: IpAddr,
    /// What is asked.
    pub target: ProbeTarget,
}

impl Endpoint {
    /// `http:80` or `tcp:443`.
    pub fn probed(&self) -> String {
        match &self.target {
            ProbeTarget::Http { addr, .. } => format!("http:{}", addr.port()),
            ProbeTarget::Tcp { addr } => format!("tcp:{}", addr.port()),
        }
    }
}

impl InstancePlan {
    /// Expected time until the other host owns the VIP once `scenario` hits the host `broken`.
    pub fn expected_move(&self, scenario: Scenario, broken: Side) -> Option<Duration> {
        self.expected.iter().find(|e| e.0 == scenario).and_then(|e| e.1[broken])
    }

    /// Expected time until the host `broken` could have the VIP back after the repair.
    pub fn expected_return(&self, scenario: Scenario, broken: Side) -> Duration {
        self.expected
            .iter()
            .find(|e| e.0 == scenario)
            .map(|e| e.2[broken])
            .unwrap_or_default()
    }

    /// Who is to own the VIP in the end, when `broken` owned it before.
    pub fn owner_in_the_end<'a>(&'a self, broken: &'a str, other: &'a str) -> &'a str {
        if self.preempt && self.preferred == broken {
            broken
        } else {
            other
        }
    }

    /// Why the VIP might not move, when there is a known reason.
    pub fn doubt(&self, scenario: Scenario) -> Option<&str> {
        self.doubts.iter().find(|d| d.0 == scenario).map(|d| d.1.as_str())
    }
}

impl DrillPlan {
    /// A plan for this inventory; no scenarios given means all.
    ///
    /// # Errors
    /// When the inventory has no VIP, or the scenario cannot work with it (nothing watches nginx).
    pub fn new(inventory: &Inventory, scenarios: &[Scenario], budget_ms: Option<u64>) -> Result<DrillPlan, DrillError> {
        let fail = |message: String| DrillError::of(DrillErrorKind::Usage, message);
        let vrrp = inventory
            .vrrp
            .as_ref()
            .filter(|v| !v.instances.is_empty())
            .ok_or_else(|| {
                fail(format!(
                    "{}: the inventory has no VRRP instance to drill",
                    inventory.path.display()
                ))
                .hint("add a `vrrp` section with an instance, and apply it")
            })?;
        let hosts = inventory.hosts.each_ref().map(|host| host.name.clone());
        let scenarios = if scenarios.is_empty() {
            Scenario::ALL.to_vec()
        } else {
            scenarios.to_vec()
        };
        if scenarios.contains(&Scenario::NginxStop) {
            for instance in &vrrp.instances {
                if budget::watchers(vrrp, instance).is_empty() {
                    return Err(fail(format!(
                        "nginx-stop cannot pass: instance {} tracks nothing that watches nginx",
                        instance.name
                    ))
                    .hint("give the instance a `track_script` of kind `http` or `restart`")
                    .hint("or run only the other scenario: `--scenario vrrp-stop`"));
                }
            }
        }
        let instances: Vec<_> = vrrp
            .instances
            .iter()
            .map(|i| instance_plan(inventory, vrrp, i, &scenarios))
            .collect();
        if instances.iter().all(|i| i.endpoints.is_empty()) {
            return Err(fail(format!("{}: no instance has a VIP", inventory.path.display())));
        }
        let state = |host: &crate::inventory::Host| HostState {
            host: host.name.clone(),
            pair: inventory.name.clone(),
            engine: Some(vrrp.engine),
            instances: vrrp.instances.iter().map(|i| instance_ref(host, i)).collect(),
            ..HostState::default()
        };
        let nginx_unit = vrrp.scripts.iter().find_map(|s| match &s.kind {
            ScriptKind::Restart { unit: Some(unit), .. } => Some(unit.clone()),
            _ => None,
        });
        Ok(DrillPlan {
            pair: inventory.name.clone(),
            engine: vrrp.engine.to_string(),
            states: inventory.hosts.each_ref().map(state),
            hosts,
            scenarios,
            budget_ms,
            instances,
            nginx_unit: nginx_unit.unwrap_or_else(|| "nginx.service".into()),
            probe: ProbeConfig::default(),
            arp_interval: Duration::from_millis(50),
            settled_streak: 20,
            patience: Duration::from_secs(10),
            request_timeout: Duration::from_secs(120),
        })
    }

    /// Most ms without service that pass, when the host `broken` owns these instances.
    pub fn budget_for(&self, scenario: Scenario, broken: Side, owned: &[&InstancePlan]) -> u64 {
        self.budget_ms.unwrap_or_else(|| {
            let expected = last_move(scenario, broken, owned);
            budget::with_margin(expected).as_millis() as u64
        })
    }

    /// How long to wait for the VIP to move before giving up: well past the computed time, so that a slow failover is
    /// measured and not cut off.
    pub fn move_deadline(&self, scenario: Scenario, broken: Side, owned: &[&InstancePlan]) -> Duration {
        let expected = last_move(scenario, broken, owned);
        let budget = Duration::from_millis(self.budget_ms.unwrap_or(0));
        budget::with_margin(expected).max(budget) * 2 + self.patience
    }

    /// How long to wait for the pair to settle after the repair.
    pub fn return_deadline(&self, scenario: Scenario, broken: Side, owned: &[&InstancePlan]) -> Duration {
        let expected = owned
            .iter()
            .map(|i| i.expected_return(scenario, broken))
            .max()
            .unwrap_or_default();
        budget::with_margin(expected) * 2 + self.patience * 2
    }
}

/// When the last of these instances has moved from the host `broken`, if any does.
fn last_move(scenario: Scenario, broken: Side, owned: &[&InstancePlan]) -> Duration {
    let moves = owned.iter().filter_map(|i| i.expected_move(scenario, broken));
    moves.max().unwrap_or_default()
}

fn instance_plan(inventory: &Inventory, vrrp: &Vrrp, instance: &Instance, scenarios: &[Scenario]) -> InstancePlan {
    let names = inventory.hosts.each_ref().map(|host| host.name.as_str());
    let expected = scenarios.iter().map(|scenario| {
        let moves = [Side::Second, Side::First]
            .map(|other: Side| budget::expected_move(*scenario, vrrp, instance, names[other]));
        let returns = names.map(|owner| budget::expected_return(*scenario, vrrp, instance, owner));
        (*scenario, moves, returns)
    });
    let mut doubts = Vec::new();
    let weighted = budget::watchers(vrrp, instance).iter().any(|w| match w {
        Watcher::Script(s) => s.weight != 0,
        Watcher::Process(p) => p.weight != 0,
    });
    if instance.nopreempt && weighted {
        doubts.push((
            Scenario::NginxStop,
            format!(
                "instance {} has `nopreempt`, and its check lowers the priority by `weight`: a standby that may not \
                 preempt stays where it is; use `weight: 0`, so that a failed check means FAULT",
                instance.name
            ),
        ));
    }
    InstancePlan {
        name: instance.name.clone(),
        endpoints: instance
            .virtual_ipaddress
            .iter()
            .map(|v| endpoint(inventory, v.address.addr()))
            .collect(),
        preferred: instance.preferred().to_owned(),
        preempt: !instance.nopreempt,
        at_once: instance.preempt_delay.is_none_or(|seconds| seconds == 0),
        expected: expected.collect(),
        doubts,
    }
}

/// The first plain-HTTP port where nginx answers on this VIP; else its first TLS port by TCP connect; where nginx is
/// not hapair's business, HTTP on port 80.
fn endpoint(inventory: &Inventory, vip: IpAddr) -> Endpoint {
    let servers = inventory.nginx.iter().flat_map(|n| &n.servers);
    let here: Vec<_> = servers
        .filter(|s| s.listen.address.is_none_or(|a| a.is_unspecified() || a == vip))
        .collect();
    let http = |port| ProbeTarget::Http {
        addr: SocketAddr::new(vip, port),
        host: match vip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        },
        // Answered by nginx itself, so that a failing upstream does not count as a failing pair. Where it does not
        // answer, the drill asks for `/` instead.
        path: if inventory.nginx.is_some() {
            HEALTH_PATH.into()
        } else {
            "/".into()
        },
        server_errors_fail: true,
    };
    let target = match (here.iter().find(|s| !s.tls), here.first()) {
        (Some(plain), _) => http(plain.listen.port),
        (None, Some(tls)) => ProbeTarget::Tcp {
            addr: SocketAddr::new(vip, tls.listen.port),
        },
        (None, None) => http(80),
    };
    Endpoint { vip, target }
}

fn instance_ref(host: &crate::inventory::Host, instance: &Instance) -> InstanceRef {
    let interface = instance
        .interface
        .clone()
        .or_else(|| host.network.as_ref().map(|n| n.interface.clone()));
    InstanceRef {
        name: instance.name.clone(),
        interface: interface.unwrap_or_default(),
        virtual_router_id: instance.virtual_router_id,
        priority: instance.priorities.get(&host.name).copied().unwrap_or_default(),
        vips: instance
            .virtual_ipaddress
            .iter()
            .map(|v| v.address.addr().to_string())
            .collect(),
    }
}
