//! Virtual addresses, and how they fit the networks of the hosts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::hosts::{RawHost, name_span, usable};
use super::raw_instance::RawInstance;
use crate::inventory::context::{At, Context, quote};
use crate::inventory::model::Vip;
use crate::inventory::table::Table;

/// keepalived before 2.0 sends no more in one advert; the rest belongs in `virtual_ipaddress_excluded`.
const ADVERTISED_MAX: usize = 20;

/// The addresses of a list; those that are wrong are reported and left out.
pub(super) fn vips(instance: &Table<'_>, key: &'static str) -> Vec<At<Vip>> {
    let context = instance.context;
    let Some(items) = instance.list(key) else {
        return Vec::new();
    };
    if key == "virtual_ipaddress"
        && let Some(extra) = items.value.get(ADVERTISED_MAX)
    {
        let message = format!("more than {ADVERTISED_MAX} advertised addresses");
        context.error_hint(
            extra.span,
            message,
            "put the rest into virtual_ipaddress_excluded: they move along",
        );
    }
    let mut vips = Vec::new();
    for node in items.value {
        let Some(text) = context.text(node, &format!("an item of {key}")) else {
            continue;
        };
        let vip = if let Ok(ip) = text.value.parse::<IpAddr>() {
            Some(Vip {
                address: IpNet::from(ip),
                prefix_written: false,
            })
        } else {
            text.value.parse::<IpNet>().ok().map(|address| Vip {
                address,
                prefix_written: true,
            })
        };
        let Some(vip) = vip else {
            let message = format!("an item of {key} must be an address, not {}", quote(text.value));
            context.error_hint(text.span, message, "as in 192.168.0.200/24 or 2001:db8::200/64");
            continue;
        };
        if usable(
            context,
            At {
                value: vip.address.addr(),
                span: text.span,
            },
            "a VIP",
        ) {
            vips.push(At {
                value: vip,
                span: text.span,
            });
        }
    }
    vips
}

/// One instance against the hosts.
pub(super) fn check_instance(context: &Context, instance: &RawInstance, hosts: &[RawHost]) {
    if let Some(ipv6) = instance.is_ipv6() {
        for vip in instance
            .vips
            .iter()
            .filter(|v| v.value.address.addr().is_ipv6() != ipv6)
        {
            let message = "virtual_ipaddress mixes IPv4 and IPv6";
            context.error_hint(
                vip.span,
                message,
                "VRRP advertises one family: use two instances, or virtual_ipaddress_excluded",
            );
        }
        for (host, source) in &instance.mcast_src_ip {
            if source.value.is_ipv6() != ipv6 {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                context.error(
                    source.span,
                    format!("mcast_src_ip of {host} must be {family}, as the VIPs are"),
                );
            }
        }
    }
    let sources: Vec<&At<IpAddr>> = instance.mcast_src_ip.values().collect();
    if let [a, b] = sources.as_slice()
        && a.value == b.value
    {
        context.error(
            a.span.max(b.span),
            format!("both hosts have the mcast_src_ip {}", a.value),
        );
    }
    for vip in instance.vips.iter().chain(&instance.excluded) {
        if let Some(source) = sources.iter().find(|s| s.value == vip.value.address.addr()) {
            context.error(source.span, format!("mcast_src_ip {} is a VIP: it moves", source.value));
        }
        check_vip(context, instance, vip, hosts);
    }
    for host in hosts {
        let at = name_span(host, instance.span);
        if host.name.is_some() && host.network.is_none() && instance.interface.is_none() {
            let message = format!(
                "instance {} does not say on which interface of {} it runs",
                instance.name.value,
                host.label()
            );
            let hint = "write interface in the instance, or network in the host";
            context.error_hint(instance.span, message, hint);
        }
        if instance.unicast && !has_unicast_address(instance, host) {
            let family = if instance.is_ipv6() == Some(true) {
                "IPv6"
            } else {
                "IPv4"
            };
            let message = format!("unicast needs an {family} address of {}", host.label());
            context.error_hint(at, message, "write network, or mcast_src_ip in the instance");
        }
    }
}

fn has_unicast_address(instance: &RawInstance, host: &RawHost) -> bool {
    let ipv6 = instance.is_ipv6() == Some(true);
    let named = host
        .name
        .as_ref()
        .is_some_and(|n| instance.mcast_src_ip.contains_key(&n.value));
    // A host that could not be read has been reported already.
    named || host.name.is_none() || host.own_addresses().iter().any(|ip| ip.is_ipv6() == ipv6)
}

/// One VIP against the addresses and subnets of the hosts; the first problem is enough.
fn check_vip(context: &Context, instance: &RawInstance, vip: &At<Vip>, hosts: &[RawHost]) {
    let ip = vip.value.address.addr();
    for host in hosts {
        if host.own_addresses().contains(&ip) {
            let message = format!("VIP {ip} is the own address of {}", host.label());
            context.error_hint(
                vip.span,
                message,
                "the VIP moves between the hosts: it needs an address of its own",
            );
            return;
        }
        let Some(network) = &host.network else { continue };
        let v4 = network.gateway.iter().map(|g| IpAddr::V4(g.value));
        let v6 = network
            .ipv6
            .iter()
            .filter_map(|i| i.gateway.as_ref())
            .map(|g| IpAddr::V6(g.value));
        if v4.chain(v6).any(|gateway| gateway == ip) {
            context.error_hint(
                vip.span,
                format!("VIP {ip} is the gateway"),
                "the hosts would lose their default route",
            );
            return;
        }
        if network.routes.iter().any(|r| r.value.via == ip) {
            context.error(vip.span, format!("VIP {ip} is the next hop of a route"));
            return;
        }
        // Another interface than the one we configure may be in any subnet.
        let same = instance.interface_on(host) == network.interface.as_ref().map(|i| i.value.as_str());
        let subnet = match ip {
            IpAddr::V4(_) => network.address.as_ref().map(|a| IpNet::V4(a.value.trunc())),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
            IpAddr::V6(_) => network.ipv6.as_ref().map(|i| IpNet::V6(i.address.value.trunc())),
        };
        if let Some(subnet) = subnet.filter(|_| same)
            && !fits(context, vip, subnet, host)
        {
            return;
        }
    }
}

/// Whether a VIP lies in the subnet of its interface as an address that a host can have.
fn fits(context: &Context, vip: &At<Vip>, subnet: IpNet, host: &RawHost) -> bool {
    let (net, ip) = (vip.value.address, vip.value.address.addr());
    let refuse = |message: String, hint: &str| {
        context.error_hint(vip.span, message, hint);
        false
    };
    if !subnet.contains(&ip) {
        let message = format!("VIP {ip} is outside the subnet {subnet} of {}", host.label());
        return refuse(message, "clients and the gateway would not find it there");
    }
    if ip.is_ipv4() && (ip == subnet.network() || ip == subnet.broadcast()) {
        let which = if ip == subnet.network() { "network" } else { "broadcast" };
        return refuse(
            format!("VIP {ip} is the {which} address of {subnet}"),
            "choose another address",
        );
    }
    if vip.value.prefix_written && net.prefix_len() < subnet.prefix_len() {
        let message = format!(
            "VIP {net} has a shorter prefix than the subnet {subnet} of {}",
            host.label()
        );
        return refuse(
            message,
            "the host would look for addresses outside its subnet on this interface: use the subnet's prefix",
        );
    }
    true
}

/// No address is advertised twice.
pub(super) fn check_together(context: &Context, instances: &[RawInstance]) {
    let mut seen: Vec<(IpAddr, &str)> = Vec::new();
    for instance in instances {
        for vip in instance.vips.iter().chain(&instance.excluded) {
            let ip = vip.value.address.addr();
            match seen.iter().find(|(earlier, _)| *earlier == ip) {
                Some((_, owner)) => {
                    context.error_hint(
                        vip.span,
                        format!("VIP {ip} is written twice"),
                        format!("{owner} has it already"),
                    );
                }
                None => seen.push((ip, &instance.name.value)),
            }
        }
    }
}
