//! Step 1: the static network profile.
//!
//! `ifcfg-*` files on release 7 and wherever such a profile is in force, NetworkManager keyfiles elsewhere. An
//! existing profile keeps every key hapair has no opinion on, and a value that already means what is wanted keeps its
//! spelling, so that adopting a host does not restart its network for a pair of quotes.

mod ifcfg;
mod keyfile;

use std::net::IpAddr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Build;
use super::error::DesiredError;
use super::escape::Place;
use crate::inventory::{Network, Route};
use crate::state::edit::Edit;
use crate::state::facts::ProfileFormat;
use crate::state::resource::NetworkSpec;
use crate::state::{Interface, NetworkManagerKind, Profile, Spec, Stage};

const IFCFG: &str = "etc/sysconfig/network-scripts/ifcfg-INTERFACE.tera";
const KEYFILE: &str = "etc/NetworkManager/system-connections/INTERFACE.nmconnection.tera";
const CLOUD: &str = "etc/cloud/cloud.cfg.d/99-hapair.cfg.tera";
const CLOUD_PATH: &str = "/etc/cloud/cloud.cfg.d/99-hapair.cfg";
const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";

/// Name servers the resolver reads (resolv.conf(5), MAXNS).
const MAX_NAME_SERVERS: usize = 3;

pub(super) fn add(build: &mut Build) -> Result<(), DesiredError> {
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
        build.push_file(Stage::Network, CLOUD_PATH, text, 0o644, None, Vec::new());
    }
    let Some(network) = network else { return Ok(()) };
    build.guard(Place::ShellWord, "network.interface", &network.interface)?;

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
        name_servers: dns.iter().map(ToString::to_string).collect(),
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

/// What both templates see.
#[derive(Debug, Serialize)]
struct View {
    interface: String,
    uuid: String,
    address: String,
    prefix: u8,
    gateway: Option<String>,
    ipv6: Option<View6>,
    mtu: Option<u16>,
    dns: Vec<String>,
    /// As keyfiles write lists: `a;b;`; empty when there is none.
    dns4: String,
    dns6: String,
    /// As keyfiles write them: `destination,next-hop`.
    routes4: Vec<String>,
    routes6: Vec<String>,
}

#[derive(Debug, Serialize)]
struct View6 {
    address: String,
    gateway: Option<String>,
    /// As ifcfg wants it: with the interface where it is link-local.
    gateway_device: Option<String>,
}

impl View {
    fn new(build: &Build, network: &Network, dns: &[IpAddr]) -> View {
        let list = |v4: bool| {
            dns.iter()
                .filter(|a| a.is_ipv4() == v4)
                .map(|a| format!("{a};"))
                .collect::<Vec<_>>()
                .concat()
        };
        let routes = |v4: bool| {
            network
                .routes
                .iter()
                .filter(|r| r.via.is_ipv4() == v4)
                .map(|r| format!("{},{}", r.to, r.via))
                .collect::<Vec<_>>()
        };
        View {
            interface: network.interface.clone(),
            uuid: profile_uuid(&[&build.inventory.name, &build.host.name, &network.interface]),
            address: network.address.addr().to_string(),
            prefix: network.address.prefix_len(),
            gateway: network.gateway.map(|g| g.to_string()),
            ipv6: network.ipv6.as_ref().map(|v6| View6 {
                address: v6.address.to_string(),
                gateway: v6.gateway.map(|g| g.to_string()),
                gateway_device: ifcfg::ipv6_gateway(v6, &network.interface),
            }),
            mtu: network.mtu,
            dns: dns.iter().map(ToString::to_string).collect(),
            dns4: list(true),
            dns6: list(false),
            routes4: routes(true),
            routes6: routes(false),
        }
    }
}

/// A UUID that is the same at every rendering and differs between hosts: version 8 of RFC 9562, made from a hash.
fn profile_uuid(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A comment in the profile that lists the routes. Routes live in files of their own beside an ifcfg profile; listing
/// them here makes a change of routes a change of the profile, and so activates it. In a keyfile it marks the
/// `routeN` keys as ours, so that they go when the inventory's routes go.
fn route_block(network: &Network) -> Edit {
    Edit::Block {
        name: "routes".to_owned(),
        lines: route_comments(&network.routes),
    }
}

fn route_comments(routes: &[Route]) -> Vec<String> {
    routes.iter().map(|r| format!("# {} via {}", r.to, r.via)).collect()
}

fn block_text(lines: &[String]) -> String {
    let mut text = String::from("# BEGIN hapair routes\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("# END hapair routes\n");
    text
}

fn with_route_block(mut create: String, network: &Network) -> String {
    if !network.routes.is_empty() {
        create.push_str(&block_text(&route_comments(&network.routes)));
    }
    create
}
