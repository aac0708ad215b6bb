//! The stop step: after a crash the addresses go, then the peers are told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::netlink::{Assigned, Netlink};
use super::vrrp_socket::{Outgoing, VrrpSocket};
use super::{config, daemon, plan};

/// What ExecStopPost does. Nothing, unless the daemon ended without cleaning up itself; so it never takes an address from
/// another engine. Returns the names of the instances that were released.
pub fn release(path: &Path, config_id: Option<&str>, state_dir: &Path) -> io::Result<Vec<String>> {
    if !daemon::mark_in(state_dir).exists() {
        return Ok(Vec::new());
    }
    let config = config::load(path, config_id)?.config;
    let mut netlink = Netlink::open()?;
    let links = netlink.read()?;
    let mut released = Vec::new();
    let mut off: Vec<Assigned> = Vec::new();
    for instance in &config.instances {
        let ours = plan::addresses(instance, &links).into_iter().map(|a| a.at);
        let there: Vec<Assigned> = ours.filter(|a| links.addresses.contains(a)).collect();
        if !there.is_empty() {
            off.extend(there);
            released.push(instance);
        }
    }
    // First the addresses: from here on nobody is answered wrongly. The word to the peers comes even if that failed.
    let vips = plan::vips(&config);
    let removed = netlink.remove(&off);
    let mut by_wire: BTreeMap<(&str, bool), Vec<Outgoing>> = BTreeMap::new();
    for instance in &released {
        let Some(source) = plan::source(&vips, instance, &links) else {
            continue;
        };
        let settings = plan::settings(instance, source);
        let farewell = settings.advert(0);
        let messages =
            plan::targets(&config, instance).map(|to| plan::outgoing(instance, source, to, &farewell, settings.form));
        let wire = by_wire.entry((&instance.interface, instance.ipv6)).or_default();
        wire.extend(messages);
    }
    for ((interface, ipv6), messages) in by_wire {
        let Some(link) = links.named(interface) else { continue };
        let failed = VrrpSocket::open(interface, link.index, ipv6)?.send(&messages);
        if let Some((_, e)) = failed.into_iter().next() {
            return Err(e);
        }
    }
    removed?;
    Ok(released.iter().map(|i| i.name.clone()).collect())
}
