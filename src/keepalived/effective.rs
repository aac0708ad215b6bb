//! What keepalived makes of an instance once its block is read: defaults that depend on other lines, what contradicts
//! something else, and strict mode. Rules of 2.2.7 (vrrp_complete_instance); whatever is not as written is said.

use std::time::Duration;

use super::builder::Builder;
use super::diag::{Diagnostic, Place};
use super::family::Family;
use super::instance::{AuthType, Draft};
use super::model::*;
use super::tree::Stmt;

/// Addresses that the count field of an advert can tell of.
const MOST_VIPS: usize = 255;
/// Longest interval of version 3: 12 bits of hundredths of a second.
const LONGEST_V3: Duration = Duration::from_millis(40_950);

/// Where a keyword of a block stands, the last time; else the block itself.
fn at<'s>(stmt: &'s Stmt, keyword: &str) -> &'s Place {
    let line = stmt.children().iter().rev().find(|l| l.keyword() == keyword);
    &line.unwrap_or(stmt).place
}

fn has(stmt: &Stmt, keyword: &str) -> bool {
    stmt.children().iter().any(|l| l.keyword() == keyword)
}

impl Builder<'_> {
    /// The instance as it runs.
    pub(super) fn complete(&mut self, stmt: &Stmt, mut d: Draft) -> Instance {
        d.i.strict = d.strict.unwrap_or(self.config.global.strict);
        d.i.family = d.family.unwrap_or(Family::V4);
        self.required(stmt, &d);
        self.effective_version(stmt, &mut d);
        self.effective_role(stmt, &mut d);
        self.effective_auth(stmt, &mut d);
        self.effective_peers(stmt, &mut d.i);
        self.effective_vips(stmt, &mut d);
        self.effective_timers(stmt, &mut d);
        self.effective_manners(stmt, &mut d);
        let hmac = d.hmac.take();
        self.effective_hmac(hmac, &mut d.i);
        d.i
    }

    /// What keepalived does not start without; a value that was refused has been reported.
    fn required(&mut self, stmt: &Stmt, d: &Draft) {
        let name = &d.i.name;
        for (keyword, missing) in [
            ("interface", d.i.interface.is_empty()),
            ("virtual_router_id", d.i.vrid == 0),
        ] {
            if missing && !has(stmt, keyword) {
                self.error(&stmt.place, format!("vrrp_instance `{name}` has no `{keyword}`"));
            }
        }
    }

    fn effective_version(&mut self, stmt: &Stmt, d: &mut Draft) {
        let name = &d.i.name;
        d.i.version = match (d.i.family, d.version) {
            (Family::V6, None) => 3,
            (Family::V6, Some(2)) if d.i.strict => {
                self.warn(
                    at(stmt, "version"),
                    format!("strict mode: `{name}` speaks version 3, as its addresses are IPv6"),
                );
                3
            }
            (Family::V6, Some(2)) => {
                let message = format!("`{name}` has IPv6 addresses, which VRRP version 2 cannot announce");
                self.error(&stmt.place, message);
                2
            }
            (_, Some(version)) => version,
            (Family::V4, None) => self.config.global.version.unwrap_or(2),
        };
    }

    /// Priority and state: each follows from the other where it is not written.
    fn effective_role(&mut self, stmt: &Stmt, d: &mut Draft) {
        let name = &d.i.name;
        let master = d.state == Some(InitState::Master);
        d.i.priority = d.priority.unwrap_or(if master { 255 } else { 100 });
        if master && !has(stmt, "priority") {
            let message = format!("`{name}` has no `priority`: with `state MASTER` it is 255, as in keepalived");
            self.out
                .push(Diagnostic::warning(at(stmt, "state"), message).hint("write a priority; 255 yields to nobody"));
        }
        let by_priority = if d.i.priority == 255 {
            InitState::Master
        } else {
            InitState::Backup
        };
        let state = d.state.unwrap_or(by_priority);
        d.i.state = Some(if d.i.strict && state != by_priority {
            let word = if d.i.priority == 255 { "MASTER" } else { "BACKUP" };
            let message = format!(
                "strict mode: `{name}` starts as {word}, as its priority is {}",
                d.i.priority
            );
            self.warn(at(stmt, "state"), message);
            by_priority
        } else {
            state
        });
    }

    fn effective_auth(&mut self, stmt: &Stmt, d: &mut Draft) {
        let name = &d.i.name;
        let place = at(stmt, "authentication");
        let blocks = stmt.children().iter().filter(|l| l.keyword() == "authentication");
        let typed = blocks.flat_map(Stmt::children).any(|l| l.keyword() == "auth_type");
        let pass = d.auth_pass.take().filter(|p| !p.is_empty());
        d.i.auth = match (d.auth_type, pass) {
            // One that is not a type has been reported.
            (None, Some(_)) if typed => None,
            (None, Some(_)) => {
                let message = format!("`{name}` has no `auth_type`, so the password is not used, as in keepalived");
                self.out
                    .push(Diagnostic::warning(place, message).hint("write `auth_type PASS`, on both hosts at once"));
                None
            }
            (None, None) => None,
            (Some(_), _) if d.i.strict => {
                let message = format!("strict mode: the password of `{name}` is not used, as in keepalived");
                self.out
                    .push(Diagnostic::warning(place, message).hint("remove `vrrp_strict`, on both hosts at once"));
                None
            }
            (Some(_), _) if d.i.version == 3 => {
                let message = format!("VRRP version 3 has no authentication: that of `{name}` is not used");
                self.warn(place, message);
                None
            }
            (Some(_), None) => {
                let message = format!("`{name}` has no `auth_pass`: its adverts carry no password, as in keepalived");
                self.warn(place, message);
                None
            }
            (Some(AuthType::Ah), Some(_)) => {
                self.error(place, "the agent cannot authenticate with IPsec AH");
                Some(Auth::Ah)
            }
            (Some(AuthType::Pass), Some(pass)) => Some(Auth::Pass(pass)),
        };
    }

    fn effective_peers(&mut self, stmt: &Stmt, i: &mut Instance) {
        let place = at(stmt, "unicast_peer");
        if i.unicast && i.unicast_peers.is_empty() {
            let blocks = stmt.children().iter().filter(|l| l.keyword() == "unicast_peer");
            // A peer that could not be read has been reported.
            if blocks.flat_map(Stmt::children).next().is_none() {
                let message = format!(
                    "`unicast_peer` of `{}` is empty: its adverts go by multicast, as in keepalived",
                    i.name
                );
                self.warn(place, message);
            }
            i.unicast = false;
        }
        if i.unicast && i.strict {
            let message = format!(
                "strict mode does not allow unicast: keepalived 1.3 refuses `{}`, 2.2 sends it anyway",
                i.name
            );
            self.warn(place, message);
        }
        if let Some(source) = i.source.filter(|s| i.unicast_peers.iter().any(|p| p.ip == *s)) {
            self.warn(
                place,
                format!("`{}` has its own address {source} as unicast_peer", i.name),
            );
        }
        if i.unicast && i.mcast_dst.take().is_some() {
            let message = format!(
                "`{}` sends to its peers: `mcast_dst_ip` is ignored, as in keepalived",
                i.name
            );
            self.warn(at(stmt, "mcast_dst_ip"), message);
        }
    }

    fn effective_vips(&mut self, stmt: &Stmt, d: &mut Draft) {
        let i = &mut d.i;
        if i.vips.len() > MOST_VIPS {
            let message = format!(
                "`{}` has {} addresses, and an advert carries at most {MOST_VIPS}: the last {} count as \
                 virtual_ipaddress_excluded, as in keepalived",
                i.name,
                i.vips.len(),
                i.vips.len() - MOST_VIPS
            );
            let rest = i.vips.split_off(MOST_VIPS);
            self.warn(&rest[0].place, message);
            i.vips_excluded.extend(rest);
        }
        // keepalived leaves such a line out; where no other address is left, nothing that was meant would run.
        let alone = i.vips.is_empty();
        let bad_vips = !d.bad_vips.is_empty();
        self.out.extend(d.bad_vips.drain(..).map(|finding| match alone {
            true => finding,
            false => {
                let message = format!("{}: it is left out, as in keepalived", finding.message);
                Diagnostic::warning(&finding.place, message)
            }
        }));
        let unread = |l: &Stmt| l.keyword() == "virtual_ipaddress" && l.body.is_none();
        if !alone || i.no_vips || bad_vips || stmt.children().iter().any(unread) {
            return;
        }
        if i.version == 3 || i.family == Family::V6 || i.strict {
            let why = if i.version == 3 { "version 3" } else { "strict mode" };
            let message = format!(
                "vrrp_instance `{}` has no virtual_ipaddress, which {why} requires",
                i.name
            );
            self.error(&stmt.place, message);
        } else if i.vips_excluded.is_empty() {
            let message = format!(
                "vrrp_instance `{}` has no virtual_ipaddress: it only tells its scripts who is MASTER",
                i.name
            );
            self.warn(&stmt.place, message);
        }
    }

    fn effective_timers(&mut self, stmt: &Stmt, d: &mut Draft) {
        let i = &mut d.i;
        let place = at(stmt, "advert_int");
        let written = i.advert_int;
        let half_up = |time: Duration, unit: u128| {
            let rounded = (time.as_micros() + unit / 2) / unit * unit;
            Duration::from_micros(rounded.max(unit) as u64)
        };
        if i.version == 2 {
            i.advert_int = half_up(written, 1_000_000);
        } else if written > LONGEST_V3 {
            i.advert_int = LONGEST_V3;
        } else {
            i.advert_int = half_up(written, 10_000);
        }
        if i.advert_int != written {
            let (name, now) = (&i.name, i.advert_int.as_secs_f64());
            let limit = match i.version {
                2 => "is whole seconds in version 2",
                _ if written > LONGEST_V3 => "is at most 40.95 seconds in version 3",
                _ => "is hundredths of a second in version 3",
            };
            let message = format!("`advert_int` {limit}: that of `{name}` is {now}, as in keepalived");
            let d = Diagnostic::warning(place, message);
            self.out.push(match i.version {
                2 => d.hint("use `version 3` for less than a second"),
                _ => d,
            });
        }
        let master = i.state == Some(InitState::Master);
        let priority_place = at(stmt, "nopreempt");
        if i.nopreempt && (i.priority == 255 || master) {
            let why = if i.priority == 255 {
                "priority 255"
            } else {
                "`state MASTER`"
            };
            let message = format!("`nopreempt` of `{}` has no effect with {why}", i.name);
            let d = Diagnostic::warning(priority_place, message);
            self.out
                .push(d.hint("write `state BACKUP` and a priority below 255, on both hosts"));
            i.nopreempt = false;
        }
        if !i.preempt_delay.is_zero() && (master || i.strict || i.nopreempt) {
            let why = match (master, i.strict) {
                (true, _) => "`state MASTER`",
                (_, true) => "strict mode",
                _ => "`nopreempt`",
            };
            let message = format!("`preempt_delay` of `{}` has no effect with {why}", i.name);
            self.warn(at(stmt, "preempt_delay"), message);
            i.preempt_delay = Duration::ZERO;
        }
        if i.strict && i.down_timer_adverts != 3 {
            let message = format!("strict mode: `{}` waits for three adverts, whatever is written", i.name);
            self.warn(at(stmt, "down_timer_adverts"), message);
            i.down_timer_adverts = 3;
        }
    }

    /// How it treats those of lower and of higher priority.
    fn effective_manners(&mut self, stmt: &Stmt, d: &mut Draft) {
        let i = &mut d.i;
        if !i.strict {
            i.lower_prio_no_advert = d.lower_prio_no_advert.unwrap_or(i.lower_prio_no_advert);
            i.higher_prio_send_advert = d.higher_prio_send_advert.or(i.higher_prio_send_advert);
            return;
        }
        if d.strict == Some(true) && !self.config.global.strict {
            let message = format!(
                "strict mode: `{}` uses no password and answers no advert of lower priority, as in keepalived; keepalived \
                 also drops packets to its VIPs below priority 255, the agent does not",
                i.name
            );
            self.warn(at(stmt, "strict_mode"), message);
        }
        let lost = [
            ("lower_prio_no_advert", d.lower_prio_no_advert == Some(false)),
            ("higher_prio_send_advert", d.higher_prio_send_advert == Some(true)),
            (
                "garp_lower_prio_repeat",
                i.garp.lower_prio_repeat.is_some_and(|n| n > 0),
            ),
            (
                "garp_lower_prio_delay",
                i.garp.lower_prio_delay.is_some_and(|t| !t.is_zero()),
            ),
        ];
        for (keyword, _) in lost.iter().filter(|(_, lost)| *lost) {
            self.warn(
                at(stmt, keyword),
                format!("strict mode: `{keyword}` of `{}` has no effect", i.name),
            );
        }
        (i.lower_prio_no_advert, i.higher_prio_send_advert) = (true, Some(false));
    }
}
