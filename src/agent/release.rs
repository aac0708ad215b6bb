//! The stop step: after a crash the addresses go, then the peers are told.

use std::io;
use std::path::Path;

use super::netlink::{Assigned, Netlink};
use super::sys::VrrpSocket;
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
    for instance in &released {
        let (Some(source), Some(link)) = (plan::source(&vips, instance, &links), links.named(&instance.interface))
        else {
            continue;
        };
        let settings = plan::settings(instance, source);
        let socket = VrrpSocket::open(&instance.interface, link.index, instance.ipv6)?;
        let group = [plan::group(&config, instance)];
        let peers: Vec<_> = instance.unicast_peers.iter().map(|p| p.ip).collect();
        for to in if instance.unicast { &peers[..] } else { &group[..] } {
            let message = settings.advert(0).encode(source, *to, settings.form);
            socket.send(&message, source, *to, instance.unicast_ttl.unwrap_or(255))?;
        }
    }
    removed?;
    Ok(released.iter().map(|i| i.name.clone()).collect())
}
