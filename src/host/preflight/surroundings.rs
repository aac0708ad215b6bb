//! What is on the host beside what hapair puts there, read cheaply: files, /proc and /sys.

use std::net::IpAddr;

use crate::host::observe::facts::net;
use crate::host::observe::links::{self, Master, MasterKind};
use crate::host::observe::packet_filter::Rules;
use crate::host::observe::processes::{self, Process};
use crate::host::observe::sockets;
use crate::host::observe::speakers::{self, Speaker};
use crate::host::observe::static_addresses::{self, StaticAddress};
use crate::host::observe::tools::Tools;
use crate::host::os::disk::{self, Room};
use crate::host::os::root::Root;
use crate::state::resource::Spec;
use crate::state::{Engine, HostState};

/// Units, besides those of the engines, that `tools` must know.
pub const UNITS: [&str; 2] = [FIREWALLD, NGINX];
const FIREWALLD: &str = "firewalld.service";
const NGINX: &str = "nginx.service";

/// Where hapair and the package managers write.
const WRITTEN: [&str; 4] = ["/", "/etc", "/usr", "/var"];

/// What was read. [`super::judge`] says what it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// An engine of hapair's runs: `hapair-agent.service` or `keepalived.service`.
    pub engine_runs: bool,
    /// VIPs in the network configuration.
    pub static_vips: Vec<StaticAddress>,
    /// VIPs that are on an interface now, with its name.
    pub live_vips: Vec<(IpAddr, String)>,
    /// Programs that speak VRRP.
    pub speakers: Vec<Speaker>,
    /// Programs that listen on ports of the load balancer.
    pub listeners: Vec<Listener>,
    /// Interfaces that are ports of something else.
    pub ports: Vec<(String, Master)>,
    /// Interfaces that are there, `lo` excepted.
    pub interfaces: Vec<String>,
    /// Interfaces that are not there and that no profile would make.
    pub missing_interfaces: Vec<String>,
    /// Rules in force, where they are to be judged.
    pub filter: Rules,
    /// Certificates and keys that are not there.
    pub missing_files: Vec<String>,
    /// Room where something is to be written.
    pub room: Vec<Room>,
}

/// A program that listens on a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The program's process.
    pub process: Process,
    /// The address that it listens on.
    pub address: IpAddr,
    /// 1 to 65535.
    pub port: u16,
}

/// Reads all that concerns this state. `new_instances` are those that are not in force yet: what needs another program to
/// run is read only for them.
pub(crate) fn read(root: &Root, state: &HostState, tools: &Tools, new_instances: &[String]) -> Surroundings {
    let vips: Vec<IpAddr> = state
        .instances
        .iter()
        .flat_map(|i| &i.vips)
        .filter_map(|vip| vip.parse().ok())
        .collect();
    let engines = [Engine::Agent, Engine::Keepalived].map(|engine| tools.unit(engine.unit()));
    let likely: Vec<u32> = engines.iter().map(|unit| unit.main_pid).collect();
    let judges_filter =
        !new_instances.is_empty() && !state.needs.adverts.is_empty() && !firewalld_decides(state, tools);
    let mut interfaces = root.names("/sys/class/net");
    interfaces.retain(|name| name != "lo" && root.path(&format!("/sys/class/net/{name}")).is_dir());
    Surroundings {
        engine_runs: engines.iter().any(|unit| unit.is_active()),
        static_vips: match vips.is_empty() {
            true => Vec::new(),
            false => static_addresses::among(root, &vips),
        },
        live_vips: live(root, &vips),
        speakers: match state.instances.is_empty() {
            true => Vec::new(),
            false => speakers::speakers(root, &likely),
        },
        listeners: listeners(root, state, tools),
        ports: ports(root, state),
        missing_interfaces: missing_interfaces(root, state, &interfaces),
        interfaces,
        filter: if judges_filter {
            Rules::read(root)
        } else {
            Rules::default()
        },
        missing_files: missing_files(root, state),
        room: if root.is_live() {
            disk::room(root, &WRITTEN)
        } else {
            Vec::new()
        },
    }
}

/// Rules in force now say nothing where firewalld runs and is to stop, or is to be managed by hapair: it takes its rules
/// with it, or gets those that let the peer in.
fn firewalld_decides(state: &HostState, tools: &Tools) -> bool {
    let managed = state.resources.iter().any(|r| matches!(r.spec, Spec::Firewall(_)));
    let stopped = state
        .resources
        .iter()
        .any(|r| matches!(&r.spec, Spec::Service { unit, active: Some(false), .. } if unit == FIREWALLD));
    (managed || stopped) && tools.unit(FIREWALLD).is_active()
}

fn live(root: &Root, vips: &[IpAddr]) -> Vec<(IpAddr, String)> {
    if vips.is_empty() || !root.is_live() {
        return Vec::new();
    }
    let all = net::addresses().into_iter();
    let named = all.flat_map(|(name, list)| list.into_iter().map(move |(address, _)| (address, name.clone())));
    named.filter(|(address, _)| vips.contains(address)).collect()
}

fn listeners(root: &Root, state: &HostState, tools: &Tools) -> Vec<Listener> {
    let wanted: Vec<u16> = state.needs.listens.iter().map(|need| need.port).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let table = |name: &str| sockets::listening(&root.read(&format!("/proc/net/{name}")).unwrap_or_default());
    let mut lines = table("tcp");
    lines.extend(table("tcp6"));
    lines.retain(|line| wanted.contains(&line.port));
    if lines.is_empty() {
        return Vec::new();
    }
    let inodes: Vec<u64> = lines.iter().map(|line| line.inode).collect();
    let owners = processes::owners(root, &inodes, &[tools.unit(NGINX).main_pid]);
    let listener = |line: sockets::SocketLine| Listener {
        process: owners.get(&line.inode).cloned().unwrap_or_default(),
        address: line.address,
        port: line.port,
    };
    lines.into_iter().map(listener).collect()
}

fn ports(root: &Root, state: &HostState) -> Vec<(String, Master)> {
    let masters = state
        .needs
        .interfaces
        .iter()
        .filter_map(|name| Some((name.clone(), links::master(root, name)?)));
    // A port of a VRF has its own addresses, and that is as it should be.
    let has_addresses = |name: &str| root.is_live() && !net::addresses_of(name).is_empty();
    masters
        .filter(|(name, master)| master.kind != MasterKind::Other || !has_addresses(name))
        .collect()
}

/// A bond or a VLAN is made when its profile is activated.
fn missing_interfaces(root: &Root, state: &HostState, there: &[String]) -> Vec<String> {
    // Without /sys nothing is known.
    if there.is_empty() {
        return Vec::new();
    }
    let made = |name: &str| {
        let profile = state.resources.iter().find_map(|r| match &r.spec {
            Spec::Network(spec) if spec.interface == name => Some(&spec.path),
            _ => None,
        });
        let usual = format!("/etc/sysconfig/network-scripts/ifcfg-{name}");
        [Some(usual.as_str()), profile.map(String::as_str)]
            .into_iter()
            .flatten()
            .any(|path| root.path(path).exists())
    };
    let needed = state.needs.interfaces.iter();
    needed
        .filter(|name| !there.contains(name) && !made(name))
        .cloned()
        .collect()
}

fn missing_files(root: &Root, state: &HostState) -> Vec<String> {
    let is_file = |path: &str| std::fs::metadata(root.path(path)).is_ok_and(|m| m.is_file());
    let needed = state.needs.tls_files.iter();
    needed.filter(|path| !is_file(path)).cloned().collect()
}
