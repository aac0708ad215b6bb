//! Interfaces, addresses, routes, profiles and who manages them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::host::os::root::Root;
use crate::state::facts::{DefaultRoute, ProfileFormat};
use crate::state::{Facts, Interface, NetworkManagerKind, Profile};

/// Where the network scripts read `ifcfg-*` files.
pub(crate) const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
/// Where NetworkManager reads keyfiles that stay over a boot.
pub(crate) const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";

/// Every address with prefix, by interface; IPv4 first, in the kernel's order.
pub fn addresses() -> BTreeMap<String, Vec<(IpAddr, u32)>> {
    let mut found: BTreeMap<String, Vec<(IpAddr, u32)>> = BTreeMap::new();
    let Ok(list) = nix::ifaddrs::getifaddrs() else {
        return found;
    };
    for entry in list {
        let (Some(address), Some(mask)) = (entry.address, entry.netmask) else {
            continue;
        };
        let pair = if let (Some(a), Some(m)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            (IpAddr::V4(a.ip()), u32::from(m.ip()).count_ones())
        } else if let (Some(a), Some(m)) = (address.as_sockaddr_in6(), mask.as_sockaddr_in6()) {
            (IpAddr::V6(a.ip()), u128::from(m.ip()).count_ones())
        } else {
            continue;
        };
        found.entry(entry.interface_name).or_default().push(pair);
    }
    for list in found.values_mut() {
        list.sort_by_key(|(a, _)| a.is_ipv6());
    }
    found
}

/// Addresses of one interface, as `192.168.0.201/24`.
pub fn addresses_of(interface: &str) -> Vec<String> {
    let list = addresses().remove(interface).unwrap_or_default();
    list.iter()
        .map(|(address, prefix)| format!("{address}/{prefix}"))
        .collect()
}

/// Which of these (without prefix) are on any interface of this host, in the order given.
pub fn owned(wanted: &[String]) -> Vec<String> {
    let all: Vec<IpAddr> = addresses().into_values().flatten().map(|(a, _)| a).collect();
    wanted
        .iter()
        .filter(|w| w.parse::<IpAddr>().is_ok_and(|a| all.contains(&a)))
        .cloned()
        .collect()
}

/// Every interface but `lo`; managers and profiles are filled in later, when the units are known.
pub(crate) fn interfaces(root: &Root) -> Vec<Interface> {
    let mut by_name = if root.is_live() { addresses() } else { BTreeMap::new() };
    let profiles = profiles(root);
    let of = |name: &str| {
        let file = |leaf: &str| root.line(&format!("/sys/class/net/{name}/{leaf}"));
        let mac = file("address").to_lowercase();
        let addresses = by_name.remove(name).unwrap_or_default();
        Interface {
            name: name.to_owned(),
            addresses: addresses.iter().map(|(a, p)| format!("{a}/{p}")).collect(),
            manager: NetworkManagerKind::Nobody,
            profile: choose(&profiles, name, &mac),
            mac,
        }
    };
    let names = root.names("/sys/class/net");
    names
        .iter()
        .filter(|n| *n != "lo" && root.path(&format!("/sys/class/net/{n}")).is_dir())
        .map(|n| n.as_str())
        .map(of)
        .collect()
}

/// IPv4 default routes of the main table, from `/proc/net/route` (little-endian hexadecimal), best first.
pub fn default_routes(root: &Root) -> Vec<DefaultRoute> {
    let text = root.read("/proc/net/route").unwrap_or_default();
    let mut routes: Vec<DefaultRoute> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let field: Vec<&str> = line.split_whitespace().collect();
            let [interface, destination, gateway, flags, _, _, metric, mask, ..] = field[..] else {
                return None;
            };
            let flags = u32::from_str_radix(flags, 16).ok()?;
            // RTF_UP and RTF_GATEWAY
            if destination != "00000000" || mask != "00000000" || flags & 3 != 3 {
                return None;
            }
            let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.swap_bytes());
            Some(DefaultRoute {
                gateway: gateway.to_string(),
                interface: interface.to_owned(),
                metric: metric.parse().unwrap_or(0),
            })
        })
        .collect();
    routes.sort_by_key(|r| r.metric);
    routes
}

/// All profiles that network.service or NetworkManager would read.
fn profiles(root: &Root) -> Vec<Profile> {
    let mut found = Vec::new();
    for name in root.names(CONNECTIONS) {
        if name.ends_with(".nmconnection") {
            push(
                root,
                &mut found,
                format!("{CONNECTIONS}/{name}"),
                ProfileFormat::Keyfile,
            );
        }
    }
    for name in root.names(SCRIPTS) {
        if is_ifcfg(&name) {
            push(root, &mut found, format!("{SCRIPTS}/{name}"), ProfileFormat::Ifcfg);
        }
    }
    found
}

fn push(root: &Root, found: &mut Vec<Profile>, path: String, format: ProfileFormat) {
    if let Some(content) = root.read(&path) {
        found.push(Profile { path, format, content });
    }
}

/// Names that initscripts' `network` takes for an interface.
fn is_ifcfg(name: &str) -> bool {
    const NOT: [&str; 7] = ["~", ".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave"];
    name.starts_with("ifcfg-")
        && name != "ifcfg-lo"
        && !name.contains(':')
        && !(name.starts_with("ifcfg-") && name.ends_with("-range"))
        && !NOT.iter().any(|suffix| name.ends_with(suffix))
}

/// A shell variable of an ifcfg file, or a key of a keyfile section, without quotes.
fn value(profile: &Profile, section: &str, key: &str) -> Option<String> {
    let mut inside = profile.format == ProfileFormat::Ifcfg;
    let mut found = None;
    for line in profile.content.lines().map(str::trim) {
        if profile.format == ProfileFormat::Keyfile && line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside
            && let Some((k, v)) = line.split_once('=')
            && k.trim() == key
        {
            found = Some(v.trim().trim_matches(['"', '\'']).to_owned());
        }
    }
    found
}

/// The profile that configures this interface. What is written inside counts, not the file's name: `DEVICE`, then
/// `HWADDR`, then the name `ifcfg-IF`; a keyfile's `interface-name`, then its `mac-address`. Keyfiles come first, as
/// NetworkManager prefers them.
fn choose(profiles: &[Profile], name: &str, mac: &str) -> Option<Profile> {
    let rank = |p: &Profile| -> Option<u8> {
        let (device, hardware) = match p.format {
            ProfileFormat::Ifcfg => (value(p, "", "DEVICE"), value(p, "", "HWADDR")),
            ProfileFormat::Keyfile => (
                value(p, "connection", "interface-name"),
                value(p, "ethernet", "mac-address"),
            ),
        };
        let same_mac = !mac.is_empty() && hardware.as_ref().is_some_and(|h| h.eq_ignore_ascii_case(mac));
        match device {
            Some(device) if device == name => Some(0),
            Some(device) if !device.is_empty() => None,
            _ if same_mac => Some(1),
            _ if hardware.is_some_and(|h| !h.is_empty()) => None,
            _ if p.path == format!("{SCRIPTS}/ifcfg-{name}") => Some(2),
            _ => None,
        }
    };
    let ranked = profiles.iter().filter_map(|p| rank(p).map(|r| (r, p)));
    // Stable: among equals the file that comes first, which puts the interface's own name before stray copies only if
    // it sorts first; so that one is asked for by name.
    let own = |p: &Profile| {
        !p.path.ends_with(&format!("/ifcfg-{name}")) && !p.path.ends_with(&format!("/{name}.nmconnection"))
    };
    ranked
        .min_by_key(|(r, p)| (*r, p.format == ProfileFormat::Ifcfg, own(p)))
        .map(|(_, p)| p.clone())
}

/// Says of each interface who configures it (facts: NetworkManager keeps a file for each device it knows in /run).
pub(crate) fn managers(root: &Root, facts: &mut Facts) {
    let active = |unit: &str| facts.units.get(unit).is_some_and(|u| u.is_active());
    let (manager, service) = (active("NetworkManager.service"), active("network.service"));
    for interface in &mut facts.interfaces {
        let refused = interface.profile.as_ref().is_some_and(|p| {
            let own = value(p, "", "NM_CONTROLLED").map(|v| v.to_lowercase());
            p.format == ProfileFormat::Ifcfg && matches!(own.as_deref(), Some("no" | "n" | "false" | "0"))
        });
        let index = root.line(&format!("/sys/class/net/{}/ifindex", interface.name));
        let state = root.read(&format!("/run/NetworkManager/devices/{index}"));
        let managed = state.as_deref().map(|text| {
            let line = text.lines().find_map(|l| l.trim().strip_prefix("managed="));
            !matches!(
                line.map(|v| v.trim().to_lowercase()).as_deref(),
                None | Some("false" | "0" | "no" | "unmanaged")
            )
        });
        interface.manager = if manager && !refused && managed.unwrap_or(!service) {
            NetworkManagerKind::NetworkManager
        } else if service || (!manager && facts.units.get("network.service").is_some_and(|u| u.exists())) {
            NetworkManagerKind::NetworkService
        } else {
            NetworkManagerKind::Nobody
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(path: &str, format: ProfileFormat, content: &str) -> Profile {
        Profile {
            path: path.into(),
            format,
            content: content.into(),
        }
    }

    #[test]
    fn device_counts_and_not_the_name() {
        let stray = profile(&format!("{SCRIPTS}/ifcfg-eth0"), ProfileFormat::Ifcfg, "DEVICE=eth1\n");
        let named = profile(
            &format!("{SCRIPTS}/ifcfg-Wired_1"),
            ProfileFormat::Ifcfg,
            "DEVICE=\"eth0\"\n",
        );
        let list = [stray, named.clone()];
        assert_eq!(choose(&list, "eth0", "52:54:00:00:00:01"), Some(named));
    }

    #[test]
    fn hwaddr_then_file_name() {
        let by_mac = profile(
            &format!("{SCRIPTS}/ifcfg-x"),
            ProfileFormat::Ifcfg,
            "HWADDR=52:54:00:AA:00:01\n",
        );
        let by_name = profile(&format!("{SCRIPTS}/ifcfg-eth0"), ProfileFormat::Ifcfg, "ONBOOT=yes\n");
        let list = [by_mac.clone(), by_name.clone()];
        assert_eq!(choose(&list, "eth0", "52:54:00:aa:00:01"), Some(by_mac));
        assert_eq!(choose(&list, "eth0", "52:54:00:aa:00:02"), Some(by_name));
    }

    #[test]
    fn keyfile_section_counts() {
        let text = "[connection]\nid=x\ninterface-name=ens3\n[ipv4]\nmethod=auto\n";
        let list = [profile(
            &format!("{CONNECTIONS}/x.nmconnection"),
            ProfileFormat::Keyfile,
            text,
        )];
        assert!(choose(&list, "ens3", "").is_some() && choose(&list, "ens4", "").is_none());
    }

    #[test]
    fn backups_are_no_interfaces() {
        assert!(is_ifcfg("ifcfg-eth0") && is_ifcfg("ifcfg-eth0.20261122"));
        assert!(
            !is_ifcfg("ifcfg-eth0.bak")
                && !is_ifcfg("ifcfg-lo")
                && !is_ifcfg("ifcfg-eth0:1")
                && !is_ifcfg("route-eth0")
        );
    }

    #[test]
    fn routes_from_proc() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                    eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        std::fs::write(dir.path().join("proc/net/route"), text).unwrap();
        let routes = default_routes(&Root::at(dir.path()));
        assert_eq!(routes.len(), 1);
        assert_eq!((routes[0].gateway.as_str(), routes[0].metric), ("192.168.0.1", 100));
    }
}
