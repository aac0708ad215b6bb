//! `hosts`: the two machines and their networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::inventory::context::{At, Context, quote};
use crate::inventory::grammar::{HOST, HOSTNAME, INTERFACE};
use crate::inventory::model::{Host, Ipv6, Network, Route};
use crate::inventory::node::YamlNode;
use crate::inventory::source::Span;
use crate::inventory::table::Table;

const HOST_KEYS: &[&str] = &["name", "address", "address_is_stable", "network", "release"];
const NETWORK_KEYS: &[&str] = &["interface", "address", "gateway", "dns", "ipv6", "routes", "mtu"];

/// A host as far as it could be read, with places to point at.
pub(super) struct RawHost {
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<String>>,
    address_is_stable: bool,
    pub(super) network: Option<RawNetwork>,
    release: Option<u8>,
}

/// A network as far as it could be read.
pub(super) struct RawNetwork {
    pub(super) interface: Option<At<String>>,
    pub(super) address: Option<At<Ipv4Net>>,
    pub(super) gateway: Option<At<Ipv4Addr>>,
    dns: Vec<IpAddr>,
    pub(super) ipv6: Option<RawIpv6>,
    pub(super) routes: Vec<At<Route>>,
    mtu: Option<u16>,
}

/// Static IPv6 as far as it could be read.
pub(super) struct RawIpv6 {
    pub(super) address: At<Ipv6Net>,
    pub(super) gateway: Option<At<Ipv6Addr>>,
}

impl RawHost {
    /// Its name for messages.
    pub(super) fn label(&self) -> &str {
        self.name.as_ref().map_or("the host", |n| &n.value)
    }

    /// Addresses that belong to this host, with the prefix where one is known.
    pub(super) fn own_addresses(&self) -> Vec<IpAddr> {
        let network = self.network.iter();
        let v4 = network
            .clone()
            .filter_map(|n| n.address.as_ref())
            .map(|a| IpAddr::V4(a.value.addr()));
        let v6 = network
            .filter_map(|n| n.ipv6.as_ref())
            .map(|i| IpAddr::V6(i.address.value.addr()));
        let ssh = self.address.iter().filter_map(|a| a.value.parse().ok());
        v4.chain(v6).chain(ssh).collect()
    }

    /// The host, if it was read completely.
    pub(super) fn finish(self) -> Option<Host> {
        let network = match self.network {
            None => None,
            Some(raw) => Some(Network {
                interface: raw.interface?.value,
                address: raw.address?.value,
                gateway: raw.gateway.map(|g| g.value),
                dns: raw.dns,
                ipv6: raw.ipv6.map(|i| Ipv6 {
                    address: i.address.value,
                    gateway: i.gateway.map(|g| g.value),
                }),
                routes: raw.routes.into_iter().map(|r| r.value).collect(),
                mtu: raw.mtu,
            }),
        };
        Some(Host {
            name: self.name?.value,
            address: self.address.map(|a| a.value),
            address_is_stable: self.address_is_stable,
            network,
            release: self.release,
        })
    }
}

/// The hosts that could be read; a pair has two.
pub(super) fn read(inventory: &Table<'_>) -> Option<Vec<RawHost>> {
    let context = inventory.context;
    inventory.need("hosts", "a list of two hosts, as in inventory.example.yaml")?;
    let items = inventory.list("hosts")?;
    if items.value.len() != 2 {
        let at = items
            .value
            .get(2)
            .map_or(inventory.key_span("hosts"), |third| third.span);
        let message = format!("a pair has exactly two hosts, not {}", items.value.len());
        let more = items.value.len() > 2;
        let hint = if more {
            "a third machine belongs to another inventory"
        } else {
            "the other host is missing"
        };
        context.error_hint(at, message, hint);
    }
    let hosts: Vec<RawHost> = items
        .value
        .iter()
        .take(2)
        .filter_map(|node| host(context, node))
        .collect();
    for (n, later) in hosts.iter().enumerate() {
        for earlier in &hosts[..n] {
            distinct(context, earlier, later);
        }
    }
    Some(hosts)
}

fn host(context: &Context, node: &YamlNode) -> Option<RawHost> {
    let table = Table::new(context, node, "a host", HOST_KEYS)?;
    table.need("name", "it becomes the machine's host name");
    let name = table.word("name", &HOSTNAME);
    let address = table.word("address", &HOST);
    let stable = table.flag("address_is_stable");
    if let Some(stable) = stable.filter(|s| s.value)
        && table.get("address").is_none()
    {
        let hint = "write the address where SSH connects; network.address is stable by itself";
        context.error_hint(stable.span, "address_is_stable without address", hint);
    }
    if let Some(ip) = address.as_ref().and_then(|a| {
        Some(At {
            value: a.value.parse::<IpAddr>().ok()?,
            span: a.span,
        })
    }) {
        usable(context, ip, "address");
    }
    Some(RawHost {
        name,
        address,
        address_is_stable: stable.is_some_and(|s| s.value),
        network: network(&table),
        release: table
            .integer("release", 7..=10)
            .and_then(|r| u8::try_from(r.value).ok()),
    })
}

/// Two hosts of one pair share neither name nor address.
fn distinct(context: &Context, earlier: &RawHost, later: &RawHost) {
    if let (Some(a), Some(b)) = (&earlier.name, &later.name)
        && a.value.eq_ignore_ascii_case(&b.value)
    {
        context.error_hint(
            b.span,
            format!("two hosts are called {}", b.value),
            "each needs a name of its own",
        );
    }
    let ssh = |h: &RawHost| {
        h.address.as_ref().map(|a| At {
            value: a.value.to_ascii_lowercase(),
            span: a.span,
        })
    };
    let v4 = |h: &RawHost| Some(h.network.as_ref()?.address.as_ref()?.map(|a| a.addr().to_string()));
    let v6 = |h: &RawHost| Some(h.network.as_ref()?.ipv6.as_ref()?.address.map(|a| a.addr().to_string()));
    let of = |h: &RawHost| [ssh(h), v4(h), v6(h)].into_iter().flatten().collect::<Vec<_>>();
    for b in of(later) {
        if let Some(a) = of(earlier).into_iter().find(|a| a.value == b.value) {
            // Point at the one that was written last.
            let span = if a.span > b.span { a.span } else { b.span };
            let (one, two) = (earlier.label(), later.label());
            context.error(span, format!("{one} and {two} share the address {}", b.value));
            break;
        }
    }
    if let (Some(a), Some(b)) = (&earlier.network, &later.network) {
        for (host, network) in [(later, a), (earlier, b)] {
            if let Some(gateway) = &network.gateway
                && host.own_addresses().contains(&IpAddr::V4(gateway.value))
            {
                context.error(
                    gateway.span,
                    format!("gateway {} is {} itself", gateway.value, host.label()),
                );
            }
        }
    }
}

fn network(host: &Table<'_>) -> Option<RawNetwork> {
    let context = host.context;
    let table = host.table("network", NETWORK_KEYS)?;
    table.need(
        "interface",
        "the interface that gets the address, as in interface: enp0s3",
    );
    table.need("address", "with prefix, as in address: 192.168.0.201/24");
    let interface = table.word("interface", &INTERFACE);
    let address = table.get("address").and_then(|node| address_v4(context, node));
    let gateway = table
        .get("gateway")
        .and_then(|node| parsed::<Ipv4Addr>(context, node, "gateway", "an IPv4 address"));
    if let (Some(gateway), Some(address)) = (&gateway, &address) {
        check_gateway(context, gateway, &address.value);
    }
    let ipv6 = ipv6(&table);
    let routes = routes(&table, address.as_ref(), ipv6.as_ref());
    let mtu = table.integer("mtu", 576..=9216);
    if let (Some(mtu), Some(_)) = (&mtu, &ipv6)
        && mtu.value < 1280
    {
        context.error(
            mtu.span,
            format!("IPv6 needs an mtu of at least 1280, not {}", mtu.value),
        );
    }
    let dns = dns(&table);
    let mtu = mtu.and_then(|m| u16::try_from(m.value).ok());
    Some(RawNetwork {
        interface,
        address,
        gateway,
        dns,
        ipv6,
        routes,
        mtu,
    })
}

/// A host's own IPv4 address: with prefix, and one that a host can have.
fn address_v4(context: &Context, node: &YamlNode) -> Option<At<Ipv4Net>> {
    let text = context.text(node, "address")?;
    if let Ok(bare) = text.value.parse::<Ipv4Addr>() {
        let hint = format!("as in {bare}/24");
        context.error_hint(text.span, "address needs a prefix", hint);
        return None;
    }
    let address = parsed::<Ipv4Net>(
        context,
        node,
        "address",
        "an IPv4 address with prefix, as in 192.168.0.201/24",
    )?;
    let net = address.value;
    if !(8..=30).contains(&net.prefix_len()) {
        context.error(
            address.span,
            format!("the prefix must be between 8 and 30, not {}", net.prefix_len()),
        );
        return None;
    }
    if net.addr() == net.network() || net.addr() == net.broadcast() {
        let which = if net.addr() == net.network() {
            "network"
        } else {
            "broadcast"
        };
        context.error(
            address.span,
            format!("{} is the {which} address of {}", net.addr(), net.trunc()),
        );
        return None;
    }
    usable(
        context,
        At {
            value: IpAddr::V4(net.addr()),
            span: address.span,
        },
        "address",
    )
    .then_some(address)
}

/// Whether a host can have this address.
pub(super) fn usable(context: &Context, address: At<IpAddr>, what: &str) -> bool {
    let ip = address.value;
    let why = match ip {
        ip if ip.is_unspecified() => "the unspecified address",
        ip if ip.is_loopback() => "a loopback address",
        ip if ip.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => "in a reserved range",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address written as IPv6",
        _ => return true,
    };
    context.error(address.span, format!("{what} cannot be {ip}: it is {why}"));
    false
}

fn check_gateway(context: &Context, gateway: &At<Ipv4Addr>, net: &Ipv4Net) {
    let ip = gateway.value;
    if !net.contains(&ip) {
        let hint = format!(
            "the host could not reach it; the subnet goes from {} to {}",
            net.network(),
            net.broadcast()
        );
        context.error_hint(
            gateway.span,
            format!("gateway {ip} is outside the subnet {}", net.trunc()),
            hint,
        );
    } else if ip == net.addr() {
        context.error(gateway.span, format!("gateway {ip} is the host's own address"));
    } else if ip == net.network() || ip == net.broadcast() {
        let which = if ip == net.network() { "network" } else { "broadcast" };
        context.error(
            gateway.span,
            format!("gateway {ip} is the {which} address of {}", net.trunc()),
        );
    }
}

/// At most three, as the resolver reads no more.
fn dns(network: &Table<'_>) -> Vec<IpAddr> {
    let context = network.context;
    let Some(items) = network.list("dns") else {
        return Vec::new();
    };
    if let Some(fourth) = items.value.get(3) {
        context.error_hint(
            fourth.span,
            "more than three name servers",
            "the resolver reads only the first three",
        );
    }
    let mut servers: Vec<IpAddr> = Vec::new();
    for node in items.value {
        let Some(server) = parsed::<IpAddr>(context, node, "an item of dns", "an IP address") else {
            continue;
        };
        if servers.contains(&server.value) {
            context.error(server.span, format!("name server {} is listed twice", server.value));
        } else if server.value.is_unspecified() || server.value.is_multicast() {
            context.error(server.span, format!("{} cannot be a name server", server.value));
        } else {
            servers.push(server.value);
        }
    }
    servers
}

fn ipv6(network: &Table<'_>) -> Option<RawIpv6> {
    let context = network.context;
    let table = network.table("ipv6", &["address", "gateway"])?;
    let node = table.need("address", "with prefix, as in address: 2001:db8::201/64")?;
    let address = parsed::<Ipv6Net>(
        context,
        node,
        "address",
        "an IPv6 address with prefix, as in 2001:db8::201/64",
    );
    let gateway = table
        .get("gateway")
        .and_then(|n| parsed::<Ipv6Addr>(context, n, "gateway", "an IPv6 address"));
    let address = address?;
    let net = address.value;
    if !(1..=127).contains(&net.prefix_len()) {
        context.error(
            address.span,
            format!("the prefix must be between 1 and 127, not {}", net.prefix_len()),
        );
        return None;
    }
    usable(
        context,
        At {
            value: IpAddr::V6(net.addr()),
            span: address.span,
        },
        "address",
    );
    if let Some(gateway) = &gateway {
        let ip = gateway.value;
        if ip == net.addr() {
            context.error(gateway.span, format!("gateway {ip} is the host's own address"));
        } else if !net.contains(&ip) && !ip.is_unicast_link_local() {
            let message = format!("gateway {ip} is outside the subnet {}", net.trunc());
            context.error_hint(
                gateway.span,
                message,
                "an address of the subnet, or a link-local one (fe80::…)",
            );
        }
    }
    Some(RawIpv6 { address, gateway })
}

/// Next hops must be neighbours.
fn routes(network: &Table<'_>, v4: Option<&At<Ipv4Net>>, v6: Option<&RawIpv6>) -> Vec<At<Route>> {
    let context = network.context;
    let Some(items) = network.list("routes") else {
        return Vec::new();
    };
    let mut routes: Vec<At<Route>> = Vec::new();
    for node in items.value {
        let Some(table) = Table::new(context, node, "a route", &["to", "via"]) else {
            continue;
        };
        let to = table.need("to", "the destination, as in to: 10.8.0.0/16");
        let to = to.and_then(|n| parsed::<IpNet>(context, n, "to", "a network, as in 10.8.0.0/16"));
        let via = table.need("via", "the next hop, as in via: 192.168.0.254");
        let via = via.and_then(|n| parsed::<IpAddr>(context, n, "via", "an IP address"));
        let (Some(to), Some(via)) = (to, via) else { continue };
        if let Some(route) = route(context, to, via, v4.map(|a| a.value), v6.map(|i| i.address.value)) {
            if routes.iter().any(|r| r.value.to == route.to) {
                context.error(to.span, format!("two routes to {}", route.to));
            }
            routes.push(At {
                value: route,
                span: via.span,
            });
        }
    }
    routes
}

fn route(context: &Context, to: At<IpNet>, via: At<IpAddr>, v4: Option<Ipv4Net>, v6: Option<Ipv6Net>) -> Option<Route> {
    let (net, hop) = (to.value, via.value);
    if net.prefix_len() == 0 {
        context.error_hint(to.span, "routes cannot hold a default route", "write it as gateway");
        return None;
    }
    if net != net.trunc() {
        context.error_hint(
            to.span,
            format!("{net} has host bits set"),
            format!("did you mean {}?", net.trunc()),
        );
        return None;
    }
    let reachable = match (net, hop) {
        (IpNet::V4(_), IpAddr::V4(hop)) => v4.is_none_or(|own| own.contains(&hop)),
        (IpNet::V6(_), IpAddr::V6(hop)) => hop.is_unicast_link_local() || v6.is_none_or(|own| own.contains(&hop)),
        _ => {
            context.error(
                via.span,
                format!("next hop {hop} and destination {net} are of different families"),
            );
            return None;
        }
    };
    if !reachable {
        context.error_hint(
            via.span,
            format!("next hop {hop} is outside the host's subnet"),
            "it must be a neighbour",
        );
        return None;
    }
    if v4.is_some_and(|own| hop == IpAddr::V4(own.addr())) || v6.is_some_and(|own| hop == IpAddr::V6(own.addr())) {
        context.error(via.span, format!("next hop {hop} is the host's own address"));
        return None;
    }
    Some(Route { to: net, via: hop })
}

/// A value that has a parser of its own.
pub(super) fn parsed<T: std::str::FromStr>(
    context: &Context,
    node: &YamlNode,
    what: &str,
    form: &str,
) -> Option<At<T>> {
    let text = context.text(node, what)?;
    match text.value.parse::<T>() {
        Ok(value) => Some(At { value, span: text.span }),
        Err(_) => {
            context.error(text.span, format!("{what} must be {form}, not {}", quote(text.value)));
            None
        }
    }
}

/// The span of a host's name, for messages about the host as a whole.
pub(super) fn name_span(host: &RawHost, otherwise: Span) -> Span {
    host.name.as_ref().map_or(otherwise, |n| n.span)
}
