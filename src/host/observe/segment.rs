//! What the segment says about a network profile: is the address free, does the gateway answer.
//!
//! A wrong gateway in the right subnet cuts off nobody beside it, so that a confirm alone would never notice.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::host::observe::facts::net;
use crate::host::os::arp::{self, Interface};
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::state::resource::NetworkSpec;

/// Three questions are on the way by then.
const MOMENT: Duration = Duration::from_millis(1400);

/// Refuses a profile that this segment shows to be wrong, before anything is touched.
///
/// # Errors
/// There is no such interface, another station has the address, or nobody is the gateway.
pub fn preflight(root: &Root, spec: &NetworkSpec) -> Result<()> {
    let name = &spec.interface;
    let known = root.path(&format!("/sys/class/net/{name}")).exists();
    // A bond or a VLAN is made when its profile is activated.
    if !known && !root.path(&spec.path).exists() {
        let mut there = root.names("/sys/class/net");
        there.retain(|n| n != "lo");
        return Err(Error::new(format!(
            "there is no interface {name} on this host, only {}",
            there.join(", ")
        ))
        .hint("see `network.interface` in the inventory"));
    }
    let Some(interface) = Interface::named(root, name) else {
        return Ok(());
    };
    let own: Vec<(Ipv4Addr, u8)> = addresses(&net::addresses_of(name));
    for (address, _) in addresses(&spec.addresses) {
        if !net::owned(&[address.to_string()]).is_empty() {
            continue;
        }
        // Without an address of our own in the question: it must not spoil the tables of the host that has it.
        if let Ok(Some(mac)) = arp::who_has(root, interface, address, Ipv4Addr::UNSPECIFIED, MOMENT) {
            return Err(
                Error::new(format!("{address} is in use already: {mac} answers for it on {name}"))
                    .hint("check `network.address` in the inventory, or find out which machine has that MAC address"),
            );
        }
    }
    let Some(gateway) = gateway(spec) else { return Ok(()) };
    // Elsewhere it can be asked only once the profile is active.
    let beside = own
        .iter()
        .find(|(address, prefix)| same_subnet(*address, gateway, *prefix));
    match beside {
        Some((address, _)) if !is_default(root, spec) && is_unanswered(root, interface, gateway, *address, MOMENT) => {
            Err(nobody(gateway, name))
        }
        _ => Ok(()),
    }
}

/// What is to be asked of the gateway once a profile is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// It must answer.
    MustAnswer,
    /// There is none, or it is the one in use and did not answer before either: not a fault of the change.
    NotAsked,
}

/// To be asked before the profile is touched.
pub fn expected(root: &Root, spec: &NetworkSpec) -> Gateway {
    let Some(gateway) = gateway(spec) else {
        return Gateway::NotAsked;
    };
    if !is_default(root, spec) {
        return Gateway::MustAnswer;
    }
    let own = addresses(&net::addresses_of(&spec.interface));
    let asked = Interface::named(root, &spec.interface).zip(own.first().copied());
    match asked {
        Some((interface, (address, _))) if !is_unanswered(root, interface, gateway, address, MOMENT) => {
            Gateway::MustAnswer
        }
        _ => Gateway::NotAsked,
    }
}

/// Waits until the gateway of an active profile answers. `stop` is asked now and then.
///
/// # Errors
/// Nobody answers within `patience`, or `stop` says so.
pub fn await_gateway(
    root: &Root,
    spec: &NetworkSpec,
    patience: Duration,
    stop: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let (Some(gateway), Some((address, _))) = (gateway(spec), addresses(&spec.addresses).first().copied()) else {
        return Ok(());
    };
    let began = Instant::now();
    loop {
        stop()?;
        // A port that is just coming up has no link for a moment.
        match Interface::named(root, &spec.interface) {
            Some(interface) if is_unanswered(root, interface, gateway, address, MOMENT) => {}
            Some(_) => return Ok(()),
            None => std::thread::sleep(Duration::from_millis(200)),
        }
        if began.elapsed() > patience {
            return Err(nobody(gateway, &spec.interface));
        }
    }
}

fn nobody(gateway: Ipv4Addr, interface: &str) -> Error {
    Error::new(format!("nobody answers as the gateway {gateway} on {interface}"))
        .hint("see `network.gateway`, the prefix of `network.address` and `network.interface` in the inventory")
}

/// Nobody answered for the gateway. Where it cannot be asked nothing is known against it.
fn is_unanswered(root: &Root, interface: Interface, gateway: Ipv4Addr, own: Ipv4Addr, patience: Duration) -> bool {
    matches!(arp::who_has(root, interface, gateway, own, patience), Ok(None))
}

fn gateway(spec: &NetworkSpec) -> Option<Ipv4Addr> {
    spec.gateway.as_ref()?.parse().ok()
}

/// It is the default gateway already.
fn is_default(root: &Root, spec: &NetworkSpec) -> bool {
    net::default_routes(root)
        .iter()
        .any(|r| Some(&r.gateway) == spec.gateway.as_ref() && r.interface == spec.interface)
}

/// The IPv4 ones of `192.168.0.201/24`.
fn addresses(list: &[String]) -> Vec<(Ipv4Addr, u8)> {
    let parse = |text: &String| {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok()?))
    };
    list.iter().filter_map(parse).collect()
}

fn same_subnet(a: Ipv4Addr, b: Ipv4Addr, prefix: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    u32::from(a) & mask == u32::from(b) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_from_all_to_one() {
        let (a, b) = (Ipv4Addr::new(192, 168, 0, 202), Ipv4Addr::new(192, 168, 0, 193));
        assert!(same_subnet(a, b, 28) && same_subnet(a, b, 0));
        assert!(!same_subnet(a, b, 29) && !same_subnet(a, b, 32));
        assert!(same_subnet(a, a, 32));
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_before_anything_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sys/class/net/eth0")).unwrap();
        let root = Root::at(dir.path());
        let spec = NetworkSpec {
            interface: "enp0s9".into(),
            path: "/etc/sysconfig/network-scripts/ifcfg-enp0s9".into(),
            edits: Vec::new(),
            create: String::new(),
            mode: 0o644,
            manager: crate::state::NetworkManagerKind::NetworkService,
            addresses: vec!["192.168.0.202/24".into()],
            gateway: None,
        };
        let error = preflight(&root, &spec).unwrap_err();
        assert!(
            error.message.contains("enp0s9") && error.message.contains("eth0"),
            "{error}"
        );
        std::fs::create_dir_all(dir.path().join("etc/sysconfig/network-scripts")).unwrap();
        std::fs::write(dir.path().join(&spec.path[1..]), "VLAN=yes\n").unwrap();
        assert!(preflight(&root, &spec).is_ok());
    }
}
