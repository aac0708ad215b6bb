//! Step 3: firewalld.

use super::build::{Build, source_of};
use super::error::DesiredError;
use crate::inventory::Firewalld;
use crate::keepalived::Family;
use crate::state::resource::FirewallSpec;
use crate::state::{Spec, Stage};

const FIREWALLD: &str = "firewalld.service";

pub(super) fn add(build: &mut Build) -> Result<(), DesiredError> {
    match build.inventory.system.firewalld {
        None => {}
        Some(Firewalld::Disabled) => {
            build.push_stopped(Stage::Firewall, FIREWALLD);
        }
        Some(Firewalld::Managed) => add_managed(build)?,
    }
    Ok(())
}

fn add_managed(build: &mut Build) -> Result<(), DesiredError> {
    // A cloud image may come without firewalld; then everything about it waits for the repositories.
    let installed =
        build.facts.packages.contains_key("firewalld") || build.facts.units.get(FIREWALLD).is_some_and(|u| u.exists());
    let stage = if installed { Stage::Firewall } else { Stage::Packages };
    if !installed {
        let names = vec!["firewalld".to_owned()];
        let repositories = super::repositories::base_ids(build);
        build.push(stage, "package firewalld", Spec::Packages { names, repositories });
    }

    let Some(interface) = build.interface() else {
        return Err(build.impossible(
            "no interface for the firewall's zone is known",
            "write `network` for this host, or give it a default route",
        ));
    };
    let mut services = vec!["ssh".to_owned()];
    let mut ports = Vec::new();
    if let Some(port) = build.inventory.ssh.port.filter(|p| *p != 22) {
        ports.push(format!("{port}/tcp"));
    }
    let mut listening: Vec<u16> = build
        .inventory
        .nginx
        .iter()
        .flat_map(|n| &n.servers)
        .map(|s| s.listen.port)
        .collect();
    listening.sort_unstable();
    listening.dedup();
    for port in listening {
        match port {
            80 => services.push("http".to_owned()),
            443 => services.push("https".to_owned()),
            other => ports.push(format!("{other}/tcp")),
        }
    }
    let mut vrrp_peers = Vec::new();
    if let Some(vrrp) = &build.inventory.vrrp {
        let peer = build.peer;
        for instance in &vrrp.instances {
            let written = instance.mcast_src_ip.contains_key(&peer.name);
            // Multicast adverts of IPv6 come from the link-local address, which nobody writes down.
            vrrp_peers.push(match instance.family() {
                Family::V6 if !written && !instance.unicast => "fe80::/10".to_owned(),
                _ => source_of(build, instance, peer)?.to_string(),
            });
        }
    }
    vrrp_peers.sort();
    vrrp_peers.dedup();
    if build
        .inventory
        .nginx
        .as_ref()
        .is_some_and(|n| !n.extra_files.is_empty())
    {
        build.note("firewalld lets in the ports of `nginx.servers`; ports of `extra_files` are not opened");
    }
    let spec = FirewallSpec {
        interface,
        services,
        ports,
        vrrp_peers,
    };
    build.push(stage, "firewall rules", Spec::Firewall(spec)).cuts_ssh = true;
    Ok(())
}
