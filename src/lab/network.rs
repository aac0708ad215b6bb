//! The lab's network: a bridge in a namespace of its own, and the controller's namespace with its addresses.
//!
//! The twins' namespaces are made by their supervisor at every boot (`files/host.sh`), so that a reboot starts from a
//! bare interface. Nothing here touches the machine's own namespace but the two names in `/run/netns`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::error::{Doing, LabError};
use super::paths::Paths;
use super::process;
use super::spec::{LabSpec, TwinSpec};

/// Name of the controller's interface.
const CONTROLLER_IF: &str = "eth0";

/// The bridge's end of a twin's cable; interface names are at most 15 bytes, so it goes by position.
pub(super) fn port(host: usize, interface: usize) -> String {
    format!("twin{host}if{interface}")
}

/// A locally administered MAC address that stays the same over reboots.
pub(super) fn mac(host: usize, interface: usize) -> String {
    format!("52:54:00:6c:{host:02x}:{interface:02x}")
}

fn ip(namespace: &str, args: &[&str]) -> Result<(), LabError> {
    process::run("ip", ["-n", namespace].iter().chain(args)).map(drop)
}

/// Makes both namespaces.
pub(super) fn create(paths: &Paths, spec: &LabSpec) -> Result<(), LabError> {
    let (bridge, controller) = (paths.bridge_ns(), paths.controller_ns());
    for namespace in [&bridge, &controller] {
        process::run("ip", ["netns", "add", namespace])?;
        ip(namespace, &["link", "set", "lo", "up"])?;
    }
    // Packets between twins never pass this namespace's own filters or routes: it has neither.
    ip(
        &bridge,
        &[
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ],
    )?;
    ip(&bridge, &["link", "set", "br0", "up"])?;
    let peer = ["type", "veth", "peer", "name", "controller", "netns", &bridge];
    ip(
        &controller,
        &[
            &["link", "add", "name", CONTROLLER_IF, "address", "52:54:00:6c:ff:00"],
            &peer[..],
        ]
        .concat(),
    )?;
    ip(
        &bridge,
        &["link", "set", "controller", "mtu", "9216", "master", "br0", "up"],
    )?;
    route_between_subnets(&controller)?;
    ip(&controller, &["link", "set", CONTROLLER_IF, "up"])?;
    add_addresses(&controller, spec)
}

/// A router between the twins' subnets, as their real one is, but with nothing behind it.
fn route_between_subnets(controller: &str) -> Result<(), LabError> {
    in_namespace(controller, || {
        for (key, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            ("ipv4/ip_nonlocal_bind", "1"),
            ("ipv6/ip_nonlocal_bind", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/ip_unprivileged_port_start", "0"),
            ("ipv4/ping_group_range", "0 2147483647"),
        ] {
            let path = Path::new("/proc/sys/net").join(key);
            match std::fs::write(&path, value) {
                // A machine without IPv6 has no such files.
                Err(e) if !(e.kind() == std::io::ErrorKind::NotFound && key.starts_with("ipv6")) => {
                    return Err(e).at("write", &path);
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// The controller's addresses, and its ways to the VIPs.
fn add_addresses(controller: &str, spec: &LabSpec) -> Result<(), LabError> {
    for (address, prefix) in interface_addresses(spec) {
        let address = format!("{address}/{prefix}");
        let mut args = vec!["address", "add", &address, "dev", CONTROLLER_IF];
        if address.contains(':') {
            args.push("nodad");
        }
        ip(controller, &args)?;
    }
    for address in loopback_addresses(spec) {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        ip(
            controller,
            &["address", "add", &format!("{address}/{prefix}"), "dev", "lo"],
        )?;
    }
    for vip in &spec.vips {
        // A VIP outside every subnet is still on this cable.
        let prefix = if vip.is_ipv4() { 32 } else { 128 };
        ip(
            controller,
            &["route", "replace", &format!("{vip}/{prefix}"), "dev", CONTROLLER_IF],
        )?;
    }
    Ok(())
}

/// Its own address in each subnet and the gateways it plays there, with prefixes.
fn interface_addresses(spec: &LabSpec) -> Vec<(IpAddr, u8)> {
    let mut list = Vec::new();
    for segment in &spec.segments {
        for address in std::iter::once(&segment.controller).chain(&segment.gateways) {
            let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
            let entry = (*address, if link_local { 64 } else { segment.prefix });
            if !list.iter().any(|(known, _)| known == address) {
                list.push(entry);
            }
        }
    }
    list
}

/// Addresses that are reached through the gateway, or by ARP where they are in a subnet.
fn loopback_addresses(spec: &LabSpec) -> BTreeSet<IpAddr> {
    let on_interface: BTreeSet<IpAddr> = interface_addresses(spec).into_iter().map(|(a, _)| a).collect();
    let upstreams = spec.upstreams.iter().map(|(address, _)| *address);
    let all = upstreams
        .chain(spec.resolvers.iter().copied())
        .chain(spec.others.iter().copied());
    all.filter(|address| !on_interface.contains(address)).collect()
}

/// Runs something on a thread inside a namespace.
pub(super) fn in_namespace<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            process::enter_namespace(name)?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A twin's cable at the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cable {
    /// Plugged in.
    Joined,
    /// Pulled out; it stays out over a reboot.
    Cut,
}

/// Cuts or joins a twin's cables at the bridge: the twin sees its carrier go and come.
pub(super) fn set_cable(paths: &Paths, index: usize, twin: &TwinSpec, cable: Cable) -> Result<(), LabError> {
    let mark = paths.host(&twin.name).join("cut");
    // The mark makes a cut outlive a reboot.
    let state = match cable {
        Cable::Joined => match std::fs::remove_file(&mark) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at("remove", &mark),
            _ => "up",
        },
        Cable::Cut => {
            std::fs::write(&mark, "").at("write", &mark)?;
            "down"
        }
    };
    for interface in 0..1 + usize::from(twin.management.is_some()) {
        ip(&paths.bridge_ns(), &["link", "set", &port(index, interface), state])?;
    }
    Ok(())
}

/// Removes both namespaces; those that are not there are fine.
pub(super) fn remove(paths: &Paths) -> Result<(), LabError> {
    for namespace in [paths.controller_ns(), paths.bridge_ns()] {
        let path = Path::new("/run/netns").join(&namespace);
        if path.symlink_metadata().is_err() {
            continue;
        }
        // A kill between creating the file and mounting the namespace on it leaves a plain file.
        if process::run("ip", ["netns", "delete", &namespace]).is_err() {
            std::fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}
