//! `vrrp_instance`: what its lines say. What keepalived makes of them as a whole is in `effective`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::builder::Builder;
use super::diag::{Diagnostic, Place, Severity};
use super::family::Family;
use super::garp::{garp_count, garp_time};
use super::hmac::HmacDraft;
use super::model::*;
use super::table;
use super::tree::Stmt;
use super::value::Value;

/// Bytes of the password field of VRRPv2 (RFC 2338, 5.3.10).
const AUTH_LEN: usize = 8;

/// `auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthType {
    Pass,
    Ah,
}

/// An instance while its lines are read: what is written, before it is known what it means together.
pub(super) struct Draft {
    pub(super) i: Instance,
    /// The first line that shows one decides.
    pub(super) family: Option<Family>,
    pub(super) state: Option<InitState>,
    pub(super) priority: Option<u8>,
    pub(super) version: Option<u8>,
    pub(super) strict: Option<bool>,
    pub(super) lower_prio_no_advert: Option<bool>,
    pub(super) higher_prio_send_advert: Option<bool>,
    pub(super) auth_type: Option<AuthType>,
    pub(super) auth_pass: Option<Vec<u8>>,
    pub(super) hmac: Option<HmacDraft>,
    /// Lines of `virtual_ipaddress` that are no addresses.
    pub(super) bad_vips: Vec<Diagnostic>,
    /// Addresses of `virtual_ipaddress` so far, and of `virtual_ipaddress_excluded`.
    pub(super) seen: [HashSet<IpAddr>; 2],
}

impl Draft {
    /// Whether a line of this family belongs to the instance; the first one decides for the others.
    pub(super) fn is_of(&mut self, family: Family) -> bool {
        *self.family.get_or_insert(family) == family
    }
}

impl Builder<'_> {
    pub(super) fn instance(&mut self, stmt: &Stmt, name: String) {
        let mut d = self.draft(stmt, name);
        for line in stmt.children() {
            let before = self.out.len();
            let Some(value) = self.value(table::INSTANCE, line) else {
                if line.keyword() == "priority" && line.args().len() == 1 {
                    self.bad_priority(before, &mut d);
                }
                continue;
            };
            match (line.keyword(), value) {
                ("authentication", _) => self.auth(line, &mut d),
                ("auth_hmac", _) => self.auth_hmac(line, &mut d.hmac),
                ("virtual_ipaddress", _) => self.vips(line, &mut d),
                ("virtual_ipaddress_excluded", _) => self.excluded(line, &mut d),
                ("unicast_peer", _) => {
                    d.i.unicast = true;
                    self.peers(line, &mut d);
                }
                ("state", Value::Words([word, ..])) => self.state(word.text.as_str(), &word.place, &mut d),
                ("interface", Value::Words([word, ..])) => {
                    if word.text.len() > 15 {
                        self.error(
                            &word.place,
                            format!("`{}` is longer than an interface name can be (15)", word.text),
                        );
                    }
                    d.i.interface = word.text.clone();
                }
                ("virtual_router_id", Value::Int(n)) => d.i.vrid = n as u8,
                ("priority", Value::Int(n)) => d.priority = Some(n as u8),
                ("version" | "vrrp_version", Value::Int(n)) => self.version(n as u8, &line.place, &mut d),
                ("down_timer_adverts", Value::Int(n)) => d.i.down_timer_adverts = n as u8,
                ("unicast_ttl", Value::Int(n)) => d.i.unicast_ttl = Some(n as u8),
                (name, Value::Int(n)) => garp_count(&mut d.i.garp, name, n as u32),
                ("advert_int", Value::Secs(time)) => d.i.advert_int = time,
                ("preempt_delay", Value::Secs(time)) => d.i.preempt_delay = time,
                (name, Value::Secs(time)) => garp_time(&mut d.i.garp, name, time),
                ("mcast_dst_ip", Value::Addr(ip)) if !ip.is_multicast() => {
                    self.error(&line.place, format!("{ip} is not a multicast group"));
                }
                (name, Value::Addr(ip)) => {
                    if !d.is_of(Family::of(ip)) {
                        let message = format!(
                            "{ip} is not of the family of `{}`: `{name}` is ignored, as in keepalived",
                            d.i.name
                        );
                        self.warn(&line.place, message);
                    } else if name == "mcast_dst_ip" {
                        d.i.mcast_dst = Some(ip);
                    } else {
                        d.i.source = Some(ip);
                    }
                }
                (name, Value::Flag(on)) => self.flag(line, &mut d, name, on),
                (_, value) => self.shared(line, value, &mut d.i.tracks, &mut d.i.notify),
            }
        }
        let mut i = self.complete(stmt, d);
        self.dedupe(&mut i.tracks);
        i.garp = resolve(i.garp, &self.config.global);
        if i.strict {
            (i.garp.lower_prio_delay, i.garp.lower_prio_repeat) = (Some(Duration::ZERO), Some(0));
        }
        self.config.instances.push(Arc::new(i));
    }

    /// An instance of which nothing is written yet.
    fn draft(&self, stmt: &Stmt, name: String) -> Draft {
        let global = &self.config.global;
        let i = Instance {
            name,
            state: None,
            interface: String::new(),
            vrid: 0,
            priority: 100,
            version: 0,
            advert_int: Duration::from_secs(1),
            auth: None,
            auth_hmac: None,
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
            strict: false,
            accept: None,
            v3_checksum_as_v2: false,
            family: Family::V4,
            dont_track_primary: false,
            track_src_ip: false,
            tracks: Tracks::default(),
            notify: Notify::default(),
            place: stmt.place.clone(),
        };
        Draft {
            i,
            family: None,
            state: None,
            priority: None,
            version: None,
            strict: None,
            lower_prio_no_advert: None,
            higher_prio_send_advert: None,
            auth_type: None,
            auth_pass: None,
            hmac: None,
            bad_vips: Vec::new(),
            seen: Default::default(),
        }
    }

    /// keepalived takes its default for a priority that it cannot read, also with `state MASTER`.
    fn bad_priority(&mut self, said: usize, d: &mut Draft) {
        d.priority = Some(100);
        for finding in &mut self.out[said..] {
            finding.severity = Severity::Warning;
            finding.message.push_str(": 100 is used, as in keepalived");
        }
    }

    fn state(&mut self, word: &str, place: &Place, d: &mut Draft) {
        match word {
            "MASTER" => d.state = Some(InitState::Master),
            "BACKUP" if d.state == Some(InitState::Master) => {
                self.warn(
                    place,
                    "`state MASTER` is written already: this line is ignored, as in keepalived",
                );
            }
            "BACKUP" => d.state = Some(InitState::Backup),
            other => {
                let message = format!("`state` is MASTER or BACKUP: `{other}` counts as BACKUP, as in keepalived");
                self.warn(place, message);
                d.state = Some(InitState::Backup);
            }
        }
    }

    fn version(&mut self, version: u8, place: &Place, d: &mut Draft) {
        let conflicts = d.version.is_some_and(|v| v != version) || (version == 2 && d.family == Some(Family::V6));
        if conflicts {
            let why = match d.version {
                Some(first) if first != version => format!("version {first} is written already"),
                _ => "the addresses above are IPv6, which is version 3".to_owned(),
            };
            self.warn(place, format!("{why}: this line is ignored, as in keepalived"));
        } else {
            d.version = Some(version);
        }
    }

    fn flag(&mut self, line: &Stmt, d: &mut Draft, name: &str, on: bool) {
        match name {
            "nopreempt" => d.i.nopreempt = true,
            "preempt" => d.i.nopreempt = false,
            "check_unicast_src" => d.i.check_unicast_src = on,
            "lower_prio_no_advert" => d.lower_prio_no_advert = Some(on),
            "higher_prio_send_advert" => d.higher_prio_send_advert = Some(on),
            "skip_check_adv_addr" => {
                if !on {
                    let message = "`skip_check_adv_addr` with `off` is on too, as in keepalived";
                    self.warn(&line.place, message);
                }
                d.i.skip_check_adv_addr = true;
            }
            "strict_mode" => d.strict = Some(on),
            "accept" => d.i.accept = Some(on),
            "no_accept" => d.i.accept = Some(!on),
            "track_src_ip" => d.i.track_src_ip = on,
            "no_virtual_ipaddress" => d.i.no_vips = on,
            "v3_checksum_as_v2" => d.i.v3_checksum_as_v2 = on,
            "dont_track_primary" => d.i.dont_track_primary = on,
            "native_ipv6" => {
                if d.is_of(Family::V6) {
                    d.version = Some(3);
                } else {
                    let message = "`native_ipv6` after IPv4 addresses is ignored, as in keepalived";
                    self.warn(&line.place, message);
                }
            }
            // The only further shared words that are flags.
            _ => self.shared(line, Value::Flag(on), &mut d.i.tracks, &mut d.i.notify),
        }
    }

    fn auth(&mut self, stmt: &Stmt, d: &mut Draft) {
        for line in stmt.children() {
            match (line.keyword(), self.value(table::AUTH, line)) {
                ("auth_type", Some(Value::Words([word, ..]))) => match word.text.as_str() {
                    "PASS" => d.auth_type = Some(AuthType::Pass),
                    "AH" => d.auth_type = Some(AuthType::Ah),
                    other => {
                        let message =
                            format!("`auth_type` is PASS or AH, in capitals: `{other}` is ignored, as in keepalived");
                        self.warn(&word.place, message);
                    }
                },
                ("auth_pass", Some(Value::Words([word, ..]))) => {
                    let mut bytes = word.text.clone().into_bytes();
                    if bytes.len() > AUTH_LEN {
                        let message = format!("the password has {} bytes and only the first 8 count", bytes.len());
                        self.warn(&word.place, message);
                        bytes.truncate(AUTH_LEN);
                    }
                    d.auth_pass = Some(bytes);
                }
                _ => {}
            }
        }
    }
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
