//! Step 1: the static network profile.
//!
//! `ifcfg-*` files on release 7 and wherever such a profile is in force, NetworkManager keyfiles elsewhere. An
//! existing profile keeps every key hapair has no opinion on, and a value that already means what is wanted keeps its
//! spelling, so that adopting a host does not restart its network for a pair of quotes.

use std::net::IpAddr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Build;
use super::error::DesiredError;
use super::guard::Place;
use crate::inventory::{Ipv6, Network, Route};
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
        let text = build.render(CLOUD, &View { network: network.is_some() })?;
        build.push_file(Stage::Network, CLOUD_PATH, text, 0o644, None, Vec::new());
    }
    let Some(network) = network else { return Ok(()) };
    build.guard(Place::ShellWord, "network.interface", &network.interface)?;

    let interface = build.facts.interfaces.iter().find(|i| i.name == network.interface);
    let manager = manager(build, interface);
    let profile = interface.and_then(|i| i.profile.as_ref()).filter(|p| usable(build.release(), p));
    let dns = name_servers(build, network);
    let view = View::new(build, network, &dns);

    let keyfile = match profile {
        Some(profile) => profile.format == ProfileFormat::Keyfile,
        None => build.release() > 7 && manager == NetworkManagerKind::NetworkManager,
    };
    let old = profile.map_or("", |p| p.content.as_str());
    let (path, create, mode, edits) = if keyfile {
        let path = format!("{CONNECTIONS}/{}.nmconnection", network.interface);
        (path, build.render(KEYFILE, &view)?, 0o600, keyfile_edits(&view, network, old))
    } else {
        if let Some(interface) = interface {
            note_hardware_address(build, interface, old);
        }
        let path = format!("{SCRIPTS}/ifcfg-{}", network.interface);
        let vips: Vec<String> = build.inventory.vips().map(|v| v.address.addr().to_string()).collect();
        let edits = ifcfg_edits(&view, network, interface, old, &vips);
        add_ifcfg_neighbours(build, network, manager);
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
        let left_out: Vec<String> = dns.split_off(MAX_NAME_SERVERS).iter().map(ToString::to_string).collect();
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
            dns.iter().filter(|a| a.is_ipv4() == v4).map(|a| format!("{a};")).collect::<Vec<_>>().concat()
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
fn profile_uuid(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

// ---- ifcfg ----------------------------------------------------------------------------------------------------

/// The value that counts in a sourced file: the last assignment, without quotes.
fn shell_value(text: &str, key: &str) -> Option<String> {
    raw_value(text, key).map(|raw| unquote(raw).to_owned())
}

/// The same as it is spelled.
fn raw_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).next_back().map(str::trim_end)
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
        self.edits.push(Edit::Assign { key: key.to_owned(), value: Some(value.to_owned()) });
    }

    fn remove(&mut self, key: &str) {
        self.edits.push(Edit::Assign { key: key.to_owned(), value: None });
    }

    fn remove_if(&mut self, key: &str, bad: impl Fn(&str) -> bool) {
        if shell_value(self.old, key).is_some_and(|value| bad(&value)) {
            self.remove(key);
        }
    }
}

fn ifcfg_edits(view: &View, network: &Network, real: Option<&Interface>, old: &str, vips: &[String]) -> Vec<Edit> {
    let mut e = IfcfgEdits { old, edits: Vec::new() };
    e.set("DEVICE", &view.interface);
    e.set_any("BOOTPROTO", "static", &["static", "none"]);
    e.set_any("ONBOOT", "yes", &["yes", "true"]);
    e.set("IPADDR", &view.address);
    e.set("PREFIX", &view.prefix.to_string());
    // PREFIX beats NETMASK; IPADDR0 and its like would be a second opinion on the same address, and what belongs to
    // a lease has no place beside a static address.
    for trap in ["NETMASK", "NETWORK", "BROADCAST", "IPADDR0", "PREFIX0", "NETMASK0", "GATEWAY0"] {
        e.remove(trap);
    }
    for lease in ["DHCP_HOSTNAME", "DHCP_CLIENT_ID", "DHCPCLASS", "DHCPRELEASE", "PERSISTENT_DHCLIENT"] {
        e.remove(lease);
    }
    // A VIP (or the host's own address again) as a further static address would answer on both hosts.
    for n in 1..=255u8 {
        let Some(further) = shell_value(old, &format!("IPADDR{n}")) else { continue };
        if further == view.address || vips.contains(&further) {
            for key in ["IPADDR", "PREFIX", "NETMASK", "GATEWAY"] {
                e.remove(&format!("{key}{n}"));
            }
        }
    }
    // network.service ignores a device whose hardware address is another one, as on a cloned machine.
    if let Some(mac) = real.map(|i| i.mac.as_str()).filter(|m| !m.is_empty()) {
        if shell_value(old, "MACADDR").is_none() {
            e.remove_if("HWADDR", |value| !value.eq_ignore_ascii_case(mac));
        }
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

/// A link-local gateway needs its interface.
fn ipv6_gateway(v6: &Ipv6, interface: &str) -> Option<String> {
    v6.gateway.map(|g| if g.is_unicast_link_local() { format!("{g}%{interface}") } else { g.to_string() })
}

fn note_hardware_address(build: &mut Build, interface: &Interface, old: &str) {
    let Some(written) = shell_value(old, "HWADDR") else { return };
    if interface.mac.is_empty() || written.eq_ignore_ascii_case(&interface.mac) || old.contains("MACADDR=") {
        return;
    }
    build.note(format!(
        "{}: the profile names hardware address {written}, the interface has {}: the line is removed, because \
         network.service would ignore the device",
        interface.name, interface.mac
    ));
}

/// The files beside a profile that its activation reads.
fn add_ifcfg_neighbours(build: &mut Build, network: &Network, manager: NetworkManagerKind) {
    if manager == NetworkManagerKind::NetworkService {
        // network.service exits with 6 unless this file exists and says so; a GATEWAYDEV of another device would
        // silently suppress the default route.
        let mut edits = vec![Edit::Assign { key: "NETWORKING".to_owned(), value: Some("yes".to_owned()) }];
        if network.gateway.is_some() {
            edits.push(Edit::Assign { key: "GATEWAYDEV".to_owned(), value: None });
        }
        let path = "/etc/sysconfig/network".to_owned();
        let create = Some("NETWORKING=yes\n".to_owned());
        let spec = Spec::Edit { path: path.clone(), edits, create, mode: 0o644, validator: None };
        build.push(Stage::Network, format!("file {path}"), spec).cuts_ssh = true;
    }
    for (v4, prefix) in [(true, "route"), (false, "route6")] {
        let lines: Vec<String> = network
            .routes
            .iter()
            .filter(|r| r.via.is_ipv4() == v4)
            .map(|r| format!("{} via {} dev {}", r.to, r.via, network.interface))
            .collect();
        let path = format!("{SCRIPTS}/{prefix}-{}", network.interface);
        let block = Edit::Block { name: "routes".to_owned(), lines: lines.clone() };
        let create = (!lines.is_empty()).then(|| block_text(&lines));
        let spec = Spec::Edit { path: path.clone(), edits: vec![block], create, mode: 0o644, validator: None };
        build.push(Stage::Network, format!("file {path}"), spec).cuts_ssh = true;
    }
}

// ---- routes ---------------------------------------------------------------------------------------------------

/// A comment in the profile that lists the routes. Routes live in files of their own beside an ifcfg profile; listing
/// them here makes a change of routes a change of the profile, and so activates it. In a keyfile it marks the
/// `routeN` keys as ours, so that they go when the inventory's routes go.
fn route_block(network: &Network) -> Edit {
    Edit::Block { name: "routes".to_owned(), lines: route_comments(&network.routes) }
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

// ---- keyfile --------------------------------------------------------------------------------------------------

/// Key and value of every assignment in a section.
fn ini_values<'a>(text: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let mut inside = false;
    let mut out = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name == section;
        } else if inside && !line.starts_with(['#', ';']) {
            out.extend(line.split_once('=').map(|(k, v)| (k.trim(), v.trim())));
        }
    }
    out
}

struct KeyfileEdits<'a> {
    old: &'a str,
    edits: Vec<Edit>,
}

impl KeyfileEdits<'_> {
    fn set(&mut self, section: &str, key: &str, value: &str) {
        self.push(section, key, Some(value.to_owned()));
    }

    fn remove(&mut self, section: &str, key: &str) {
        self.push(section, key, None);
    }

    fn push(&mut self, section: &str, key: &str, value: Option<String>) {
        self.edits.push(Edit::Ini { section: section.to_owned(), key: key.to_owned(), value });
    }

    /// The first address with its gateway, which may be spelled as a key of its own.
    fn set_address(&mut self, section: &str, address: &str, gateway: Option<&str>) {
        let present = ini_values(self.old, section);
        let value_of = |key: &str| present.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        if value_of("address1") == Some(address) && gateway.is_some() && value_of("gateway") == gateway {
            self.set(section, "address1", address);
            return;
        }
        let value = gateway.map_or_else(|| address.to_owned(), |g| format!("{address},{g}"));
        self.set(section, "address1", &value);
        if gateway.is_some() {
            self.remove(section, "gateway");
            self.remove(section, "never-default");
        }
        // Other spellings of the first address that NetworkManager reads too.
        for alias in ["address", "addresses", "addresses1"] {
            self.remove(section, alias);
        }
    }

    /// A list that is the same with and without its last separator.
    fn set_list(&mut self, section: &str, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let old = ini_values(self.old, section).into_iter().find(|(k, _)| *k == key).map(|(_, v)| v);
        match old {
            Some(old) if old.trim_end_matches(';') == value.trim_end_matches(';') => self.set(section, key, old),
            _ => self.set(section, key, value),
        }
    }

    /// `route1` and on. When the inventory names routes, they are all of them; when it names none, those hapair wrote
    /// before go and those of others stay.
    fn set_routes(&mut self, section: &str, routes: &[String], ours: bool) {
        for (n, route) in routes.iter().enumerate() {
            self.set(section, &format!("route{}", n + 1), route);
        }
        if !routes.is_empty() || ours {
            for (key, _) in ini_values(self.old, section) {
                let number = key.strip_prefix("route").and_then(|n| n.parse::<usize>().ok());
                if number.is_some_and(|n| n > routes.len()) {
                    self.remove(section, key);
                }
            }
        }
    }
}

fn keyfile_edits(view: &View, network: &Network, old: &str) -> Vec<Edit> {
    let ours = old.contains("# BEGIN hapair routes");
    let mut e = KeyfileEdits { old, edits: Vec::new() };
    e.set("connection", "interface-name", &view.interface);
    let off = |(k, v): &(&str, &str)| *k == "autoconnect" && matches!(*v, "false" | "0" | "no");
    if ini_values(old, "connection").iter().any(off) {
        e.set("connection", "autoconnect", "true");
    }
    if let Some(mtu) = view.mtu {
        e.set("ethernet", "mtu", &mtu.to_string());
    }
    e.set("ipv4", "method", "manual");
    let address = format!("{}/{}", view.address, view.prefix);
    e.set_address("ipv4", &address, view.gateway.as_deref());
    e.set_list("ipv4", "dns", &view.dns4);
    e.set_routes("ipv4", &view.routes4, ours);
    if let Some(v6) = &view.ipv6 {
        e.set("ipv6", "method", "manual");
        e.set_address("ipv6", &v6.address, v6.gateway.as_deref());
    }
    e.set_list("ipv6", "dns", &view.dns6);
    e.set_routes("ipv6", &view.routes6, ours);
    if !network.routes.is_empty() || ours {
        e.edits.push(route_block(network));
    }
    e.edits
}
