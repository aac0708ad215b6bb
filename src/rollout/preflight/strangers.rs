//! Strangers on the segment: stations and routers that are neither of the two hosts. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::inventory::{Inventory, Side};
use crate::rollout::reach::pair::Pair;
use crate::state::resource::InstanceRef;
use crate::state::{Facts, Finding, FindingId, ForeignRouter, HostState, Segment, Severity, Station, Unseen};

/// What belongs to one of the two hosts.
#[derive(Debug, Default)]
pub(super) struct Known {
    macs: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Known {
    pub(super) fn of(inventory: &Inventory, pair: &Pair) -> Known {
        let facts = Side::BOTH.map(|side| pair[side].link.facts());
        Known::from(inventory, facts)
    }

    fn from(inventory: &Inventory, facts: [&Facts; 2]) -> Known {
        let interfaces = || facts.into_iter().flat_map(|facts| &facts.interfaces);
        let macs = interfaces().map(|i| i.mac.clone()).filter(|mac| !mac.is_empty());
        let bare = |text: &String| text.split('/').next().and_then(|address| address.parse().ok());
        let present = interfaces().flat_map(|i| &i.addresses).filter_map(bare);
        // A host that is about to move, and what it is told to send from.
        let networks = inventory.hosts.iter().filter_map(|host| host.network.as_ref());
        let wanted = networks.flat_map(|network| {
            let v6 = network.ipv6.iter().map(|v6| IpAddr::V6(v6.address.addr()));
            std::iter::once(IpAddr::V4(network.address.addr())).chain(v6)
        });
        let instances = inventory.vrrp.iter().flat_map(|vrrp| &vrrp.instances);
        let sources = instances.flat_map(|i| i.mcast_src_ip.values().copied());
        Known {
            macs: macs.collect(),
            addresses: present.chain(wanted).chain(sources).collect(),
        }
    }
}

/// Strangers that have what this host's instances are to have.
pub(super) fn findings(state: &HostState, seen: &Segment, known: &Known) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let strangers = seen
        .stations
        .iter()
        .filter(|station| !known.macs.contains(&station.mac));
    findings.extend(strangers.map(|Station { vip, mac, .. }| {
        Finding::new(
            FindingId::VipInUse,
            Severity::Blocks,
            format!("{vip} is in use already: {mac} answers for it on the segment"),
            format!("find the machine with that hardware address and take {vip} off it, or choose another VIP"),
        )
    }));
    findings.extend(seen.unseen.iter().map(|Unseen { interface, why }| {
        Finding::new(
            FindingId::SegmentUnseen,
            Severity::Warns,
            format!("{interface} cannot show whether a stranger has a VIP or virtual_router_id of this pair: {why}"),
            "run `hapair check` again once that interface is up",
        )
        .on(&state.host)
    }));
    let mut told = BTreeSet::new();
    let routers = seen
        .routers
        .iter()
        .filter(|router| !known.addresses.contains(&router.sender));
    for router in routers {
        // A router whose priority moves is heard more than once.
        if told.insert((&router.interface, router.sender, router.virtual_router_id)) {
            findings.extend(state.instances.iter().filter_map(|instance| clash(instance, router)));
        }
    }
    findings
}

/// What a stranger's router takes from an instance.
fn clash(instance: &InstanceRef, router: &ForeignRouter) -> Option<Finding> {
    let ForeignRouter {
        sender,
        virtual_router_id: id,
        priority,
        vips,
        ..
    } = router;
    let ours: Vec<IpAddr> = instance.vips.iter().filter_map(|vip| vip.parse().ok()).collect();
    // The same number is another virtual router in the other family.
    let same_family = ours.iter().any(|vip| vip.is_ipv4() == sender.is_ipv4());
    if router.interface != instance.interface || !same_family {
        return None;
    }
    if *id == instance.virtual_router_id {
        let name = &instance.name;
        let announced = list(vips);
        return Some(Finding::new(
            FindingId::VridInUse,
            Severity::Blocks,
            format!(
                "virtual_router_id {id} of {name} is in use by {sender}, which announces {announced} with priority {priority}"
            ),
            format!("write another `virtual_router_id` for {name}, or stop VRRP on {sender}"),
        ));
    }
    let shared: Vec<IpAddr> = vips.iter().filter(|vip| ours.contains(vip)).copied().collect();
    if shared.is_empty() {
        return None;
    }
    let shared = list(&shared);
    Some(Finding::new(
        FindingId::VipInUse,
        Severity::Blocks,
        format!("{shared} is in use already: {sender} announces it with virtual_router_id {id}"),
        format!("stop VRRP on {sender}, or choose another VIP"),
    ))
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "no address".to_owned(),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::Interface;

    fn state() -> HostState {
        HostState {
            instances: vec![InstanceRef {
                name: "VI_1".into(),
                interface: "enp0s3".into(),
                virtual_router_id: 51,
                priority: 101,
                vips: vec!["192.168.0.200".into()],
            }],
            ..HostState::default()
        }
    }

    /// Both hosts as the example has them; the second is still at its address of before.
    fn known() -> Known {
        let text = include_str!("../../../inventory.example.yaml");
        let inventory = Inventory::parse(text, Path::new("inventory.example.yaml")).expect("valid");
        let facts = |mac: &str, address: &str| Facts {
            interfaces: vec![Interface {
                name: "enp0s3".into(),
                mac: mac.into(),
                addresses: vec![address.into(), "fe80::1/64".into()],
                ..Interface::default()
            }],
            ..Facts::default()
        };
        let (a, b) = (
            facts("52:54:00:00:00:01", "192.168.0.201/24"),
            facts("52:54:00:00:00:02", "192.168.0.77/24"),
        );
        Known::from(&inventory, [&a, &b])
    }

    fn router(sender: &str, id: u8, vip: &str) -> ForeignRouter {
        ForeignRouter {
            interface: "enp0s3".into(),
            sender: sender.parse().expect("an address"),
            virtual_router_id: id,
            priority: 150,
            vips: vec![vip.parse().expect("an address")],
        }
    }

    fn judged(stations: &[(&str, &str)], routers: Vec<ForeignRouter>) -> Vec<(FindingId, String)> {
        let station = |(vip, mac): &(&str, &str)| Station {
            vip: vip.parse().expect("an address"),
            interface: "enp0s3".into(),
            mac: (*mac).into(),
        };
        let seen = Segment {
            stations: stations.iter().map(station).collect(),
            routers,
            unseen: Vec::new(),
        };
        let findings = findings(&state(), &seen, &known());
        assert!(
            findings
                .iter()
                .all(|f| f.severity == Severity::Blocks && !f.remedy.is_empty())
        );
        findings.into_iter().map(|f| (f.id, f.cause)).collect()
    }

    #[test]
    fn the_peer_is_no_stranger() {
        let peer = [
            router("192.168.0.201", 51, "192.168.0.200"),
            router("192.168.0.202", 51, "192.168.0.200"),
            router("192.168.0.77", 51, "192.168.0.200"),
        ];
        assert_eq!(judged(&[("192.168.0.200", "52:54:00:00:00:02")], peer.to_vec()), []);
    }

    #[test]
    fn a_segment_that_could_not_be_looked_at_is_told() {
        let seen = Segment {
            unseen: vec![Unseen {
                interface: "bond0".into(),
                why: "it is down".into(),
            }],
            ..Segment::default()
        };
        let found = findings(&state(), &seen, &known());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id, found[0].severity),
            (FindingId::SegmentUnseen, Severity::Warns)
        );
        assert!(found[0].cause.starts_with("bond0 cannot show") && found[0].cause.ends_with(": it is down"));
    }

    #[test]
    fn a_station_with_the_vip_is_named() {
        let found = judged(&[("192.168.0.200", "52:54:00:6c:01:00")], vec![]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, FindingId::VipInUse);
        assert!(found[0].1.contains("192.168.0.200") && found[0].1.contains("52:54:00:6c:01:00"));
    }

    #[test]
    fn a_router_with_the_id_is_named_once_with_what_it_announces() {
        let mut again = router("192.168.0.254", 51, "192.168.0.50");
        again.priority = 0;
        let found = judged(&[], vec![router("192.168.0.254", 51, "192.168.0.50"), again]);
        let cause =
            "virtual_router_id 51 of VI_1 is in use by 192.168.0.254, which announces 192.168.0.50 with priority 150";
        assert_eq!(found, [(FindingId::VridInUse, cause.to_owned())]);
    }

    #[test]
    fn a_router_with_the_vip_under_another_id_is_named() {
        let found = judged(&[], vec![router("192.168.0.254", 77, "192.168.0.200")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, FindingId::VipInUse);
        assert!(found[0].1.contains("192.168.0.254") && found[0].1.contains("virtual_router_id 77"));
    }

    #[test]
    fn another_router_interface_or_family_takes_nothing() {
        let elsewhere = ForeignRouter {
            interface: "enp0s8".into(),
            ..router("192.168.0.254", 51, "192.168.0.50")
        };
        let others = vec![
            router("192.168.0.254", 77, "192.168.0.50"),
            router("fe80::7", 51, "fe80::200"),
            elsewhere,
        ];
        assert_eq!(judged(&[], others), []);
    }
}
