//! From statements to the model, guided by the language table.

use std::collections::HashMap;
use std::time::Duration;

use super::builder::{Builder, Kind};
use super::diag::Diagnostic;
use super::garp::{garp_count, garp_time};
use super::model::*;
use super::source::Resolver;
use super::sync_group::{command, user};
use super::table;
use super::tree::{Stmt, Word};
use super::value::{Value, seconds};

pub(super) fn config(statements: &[Stmt], resolver: &dyn Resolver, out: &mut Vec<Diagnostic>) -> Config {
    let mut b = Builder {
        config: Config::default(),
        resolver,
        out,
        skipped: Vec::new(),
        guesses: 0,
        named: HashMap::new(),
    };
    // Instances take defaults from global_defs wherever that stands.
    for stmt in statements.iter().filter(|s| s.keyword() == "global_defs") {
        b.root(stmt);
    }
    for stmt in statements.iter().filter(|s| s.keyword() != "global_defs") {
        b.root(stmt);
    }
    b.finish()
}

/// What strict mode means for every instance; what it means for one of them is said there.
const STRICT: &str = "`vrrp_strict`: passwords are not used, an advert of lower priority gets no answer and no gratuitous \
    ARP, as in keepalived; keepalived also drops packets to the VIPs of an instance below priority 255, the agent does not";

impl Builder<'_> {
    fn finish(mut self) -> Config {
        self.settle_groups();
        self.config.skipped_blocks = self.skipped.len();
        if let Some((place, first)) = self.skipped.first() {
            let message = match self.skipped.len() {
                1 => format!("`{first}` is skipped: load balancing and BFD are not part of the agent"),
                n => format!(
                    "`{first}` and {} more block(s) are skipped: load balancing and BFD are not part of the agent",
                    n - 1
                ),
            };
            self.out
                .push(Diagnostic::warning(place, message).hint("keep keepalived as the engine if they are needed"));
        }
        self.config
    }

    fn root(&mut self, stmt: &Stmt) {
        let Some(value) = self.value(table::ROOT, stmt) else {
            return;
        };
        let name = match value {
            Value::Words([name, ..]) => name.text.clone(),
            _ => String::new(),
        };
        match stmt.keyword() {
            "global_defs" => self.global(stmt),
            "vrrp_script" => self.script(stmt, name),
            "vrrp_track_process" => self.process(stmt, name),
            "track_file" | "vrrp_track_file" => self.track_file(stmt, name),
            "vrrp_sync_group" => self.sync_group(stmt, name),
            "garp_group" => self.garp_group(stmt),
            "vrrp_instance" if self.is_first(Kind::Instance, &name, &stmt.place) => self.instance(stmt, name),
            "interface_up_down_delays" => {
                for line in stmt.children() {
                    let delays: Option<Vec<f64>> = line.args().iter().map(|w| seconds(&w.text)).collect();
                    match delays.as_deref() {
                        Some([down]) => self.delays(line, *down, *down),
                        Some([down, up]) => self.delays(line, *down, *up),
                        _ => self.error(&line.place, "expected: interface, seconds down, seconds up"),
                    }
                }
            }
            _ => {}
        }
    }

    fn delays(&mut self, line: &Stmt, down: f64, up: f64) {
        if down > 255.0 || up > 255.0 {
            self.error(&line.place, "a delay is at most 255 seconds");
            return;
        }
        let pair = (Duration::from_secs_f64(down), Duration::from_secs_f64(up));
        self.config.up_down_delays.insert(line.keyword().to_owned(), pair);
    }

    fn global(&mut self, stmt: &Stmt) {
        self.config.global.place = stmt.place.clone();
        for line in stmt.children() {
            let Some(value) = self.value(table::GLOBAL, line) else {
                continue;
            };
            let mut g = std::mem::take(&mut self.config.global);
            match (line.keyword(), value) {
                ("notification_email", _) => {
                    // A line may hold several.
                    g.notification_email.extend(
                        line.children()
                            .iter()
                            .flat_map(|l| l.words.iter().map(|w| w.text.clone())),
                    );
                }
                (name, Value::Words(words)) => self.global_words(&mut g, name, words),
                (name, Value::Flag(on)) => match name {
                    "smtp_alert" => g.smtp_alert = Some(on),
                    "smtp_alert_vrrp" => g.smtp_alert_vrrp = Some(on),
                    "no_email_faults" => g.no_email_faults = on,
                    "vrrp_skip_check_adv_addr" => g.skip_check_adv_addr = on,
                    "enable_script_security" => g.script_security = on,
                    "vrrp_lower_prio_no_advert" => g.lower_prio_no_advert = on,
                    "vrrp_higher_prio_send_advert" => g.higher_prio_send_advert = Some(on),
                    "vrrp_check_unicast_src" => g.check_unicast_src = on,
                    "vrrp_min_garp" => g.min_garp = on,
                    "vrrp_notify_priority_changes" => g.notify_priority_changes = on,
                    "fifo_write_vrrp_states_on_reload" => g.fifo_write_states_on_reload = on,
                    "vrrp_no_swap" => g.no_swap = on,
                    "vrrp_strict" => {
                        g.strict = on;
                        self.warn(&line.place, STRICT);
                    }
                    _ => {}
                },
                (name, Value::Secs(time)) => match name {
                    "smtp_connect_timeout" => g.smtp_connect_timeout = Some(time),
                    "vrrp_garp_interval" => g.garp_interval = time,
                    "vrrp_gna_interval" => g.gna_interval = time,
                    "vrrp_startup_delay" => g.startup_delay = time,
                    _ => garp_time(&mut g.garp, name.trim_start_matches("vrrp_"), time),
                },
                (name, Value::Int(n)) => match name {
                    "vrrp_version" => g.version = Some(n as u8),
                    "vrrp_down_timer_adverts" => g.down_timer_adverts = Some(n as u8),
                    "vrrp_rt_priority" => g.rt_priority = Some(n as u8),
                    "vrrp_priority" => g.nice = Some(n as i8),
                    _ => garp_count(&mut g.garp, name.trim_start_matches("vrrp_"), n as u32),
                },
                (name, Value::Addr(ip)) => {
                    let v4 = name == "vrrp_mcast_group4";
                    if !ip.is_multicast() || ip.is_ipv4() != v4 {
                        self.error(
                            &line.place,
                            format!("`{ip}` is not an {} multicast group", if v4 { "IPv4" } else { "IPv6" }),
                        );
                    } else if v4 {
                        g.mcast_group4 = Some(ip);
                    } else {
                        g.mcast_group6 = Some(ip);
                    }
                }
            }
            self.config.global = g;
        }
    }

    fn global_words(&mut self, g: &mut GlobalDefs, name: &str, words: &[Word]) {
        let Some(first) = words.first() else { return };
        let text = first.text.clone();
        match name {
            "router_id" => g.router_id = Some(text),
            "notification_email_from" => g.notification_email_from = Some(text),
            "smtp_helo_name" => g.smtp_helo_name = Some(text),
            "smtp_server" => {
                let port = match words.get(1).map(|w| (w, w.text.parse::<u16>())) {
                    None => 25,
                    Some((_, Ok(port))) if port > 0 => port,
                    Some((word, _)) => {
                        self.error(&word.place, format!("`{}` is not a port", word.text));
                        25
                    }
                };
                g.smtp_server = Some((text, port));
            }
            "script_user" => g.script_user = user(words),
            "notify_fifo" | "notify_fifo_script" => fifo(&mut g.notify_fifo, name, words),
            "vrrp_notify_fifo" | "vrrp_notify_fifo_script" => fifo(&mut g.vrrp_notify_fifo, name, words),
            _ => {}
        }
    }
}

/// A FIFO with its owner, or its script with its user.
fn fifo(fifo: &mut Fifo, keyword: &str, words: &[Word]) {
    if keyword.ends_with("_script") {
        fifo.script = Some(command(words)).filter(|c| !c.argv.is_empty());
    } else {
        fifo.path = words.first().map(|w| w.text.clone());
        fifo.user = user(words.get(1..).unwrap_or_default());
    }
}
