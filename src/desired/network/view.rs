//! What the templates of both kinds of profile see.

use std::net::IpAddr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::desired::build::Build;
use crate::inventory::{Ipv6, Network, Route};
use crate::state::edit::Edit;
use crate::state::hex::hex;

pub(super) const SCRIPTS: &str = "/etc/sysconfig/network-scripts";

/// Name servers the resolver reads (resolv.conf(5), MAXNS).
pub(super) const MAX_NAME_SERVERS: usize = 3;

/// What both templates see.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub(super) interface: String,
    pub(super) uuid: String,
    pub(super) address: String,
    pub(super) prefix: u8,
    pub(super) gateway: Option<String>,
    pub(super) ipv6: Option<View6>,
    pub(super) mtu: Option<u16>,
    pub(super) dns: Vec<String>,
    /// As keyfiles write lists: `a;b;`; empty when there is none.
    pub(super) dns4: String,
    pub(super) dns6: String,
    /// As keyfiles write them: `destination,next-hop`.
    pub(super) routes4: Vec<String>,
    pub(super) routes6: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct View6 {
    pub(super) address: String,
    pub(super) gateway: Option<String>,
    /// As ifcfg wants it: with the interface where it is link-local.
    pub(super) gateway_device: Option<String>,
}

impl View {
    pub(super) fn new(build: &Build, network: &Network, dns: &[IpAddr]) -> View {
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
                gateway_device: ipv6_gateway(v6, &network.interface),
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
pub(super) fn profile_uuid(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
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
pub(super) fn route_block(network: &Network) -> Edit {
    Edit::Block {
        name: "routes".to_owned(),
        lines: route_comments(&network.routes),
    }
}

pub(super) fn route_comments(routes: &[Route]) -> Vec<String> {
    routes.iter().map(|r| format!("# {} via {}", r.to, r.via)).collect()
}

pub(super) fn block_text(lines: &[String]) -> String {
    let mut text = String::from("# BEGIN hapair routes\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("# END hapair routes\n");
    text
}

pub(super) fn with_route_block(mut create: String, network: &Network) -> String {
    if !network.routes.is_empty() {
        create.push_str(&block_text(&route_comments(&network.routes)));
    }
    create
}

/// A link-local gateway needs its interface.
pub(super) fn ipv6_gateway(v6: &Ipv6, interface: &str) -> Option<String> {
    v6.gateway.map(|g| {
        if g.is_unicast_link_local() {
            format!("{g}%{interface}")
        } else {
            g.to_string()
        }
    })
}
