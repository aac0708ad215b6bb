//! Lines of `virtual_ipaddress`, `virtual_ipaddress_excluded` and `unicast_peer`.

use std::net::IpAddr;

use super::builder::Builder;
use super::diag::Diagnostic;
use super::family::Family;
use super::instance::Draft;
use super::model::*;
use super::table;
use super::tree::Stmt;

impl Builder<'_> {
    /// `virtual_ipaddress`. An address that is written twice is advertised twice.
    pub(super) fn vips(&mut self, stmt: &Stmt, d: &mut Draft) {
        for line in stmt.children() {
            let Some(address) = self.address(line, &mut d.bad_vips) else {
                continue;
            };
            if !d.is_of(Family::of(address.ip)) {
                let message = format!(
                    "{} is not of the family of the adverts of `{}`: it is ignored, as in keepalived",
                    address.ip, d.i.name
                );
                self.out
                    .push(Diagnostic::warning(&line.place, message).hint("write it in virtual_ipaddress_excluded"));
                continue;
            }
            if !d.seen[0].insert(address.ip) {
                let message = format!(
                    "{} is written twice and counts twice in adverts, as in keepalived",
                    address.ip
                );
                self.out
                    .push(Diagnostic::warning(&line.place, message).hint("write it once, on both hosts"));
            }
            d.i.vips.push(address);
        }
    }

    /// `virtual_ipaddress_excluded`.
    pub(super) fn excluded(&mut self, stmt: &Stmt, d: &mut Draft) {
        for line in stmt.children() {
            let mut bad = Vec::new();
            let address = self.address(line, &mut bad);
            self.out.extend(bad);
            if let Some(address) = address {
                if !d.seen[1].insert(address.ip) {
                    self.warn(&line.place, format!("{} is written twice", address.ip));
                }
                d.i.vips_excluded.push(address);
            }
        }
    }

    /// `unicast_peer`.
    pub(super) fn peers(&mut self, stmt: &Stmt, d: &mut Draft) {
        for line in stmt.children() {
            let text = line.keyword();
            // keepalived cuts off what might be a range or a prefix.
            let (address, cut) = text.split_at(text.find('-').or(text.find('/')).unwrap_or(text.len()));
            let Ok(ip) = address.parse::<IpAddr>() else {
                self.error(&line.place, format!("`{text}` is not an address"));
                continue;
            };
            if !cut.is_empty() {
                let message = format!("a peer is one address: `{cut}` is ignored, as in keepalived");
                self.warn(&line.place, message);
            }
            if !d.is_of(Family::of(ip)) {
                let message = format!(
                    "peer {ip} is not of the family of `{}`: it is ignored, as in keepalived",
                    d.i.name
                );
                self.warn(&line.place, message);
                continue;
            }
            let mut peer = Peer {
                ip,
                min_ttl: 0,
                max_ttl: 255,
            };
            for pair in line.args().chunks(2) {
                match (pair[0].text.as_str(), pair.get(1).and_then(|w| w.text.parse().ok())) {
                    ("min_ttl", Some(ttl)) => peer.min_ttl = ttl,
                    ("max_ttl", Some(ttl)) => peer.max_ttl = ttl,
                    (other, _) => self.warn(&pair[0].place, format!("`{other}` after a peer is ignored")),
                }
            }
            d.i.unicast_peers.push(peer);
        }
    }

    /// The address of a line whose prefix cannot be read.
    fn without_prefix(&mut self, line: &Stmt) -> Option<(IpAddr, Option<u8>)> {
        let (ip, prefix) = line.keyword().split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let message = format!("`{prefix}` is not a prefix length for {ip}: {whole} is used, as in keepalived");
        self.warn(&line.place, message);
        Some((ip, None))
    }

    /// A line. What is not an address goes to `bad`, as an error: what it means depends on the other lines.
    fn address(&mut self, line: &Stmt, bad: &mut Vec<Diagnostic>) -> Option<Address> {
        let text = line.keyword();
        let Some((ip, prefix)) = ip_prefix(text).or_else(|| self.without_prefix(line)) else {
            if table::lookup(table::INSTANCE, text).is_some() {
                let d = Diagnostic::error(&line.place, format!("`{text}` among addresses"));
                self.out.push(d.hint("a `}` is missing above"));
            } else {
                let message = format!("`{text}` is not an address with an optional /prefix");
                bad.push(Diagnostic::error(&line.place, message));
            }
            return None;
        };
        let mut a = Address {
            ip,
            prefix: prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 }),
            dev: None,
            label: None,
            broadcast: None,
            scope: None,
            preferred_lft: None,
            peer: None,
            noprefixroute: false,
            home: false,
            mngtmpaddr: false,
            autojoin: false,
            dad: false,
            no_track: false,
            place: line.place.clone(),
        };
        let lifetime = line.args().iter().any(|w| w.text == "preferred_lft");
        let mut words = line.args().iter();
        while let Some(word) = words.next() {
            let known = match word.text.as_str() {
                key if flag(&mut a, key) => true,
                "use_vmac" => {
                    self.warn(
                        &word.place,
                        "`use_vmac` is not supported by the agent and has no effect there",
                    );
                    true
                }
                key @ ("brd" | "broadcast" | "dev" | "scope" | "label" | "peer" | "preferred_lft" | "track_group") => {
                    let Some(value) = words.next() else {
                        self.error(&word.place, format!("`{key}` needs a value"));
                        break;
                    };
                    if !set(&mut a, key, &value.text) {
                        self.error(&value.place, format!("`{}` is not a value for `{key}`", value.text));
                    } else if key == "track_group" || key == "peer" {
                        let message = format!("`{key}` after an address has no effect in the agent");
                        self.warn(&word.place, message);
                    }
                    true
                }
                _ => false,
            };
            if !known {
                let d = Diagnostic::warning(&word.place, format!("`{}` after an address is ignored", word.text));
                self.out.push(d.hint("one address a line"));
            }
        }
        if ip.is_ipv6() && a.prefix == 128 && !lifetime {
            a.preferred_lft = Some(0);
        }
        Some(a)
    }
}

/// Sets what a word alone says; `false`: it is not such a word.
fn flag(a: &mut Address, key: &str) -> bool {
    match key {
        "home" => a.home = true,
        "-nodad" => a.dad = true,
        "mngtmpaddr" => a.mngtmpaddr = true,
        "noprefixroute" => a.noprefixroute = true,
        "autojoin" => a.autojoin = true,
        "no_track" => a.no_track = true,
        _ => return false,
    }
    true
}

fn set(a: &mut Address, key: &str, value: &str) -> bool {
    match key {
        "dev" => a.dev = Some(value.to_owned()),
        "label" => a.label = Some(value.to_owned()),
        "brd" | "broadcast" => {
            a.broadcast = Some(value.to_owned());
            return matches!(value, "+" | "-") || value.parse::<std::net::Ipv4Addr>().is_ok();
        }
        "scope" => {
            // rtnetlink(7).
            a.scope = match value {
                "global" | "universe" => Some(0),
                "site" => Some(200),
                "link" => Some(253),
                "host" => Some(254),
                "nowhere" => Some(255),
                number => number.parse().ok(),
            };
            return a.scope.is_some();
        }
        "peer" => {
            let Some((ip, prefix)) = ip_prefix(value) else {
                return false;
            };
            a.peer = Some((ip, prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 })));
        }
        "preferred_lft" => {
            a.preferred_lft = if value == "forever" { None } else { value.parse().ok() };
            return value == "forever" || a.preferred_lft.is_some();
        }
        _ => {}
    }
    true
}

fn ip_prefix(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|p| p <= most).then_some((ip, prefix))
}
