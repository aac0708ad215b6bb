//! Which profile a host gets, in which format, and who activates it.

use std::net::IpAddr;

use serde::Serialize;

use super::view::{MAX_NAME_SERVERS, SCRIPTS, View, with_route_block};
use super::{ifcfg, keyfile};
use crate::desired::build::{Build, TextFile};
use crate::desired::error::DesiredError;
use crate::desired::escape::Syntax;
use crate::inventory::Network;
use crate::state::facts::ProfileFormat;
use crate::state::resource::NetworkSpec;
use crate::state::{Interface, NetworkManagerKind, Profile, Spec, Stage};

const IFCFG: &str = "etc/sysconfig/network-scripts/ifcfg-INTERFACE.tera";
const KEYFILE: &str = "etc/NetworkManager/system-connections/INTERFACE.nmconnection.tera";
const CLOUD: &str = "etc/cloud/cloud.cfg.d/99-hapair.cfg.tera";
const CLOUD_PATH: &str = "/etc/cloud/cloud.cfg.d/99-hapair.cfg";
const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";

pub(crate) fn add(build: &mut Build) -> Result<(), DesiredError> {
    let network = build.host.network.as_ref();
    if build.facts.cloud_init {
        #[derive(Serialize)]
        struct View {
            network: bool,
        }
        let text = build.render(
            CLOUD,
            &View {
                network: network.is_some(),
            },
        )?;
        build.push_file(
            Stage::Network,
            TextFile {
                path: CLOUD_PATH,
                content: text,
                mode: 0o644,
                validator: None,
                reactions: Vec::new(),
            },
        );
    }
    let Some(network) = network else { return Ok(()) };
    build.guard(Syntax::ShellWord, "network.interface", &network.interface)?;

    let interface = build.facts.interfaces.iter().find(|i| i.name == network.interface);
    let manager = manager(build, interface);
    let profile = interface
        .and_then(|i| i.profile.as_ref())
        .filter(|p| usable(build.release(), p));
    let dns = name_servers(build, network);
    let view = View::new(build, network, &dns);

    let keyfile = match profile {
        Some(profile) => profile.format == ProfileFormat::Keyfile,
        None => build.release() > 7 && manager == NetworkManagerKind::NetworkManager,
    };
    let old = profile.map_or("", |p| p.content.as_str());
    let (path, create, mode, edits) = if keyfile {
        let path = format!("{CONNECTIONS}/{}.nmconnection", network.interface);
        (
            path,
            build.render(KEYFILE, &view)?,
            0o600,
            keyfile::edits(&view, network, old),
        )
    } else {
        if let Some(interface) = interface {
            ifcfg::note_hardware_address(build, interface, old);
        }
        let path = format!("{SCRIPTS}/ifcfg-{}", network.interface);
        let vips: Vec<String> = build.inventory.vips().map(|v| v.address.addr().to_string()).collect();
        ifcfg::note_static_vips(build, &network.interface, old, &vips);
        let edits = ifcfg::edits(&view, network, interface, old, &vips);
        ifcfg::add_neighbours(build, network, manager);
        (path, build.render(IFCFG, &view)?, 0o644, edits)
    };
    let path = profile.map_or(path, |p| p.path.clone());

    let mut addresses = vec![network.address.to_string()];
    addresses.extend(network.ipv6.as_ref().map(|v6| v6.address.to_string()));
    let spec = NetworkSpec {
        interface: network.interface.clone(),
        path,
        edits,
        // What an edit adds to a fresh file (the list of routes) belongs to the fresh file as well.
        create: with_route_block(create, network),
        mode,
        manager,
        addresses,
        gateway: network.gateway.map(|g| g.to_string()),
    };
    let id = format!("network {}", network.interface);
    build.push(Stage::Network, id, Spec::Network(spec)).cuts_ssh = true;
    Ok(())
}

/// Who activates the profile: who does now, else who would after a boot.
fn manager(build: &Build, interface: Option<&Interface>) -> NetworkManagerKind {
    match interface.map(|i| i.manager) {
        Some(kind) if kind != NetworkManagerKind::Nobody => kind,
        _ if build.release() == 7 => NetworkManagerKind::NetworkService,
        _ => NetworkManagerKind::NetworkManager,
    }
}

/// A profile that survives a boot and that this release still reads.
fn usable(release: u8, profile: &Profile) -> bool {
    profile.path.starts_with("/etc/") && (release < 10 || profile.format == ProfileFormat::Keyfile)
}

/// The name servers that fit; what is left out is noted.
fn name_servers(build: &mut Build, network: &Network) -> Vec<IpAddr> {
    let mut dns = network.dns.clone();
    if dns.len() > MAX_NAME_SERVERS {
        let left_out: Vec<String> = dns
            .split_off(MAX_NAME_SERVERS)
            .iter()
            .map(ToString::to_string)
            .collect();
        build.note(format!(
            "the resolver reads only {MAX_NAME_SERVERS} name servers: {} left out",
            left_out.join(", ")
        ));
    }
    if build.release() == 7 && dns.len() == 3 {
        build.note("early minor releases of 7 (7.3 among them) put only DNS1 and DNS2 into resolv.conf");
    }
    dns
}
