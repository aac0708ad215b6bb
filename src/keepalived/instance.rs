//! `vrrp_instance` and its addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::build::Builder;
use super::diag::Diagnostic;
use super::garp::{garp_count, garp_time};
use super::model::*;
use super::table;
use super::tree::Stmt;
use super::value::Value;

/// Bytes of the password field of VRRPv2 (RFC 2338, 5.3.10).
const AUTH_LEN: usize = 8;

impl Builder<'_> {
    pub(super) fn instance(&mut self, stmt: &Stmt, name: String) {
        let global = &self.config.global;
        let mut i = Instance {
            name,
            state: None,
            interface: String::new(),
            vrid: 0,
            priority: 100,
            version: 0,
            advert_int: Duration::from_secs(1),
            auth: None,
            vips: Vec::new(),
            vips_excluded: Vec::new(),
            no_vips: false,
            source: None,
            unicast_peers: Vec::new(),
            unicast: false,
            unicast_ttl: None,
            mcast_dst: None,
            check_unicast_src: global.check_unicast_src,
            nopreempt: false,
            preempt_delay: Duration::ZERO,
            garp: Garp::default(),
            down_timer_adverts: global.down_timer_adverts.unwrap_or(3),
            lower_prio_no_advert: global.lower_prio_no_advert,
            higher_prio_send_advert: global.higher_prio_send_advert,
            skip_check_adv_addr: global.skip_check_adv_addr,
            accept: None,
            v3_checksum_as_v2: false,
            ipv6: false,
            dont_track_primary: false,
            track_src_ip: false,
            tracks: Tracks::default(),
            notify: Notify::default(),
            place: stmt.place.clone(),
        };
        let mut version = global.version;
        for line in stmt.children() {
            let Some(value) = self.value(table::INSTANCE, line) else {
                continue;
            };
            match (line.keyword(), value) {
                ("authentication", _) => i.auth = self.auth(line).or(i.auth),
                ("virtual_ipaddress", _) => self.addresses(line, &mut i.vips),
                ("virtual_ipaddress_excluded", _) => self.addresses(line, &mut i.vips_excluded),
                ("unicast_peer", _) => {
                    i.unicast = true;
                    self.peers(line, &mut i.unicast_peers);
                }
                ("state", Value::Words([word, ..])) => {
                    let master = word.text.eq_ignore_ascii_case("MASTER");
                    i.state = Some(if master { InitState::Master } else { InitState::Backup });
                }
                ("interface", Value::Words([word, ..])) => {
                    if word.text.len() > 15 {
                        self.error(
                            &word.place,
                            format!("`{}` is longer than an interface name can be (15)", word.text),
                        );
                    }
                    i.interface = word.text.clone();
                }
                ("virtual_router_id", Value::Int(n)) => i.vrid = n as u8,
                ("priority", Value::Int(n)) => i.priority = n as u8,
                ("version" | "vrrp_version", Value::Int(n)) => version = Some(n as u8),
                ("down_timer_adverts", Value::Int(n)) => i.down_timer_adverts = n as u8,
                ("unicast_ttl", Value::Int(n)) => i.unicast_ttl = Some(n as u8),
                (name, Value::Int(n)) => garp_count(&mut i.garp, name, n as u32),
                ("advert_int", Value::Secs(time)) => i.advert_int = time,
                ("preempt_delay", Value::Secs(time)) => i.preempt_delay = time,
                (name, Value::Secs(time)) => garp_time(&mut i.garp, name, time),
                ("mcast_dst_ip", Value::Addr(ip)) if ip.is_multicast() => i.mcast_dst = Some(ip),
                ("mcast_dst_ip", Value::Addr(ip)) => self.error(&line.place, format!("{ip} is not a multicast group")),
                (_, Value::Addr(ip)) => i.source = Some(ip),
                (name, Value::Flag(on)) => self.flag(line, &mut i, name, on),
                (_, value) => self.shared(line, value, &mut i.tracks, &mut i.notify),
            }
        }
        i.ipv6 |= i.vips.first().is_some_and(|vip| vip.ip.is_ipv6());
        i.version = version.unwrap_or(if i.ipv6 { 3 } else { 2 });
        i.garp = resolve(i.garp, &self.config.global);
        self.config.instances.push(Arc::new(i));
    }

    fn flag(&mut self, line: &Stmt, i: &mut Instance, name: &str, on: bool) {
        match name {
            "nopreempt" => i.nopreempt = on,
            "preempt" => i.nopreempt = false,
            "check_unicast_src" => i.check_unicast_src = on,
            "lower_prio_no_advert" => i.lower_prio_no_advert = on,
            "higher_prio_send_advert" => i.higher_prio_send_advert = Some(on),
            "skip_check_adv_addr" => i.skip_check_adv_addr = on,
            "accept" => i.accept = Some(on),
            "no_accept" => i.accept = Some(!on),
            "track_src_ip" => i.track_src_ip = on,
            "no_virtual_ipaddress" => i.no_vips = on,
            "v3_checksum_as_v2" => i.v3_checksum_as_v2 = on,
            "dont_track_primary" => i.dont_track_primary = on,
            "native_ipv6" => i.ipv6 = on,
            // The only further shared words that are flags.
            _ => self.shared(line, Value::Flag(on), &mut i.tracks, &mut i.notify),
        }
    }

    fn auth(&mut self, stmt: &Stmt) -> Option<Auth> {
        let (mut kind, mut pass) = (None, None);
        for line in stmt.children() {
            match (line.keyword(), self.value(table::AUTH, line)) {
                ("auth_type", Some(Value::Words([word, ..]))) => kind = Some(word.text.to_ascii_uppercase()),
                ("auth_pass", Some(Value::Words([word, ..]))) => {
                    let mut bytes = word.text.clone().into_bytes();
                    if bytes.len() > AUTH_LEN {
                        let message = format!("the password has {} bytes and only the first 8 count", bytes.len());
                        self.warn(&word.place, message);
                        bytes.truncate(AUTH_LEN);
                    }
                    pass = Some(bytes);
                }
                _ => {}
            }
        }
        match (kind.as_deref(), pass) {
            (Some("AH"), _) => {
                self.error(&stmt.place, "the agent cannot authenticate with IPsec AH");
                Some(Auth::Ah)
            }
            (Some(_), Some(pass)) => Some(Auth::Pass(pass)),
            (Some(_), None) => {
                self.error(&stmt.place, "`authentication` has no `auth_pass`");
                None
            }
            // As keepalived: without a type there is no authentication.
            (None, Some(_)) => {
                let d = Diagnostic::warning(
                    &stmt.place,
                    "`authentication` has no `auth_type`, so the password is not used",
                );
                self.out.push(d.hint("add `auth_type PASS`"));
                None
            }
            (None, None) => None,
        }
    }

    fn peers(&mut self, stmt: &Stmt, list: &mut Vec<Peer>) {
        for line in stmt.children() {
            let Ok(ip) = line.keyword().parse::<IpAddr>() else {
                self.error(&line.place, format!("`{}` is not an address", line.keyword()));
                continue;
            };
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
            list.push(peer);
        }
    }

    fn addresses(&mut self, stmt: &Stmt, list: &mut Vec<Address>) {
        let mut seen: HashSet<IpAddr> = list.iter().map(|a| a.ip).collect();
        for line in stmt.children() {
            if let Some(address) = self.address(line) {
                if !seen.insert(address.ip) {
                    self.warn(&line.place, format!("{} is written twice", address.ip));
                } else {
                    list.push(address);
                }
            }
        }
    }

    fn address(&mut self, line: &Stmt) -> Option<Address> {
        let Some((ip, prefix)) = ip_prefix(line.keyword()) else {
            self.error(
                &line.place,
                format!("`{}` is not an address with an optional /prefix", line.keyword()),
            );
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
            no_track: false,
            place: line.place.clone(),
        };
        if ip.is_ipv6() && a.prefix == 128 {
            a.preferred_lft = Some(0);
        }
        let mut words = line.args().iter();
        while let Some(word) = words.next() {
            let known = match word.text.as_str() {
                "home" => {
                    a.home = true;
                    true
                }
                "-nodad" | "nodad" | "deprecated" => true,
                "mngtmpaddr" => {
                    a.mngtmpaddr = true;
                    true
                }
                "noprefixroute" => {
                    a.noprefixroute = true;
                    true
                }
                "autojoin" => {
                    a.autojoin = true;
                    true
                }
                "no_track" => {
                    a.no_track = true;
                    true
                }
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
                        self.error(&value.place, format!("`{}` is no value for `{key}`", value.text));
                    }
                    true
                }
                _ => false,
            };
            if !known {
                let d = Diagnostic::warning(&word.place, format!("`{}` after an address is ignored", word.text));
                self.out.push(d.hint("one address a line"));
                break;
            }
        }
        Some(a)
    }
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

/// Fills what the instance does not write from global_defs, then from keepalived's defaults (vrrp.h).
fn resolve(own: Garp, global: &GlobalDefs) -> Garp {
    let g = global.garp;
    let (delay, repeat) = if global.min_garp {
        (Duration::ZERO, 1)
    } else {
        (Duration::from_secs(5), 5)
    };
    let master_delay = own.master_delay.or(g.master_delay).or(Some(delay));
    let master_repeat = own.master_repeat.or(g.master_repeat).or(Some(repeat));
    Garp {
        master_delay,
        master_repeat,
        lower_prio_delay: own.lower_prio_delay.or(g.lower_prio_delay).or(master_delay),
        lower_prio_repeat: own.lower_prio_repeat.or(g.lower_prio_repeat).or(master_repeat),
        refresh: own.refresh.or(g.refresh),
        refresh_repeat: own.refresh_repeat.or(g.refresh_repeat).or(Some(1)),
    }
}
