//! What a host must have free or in place for its resources to work: preflight looks for it.

use std::net::{IpAddr, Ipv4Addr};

use super::build::{Build, source_of};
use crate::inventory::Instance;
use crate::keepalived::Family;
use crate::state::{AdvertNeed, ListenNeed};

/// Where multicast adverts go (RFC 9568, 5.1.1.2).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Comes last: the interfaces of the instances are known by then.
pub(super) fn add(build: &mut Build) {
    let instances = build.state.instances.iter().map(|i| i.interface.clone());
    let network = build.host.network.iter().map(|network| network.interface.clone());
    let mut interfaces: Vec<String> = network.chain(instances).collect();
    interfaces.sort();
    interfaces.dedup();

    let servers = build.inventory.nginx.iter().flat_map(|nginx| &nginx.servers);
    let mut listens: Vec<ListenNeed> = servers
        .clone()
        .map(|server| ListenNeed {
            address: server.listen.address,
            port: server.listen.port,
        })
        .collect();
    listens.sort();
    listens.dedup();
    let mut tls_files: Vec<String> = servers
        .flat_map(|server| server.certificate.iter().chain(&server.certificate_key))
        .cloned()
        .collect();
    tls_files.sort();
    tls_files.dedup();

    let written = build.inventory.vrrp.iter().flat_map(|vrrp| &vrrp.instances);
    let adverts = written
        .zip(&build.state.instances)
        .filter_map(|(instance, seen)| advert(build, instance, &seen.interface))
        .collect();

    let needs = &mut build.state.needs;
    (needs.interfaces, needs.listens) = (interfaces, listens);
    (needs.tls_files, needs.adverts) = (tls_files, adverts);
}

/// The peer's adverts of an instance over IPv4; `None`: it has none, or nobody knows where they come from.
fn advert(build: &Build, instance: &Instance, interface: &str) -> Option<AdvertNeed> {
    let address = |host| match source_of(build, instance, host).ok()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    if instance.virtual_ipaddress.is_empty() || instance.family() != Family::V4 {
        return None;
    }
    Some(AdvertNeed {
        interface: interface.to_owned(),
        from: address(build.peer)?,
        to: if instance.unicast { address(build.host)? } else { GROUP },
    })
}
