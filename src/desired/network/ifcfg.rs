//! `ifcfg-*` profiles: shell variables in a file that bash sources.

use super::view::{MAX_NAME_SERVERS, SCRIPTS, View, block_text, route_block};
use crate::desired::build::Build;
use crate::inventory::Network;
use crate::state::edit::Edit;
use crate::state::{Interface, NetworkManagerKind, Spec, Stage};

/// The value that counts in a sourced file: the last assignment, without quotes.
fn shell_value(text: &str, key: &str) -> Option<String> {
    raw_value(text, key).map(|raw| unquote(raw).to_owned())
}

/// The same as it is spelled.
fn raw_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .next_back()
        .map(str::trim_end)
}

fn unquote(raw: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = raw.strip_prefix(quote).and_then(|r| r.strip_suffix(quote)) {
            return inner;
        }
    }
    raw
}

/// Collects edits of one ifcfg file.
struct IfcfgEdits<'a> {
    old: &'a str,
    edits: Vec<Edit>,
}

impl IfcfgEdits<'_> {
    /// The key must have this value; a present spelling of it stays.
    fn set(&mut self, key: &str, value: &str) {
        self.set_any(key, value, &[value]);
    }

    /// As [`IfcfgEdits::set`], but other values mean the same.
    fn set_any(&mut self, key: &str, value: &str, same: &[&str]) {
        let value = match raw_value(self.old, key) {
            Some(raw) if same.iter().any(|s| s.eq_ignore_ascii_case(unquote(raw))) => raw,
            _ => value,
        };
        self.edits.push(Edit::Assign {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        });
    }

    fn remove(&mut self, key: &str) {
        self.edits.push(Edit::Assign {
            key: key.to_owned(),
            value: None,
        });
    }

    fn remove_if(&mut self, key: &str, bad: impl Fn(&str) -> bool) {
        if shell_value(self.old, key).is_some_and(|value| bad(&value)) {
            self.remove(key);
        }
    }
}

pub(super) fn edits(view: &View, network: &Network, real: Option<&Interface>, old: &str, vips: &[String]) -> Vec<Edit> {
    let mut e = IfcfgEdits { old, edits: Vec::new() };
    e.set("DEVICE", &view.interface);
    e.set_any("BOOTPROTO", "static", &["static", "none"]);
    e.set_any("ONBOOT", "yes", &["yes", "true"]);
    e.set("IPADDR", &view.address);
    e.set("PREFIX", &view.prefix.to_string());
    // PREFIX beats NETMASK; IPADDR0 and its like would be a second opinion on the same address, and what belongs to
    // a lease has no place beside a static address.
    for trap in [
        "NETMASK",
        "NETWORK",
        "BROADCAST",
        "IPADDR0",
        "PREFIX0",
        "NETMASK0",
        "GATEWAY0",
    ] {
        e.remove(trap);
    }
    for lease in [
        "DHCP_HOSTNAME",
        "DHCP_CLIENT_ID",
        "DHCPCLASS",
        "DHCPRELEASE",
        "PERSISTENT_DHCLIENT",
    ] {
        e.remove(lease);
    }
    // A VIP (or the host's own address again) as a further static address would answer on both hosts.
    for n in 1..=255u8 {
        let Some(further) = shell_value(old, &format!("IPADDR{n}")) else {
            continue;
        };
        if further == view.address || vips.contains(&further) {
            for key in ["IPADDR", "PREFIX", "NETMASK", "GATEWAY"] {
                e.remove(&format!("{key}{n}"));
            }
        }
    }
    // network.service ignores a device whose hardware address is another one, as on a cloned machine.
    let mac = real
        .map(|i| i.mac.as_str())
        .filter(|m| !m.is_empty() && shell_value(old, "MACADDR").is_none());
    if let Some(mac) = mac {
        e.remove_if("HWADDR", |value| !value.eq_ignore_ascii_case(mac));
    }
    if let Some(gateway) = &view.gateway {
        e.set("GATEWAY", gateway);
        e.set_any("DEFROUTE", "yes", &["yes", "true"]);
    }
    if !view.dns.is_empty() {
        for (n, server) in view.dns.iter().enumerate() {
            e.set(&format!("DNS{}", n + 1), server);
        }
        for n in view.dns.len() + 1..=9 {
            let key = format!("DNS{n}");
            if n <= MAX_NAME_SERVERS || shell_value(old, &key).is_some() {
                e.remove(&key);
            }
        }
        e.remove_if("PEERDNS", |value| value.eq_ignore_ascii_case("no"));
    }
    if let Some(mtu) = view.mtu {
        e.set("MTU", &mtu.to_string());
    }
    if let Some(v6) = &network.ipv6 {
        e.set("IPV6INIT", "yes");
        e.set("IPV6_AUTOCONF", "no");
        e.set("IPV6ADDR", &v6.address.to_string());
        if let Some(gateway) = view.ipv6.as_ref().and_then(|v| v.gateway_device.as_ref()) {
            e.set("IPV6_DEFAULTGW", gateway);
            e.set_any("IPV6_DEFROUTE", "yes", &["yes", "true"]);
        }
        e.remove("DHCPV6C");
    }
    e.edits.push(route_block(network));
    e.edits
}

pub(super) fn note_hardware_address(build: &mut Build, interface: &Interface, old: &str) {
    let Some(written) = shell_value(old, "HWADDR") else {
        return;
    };
    if interface.mac.is_empty() || written.eq_ignore_ascii_case(&interface.mac) || shell_value(old, "MACADDR").is_some()
    {
        return;
    }
    build.note(format!(
        "{}: the profile names hardware address {written}, the interface has {}: the line is removed, because \
         network.service would ignore the device",
        interface.name, interface.mac
    ));
}

pub(super) fn note_static_vips(build: &mut Build, interface: &str, old: &str, vips: &[String]) {
    for n in 1..=255u8 {
        if let Some(vip) = shell_value(old, &format!("IPADDR{n}")).filter(|a| vips.contains(a)) {
            build.note(format!(
                "{interface}: the profile has the virtual address {vip} as IPADDR{n}, so this host would answer for it \
                 at all times: removed; a later IPADDR number may need closing up by hand"
            ));
        }
    }
}

/// The files beside a profile that its activation reads.
pub(super) fn add_neighbours(build: &mut Build, network: &Network, manager: NetworkManagerKind) {
    if manager == NetworkManagerKind::NetworkService {
        // network.service exits with 6 unless this file exists and says so; a GATEWAYDEV of another device would
        // silently suppress the default route.
        let mut edits = vec![Edit::Assign {
            key: "NETWORKING".to_owned(),
            value: Some("yes".to_owned()),
        }];
        if network.gateway.is_some() {
            edits.push(Edit::Assign {
                key: "GATEWAYDEV".to_owned(),
                value: None,
            });
        }
        let path = "/etc/sysconfig/network".to_owned();
        let create = Some("NETWORKING=yes\n".to_owned());
        let spec = Spec::Edit {
            path: path.clone(),
            edits,
            create,
            mode: 0o644,
            validator: None,
        };
        // Read only when the profile is activated, and that is armed with a revert timer of its own.
        build.push(Stage::Network, format!("file {path}"), spec);
    }
    for (v4, prefix) in [(true, "route"), (false, "route6")] {
        let lines: Vec<String> = network
            .routes
            .iter()
            .filter(|r| r.via.is_ipv4() == v4)
            .map(|r| format!("{} via {} dev {}", r.to, r.via, network.interface))
            .collect();
        let path = format!("{SCRIPTS}/{prefix}-{}", network.interface);
        let block = Edit::Block {
            name: "routes".to_owned(),
            lines: lines.clone(),
        };
        let create = (!lines.is_empty()).then(|| block_text(&lines));
        let spec = Spec::Edit {
            path: path.clone(),
            edits: vec![block],
            create,
            mode: 0o644,
            validator: None,
        };
        build.push(Stage::Network, format!("file {path}"), spec).cuts_ssh = true;
    }
}
