//! NetworkManager keyfiles.

use super::view::{View, route_block};
use crate::inventory::Network;
use crate::state::edit::Edit;

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
        self.edits.push(Edit::Ini {
            section: section.to_owned(),
            key: key.to_owned(),
            value,
        });
    }

    /// The first address with its gateway, which may be spelled as a key of its own.
    fn set_address(&mut self, section: &str, address: &str, gateway: Option<&str>) {
        let present = ini_values(self.old, section);
        let value_of = |key: &str| present.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        if gateway.is_some() {
            self.remove(section, "never-default");
        }
        if value_of("address1") == Some(address) && gateway.is_some() && value_of("gateway") == gateway {
            self.set(section, "address1", address);
            return;
        }
        let value = gateway.map_or_else(|| address.to_owned(), |g| format!("{address},{g}"));
        self.set(section, "address1", &value);
        if gateway.is_some() {
            self.remove(section, "gateway");
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
        let old = ini_values(self.old, section)
            .into_iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v);
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

pub(super) fn edits(view: &View, network: &Network, old: &str) -> Vec<Edit> {
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
