//! From statements to the model, guided by the language table.

use std::net::IpAddr;
use std::time::Duration;

use super::diag::{Diagnostic, Place};
use super::model::*;
use super::table::{self, Args, Does, In};
use super::tree::{Stmt, Word, split_command};

pub(super) fn config(statements: &[Stmt], out: &mut Vec<Diagnostic>) -> Config {
    let mut b = Builder {
        config: Config::default(),
        out,
        skipped: Vec::new(),
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

/// The value of a keyword after the table's check.
pub(super) enum Value<'s> {
    Flag(bool),
    Int(i64),
    Secs(Duration),
    Addr(IpAddr),
    Words(&'s [Word]),
}

pub(super) struct Builder<'d> {
    pub(super) config: Config,
    pub(super) out: &'d mut Vec<Diagnostic>,
    /// Places of skipped blocks.
    skipped: Vec<(Place, String)>,
}

impl Builder<'_> {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.out.push(Diagnostic::error(place, message));
    }

    pub(super) fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.out.push(Diagnostic::warning(place, message));
    }

    fn finish(mut self) -> Config {
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

    /// Looks a statement up and checks what follows it. `None`: it has been reported, or means nothing.
    pub(super) fn value<'s>(&mut self, place: In, stmt: &'s Stmt) -> Option<Value<'s>> {
        let name = stmt.keyword();
        let Some(row) = table::lookup(place, name) else {
            self.unknown(place, stmt);
            return None;
        };
        match row.does {
            Does::Obeys => {}
            Does::Reads => {
                // Switched off, it is as we do it.
                let off = matches!(
                    stmt.args().first().map(|w| w.text.as_str()),
                    Some("off" | "false" | "no" | "0")
                );
                if !off {
                    let message = format!("`{name}` is not supported by the agent yet and has no effect there");
                    self.warn(&stmt.place, message);
                }
            }
            Does::Ignores => return None,
            Does::Skips => {
                self.skipped.push((stmt.place.clone(), name.to_owned()));
                return None;
            }
            Does::Lacks => {
                if name == "vrrp_strict" {
                    self.config.global.strict = true;
                }
                let d = Diagnostic::warning(
                    &stmt.place,
                    format!("`{name}` is not supported by the agent and has no effect there"),
                );
                self.out.push(d);
                return None;
            }
        }
        let args = stmt.args();
        let wants_body = matches!(row.args, Args::Body(_) | Args::Named(_) | Args::Lines);
        if wants_body && stmt.body.is_none() {
            self.error(&stmt.place, format!("`{name}` needs a `{{ }}` body"));
            return None;
        }
        if !wants_body && stmt.body.is_some() {
            self.error(&stmt.place, format!("`{name}` takes no `{{ }}` body"));
            return None;
        }
        let (least, most) = match row.args {
            Args::Flag | Args::Body(_) => (0, 0),
            // Old files write a name after some of these; keepalived does not mind.
            Args::Lines | Args::Any => (0, usize::MAX),
            Args::Bool => (0, 1),
            Args::Int(..) | Args::Secs(..) | Args::Text | Args::Addr | Args::OneOf(_) | Args::Named(_) => (1, 1),
            Args::Words(least, most) => (least, most),
            Args::Command => (1, 3),
        };
        if args.len() < least {
            self.error(&stmt.place, format!("`{name}` needs a value"));
            return None;
        }
        if let Some(extra) = args.get(most) {
            let mut d = Diagnostic::warning(
                &extra.place,
                format!("`{}` after `{name}` is ignored", shown(name, &extra.text)),
            );
            if row.args == Args::Command {
                d = d.hint("quote a command that has arguments");
            }
            self.out.push(d);
        }
        let args = &args[..args.len().min(most)];
        let first = args.first();
        Some(match row.args {
            Args::Flag => Value::Flag(true),
            Args::Bool => match first.map(|w| w.text.as_str()) {
                None | Some("on" | "true" | "yes") => Value::Flag(true),
                Some("off" | "false" | "no") => Value::Flag(false),
                Some(other) => {
                    let place = &first?.place;
                    self.error(
                        place,
                        format!("`{name}` is on, off, true, false, yes or no, not `{other}`"),
                    );
                    return None;
                }
            },
            Args::Int(min, max) => {
                let word = first?;
                match word.text.parse::<i64>() {
                    Ok(n) if (min..=max).contains(&n) => Value::Int(n),
                    _ => {
                        self.error(
                            &word.place,
                            format!("`{name}` is a whole number from {min} to {max}, not `{}`", word.text),
                        );
                        return None;
                    }
                }
            }
            Args::Secs(min, max) => {
                let word = first?;
                match seconds(&word.text) {
                    Some(s) if s >= min && s <= max => Value::Secs(Duration::from_micros((s * 1e6).round() as u64)),
                    _ => {
                        self.error(
                            &word.place,
                            format!("`{name}` is seconds from {min} to {max}, not `{}`", word.text),
                        );
                        return None;
                    }
                }
            }
            Args::Addr => {
                let word = first?;
                match word.text.parse::<IpAddr>() {
                    Ok(ip) => Value::Addr(ip),
                    Err(_) => {
                        self.error(&word.place, format!("`{}` is not an address", word.text));
                        return None;
                    }
                }
            }
            Args::OneOf(choices) => {
                let word = first?;
                if !choices.iter().any(|c| c.eq_ignore_ascii_case(&word.text)) {
                    self.error(
                        &word.place,
                        format!("`{name}` is {}, not `{}`", choices.join(" or "), word.text),
                    );
                    return None;
                }
                Value::Words(args)
            }
            _ => Value::Words(args),
        })
    }

    fn unknown(&mut self, place: In, stmt: &Stmt) {
        let name = stmt.keyword();
        if name.is_empty() {
            return;
        }
        let inside = table::place_name(place);
        let home = table::places(name);
        if home & table::ROOT != 0 && stmt.body.is_some() {
            let d = Diagnostic::error(&stmt.place, format!("`{name}` inside {inside}"));
            self.out.push(d.hint("a `}` is missing above"));
            return;
        }
        let d = if home != 0 {
            Diagnostic::warning(
                &stmt.place,
                format!("`{name}` does not belong in {inside} and is ignored"),
            )
            .hint(format!("it belongs in {}", table::place_name(home)))
        } else {
            let d = Diagnostic::warning(&stmt.place, format!("unknown keyword `{name}` in {inside} is ignored"));
            match table::similar(place, name) {
                Some(similar) => d.hint(format!("did you mean `{similar}`?")),
                None => d,
            }
        };
        self.out.push(d);
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
            "vrrp_instance" => self.instance(stmt, name),
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
                    "vrrp_higher_prio_send_advert" => g.higher_prio_send_advert = on,
                    "vrrp_check_unicast_src" => g.check_unicast_src = on,
                    "vrrp_min_garp" => g.min_garp = on,
                    "vrrp_notify_priority_changes" => g.notify_priority_changes = on,
                    "fifo_write_vrrp_states_on_reload" => g.fifo_write_states_on_reload = on,
                    "vrrp_no_swap" => g.no_swap = on,
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

    fn script(&mut self, stmt: &Stmt, name: String) {
        let mut timeout = None;
        let mut s = Script {
            name,
            command: Command {
                argv: Vec::new(),
                user: None,
            },
            interval: Duration::from_secs(1),
            timeout: Duration::ZERO,
            weight: Weight::default(),
            rise: 1,
            fall: 1,
            init_fail: false,
            place: stmt.place.clone(),
        };
        for line in stmt.children() {
            let value = self.value(table::SCRIPT, line);
            match (line.keyword(), value) {
                ("script", Some(Value::Words([word, ..]))) => {
                    s.command.argv = split_command(&word.text);
                    if word.text.contains(['|', ';', '>', '<', '`', '&']) || word.text.contains("$(") {
                        let d = Diagnostic::warning(
                            &word.place,
                            "the command has characters of the shell, and no shell runs it",
                        );
                        self.out.push(d.hint("write a script file, or: /bin/sh -c '…'"));
                    }
                }
                ("interval", Some(Value::Secs(time))) => s.interval = time,
                ("timeout", Some(Value::Secs(time))) => timeout = Some(time),
                ("weight", Some(Value::Words(words))) => s.weight = self.weight(words, 253).unwrap_or_default(),
                ("rise", Some(Value::Int(n))) => s.rise = n as u32,
                ("fall", Some(Value::Int(n))) => s.fall = n as u32,
                ("user", Some(Value::Words(words))) => s.command.user = user(words),
                ("init_fail", Some(_)) => s.init_fail = true,
                _ => {}
            }
        }
        s.timeout = timeout.unwrap_or(s.interval);
        if s.command.argv.is_empty() {
            self.error(&stmt.place, format!("vrrp_script `{}` has no `script`", s.name));
        }
        self.config.scripts.push(s);
    }

    /// `weight N [reverse|noreverse]`.
    fn weight(&mut self, words: &[Word], most: i16) -> Option<Weight> {
        let first = words.first()?;
        let value = match first.text.parse::<i16>() {
            Ok(n) if (-most..=most).contains(&n) => n,
            _ => {
                self.error(
                    &first.place,
                    format!(
                        "a weight is a whole number from -{most} to {most}, not `{}`",
                        first.text
                    ),
                );
                return None;
            }
        };
        let reverse = match words.get(1).map(|w| w.text.as_str()) {
            Some("reverse") => true,
            None | Some("noreverse" | "no_reverse") => false,
            Some(other) => {
                self.warn(&words[1].place, format!("`{other}` after a weight is ignored"));
                false
            }
        };
        Some(Weight { value, reverse })
    }

    fn process(&mut self, stmt: &Stmt, name: String) {
        let mut p = TrackProcess {
            name,
            process: Vec::new(),
            params: ParamMatch::Any,
            full_command: false,
            weight: Weight::default(),
            quorum: 1,
            quorum_max: None,
            fork_delay: Duration::ZERO,
            terminate_delay: Duration::ZERO,
            place: stmt.place.clone(),
        };
        let (mut quorum, mut params) = (None, None);
        for line in stmt.children() {
            let value = self.value(table::PROCESS, line);
            match (line.keyword(), value) {
                ("process", Some(Value::Words(words))) => p.process = words.iter().map(|w| w.text.clone()).collect(),
                ("full_command", Some(_)) => p.full_command = true,
                ("weight", Some(Value::Words(words))) => p.weight = self.weight(words, 254).unwrap_or_default(),
                ("param_match", Some(Value::Words(words))) => params = self.param_match(words),
                ("quorum", Some(Value::Int(n))) => quorum = Some(n as u32),
                ("quorum_max", Some(Value::Int(n))) => p.quorum_max = Some(n as u32),
                ("delay", Some(Value::Secs(time))) => (p.fork_delay, p.terminate_delay) = (time, time),
                ("fork_delay", Some(Value::Secs(time))) => p.fork_delay = time,
                ("terminate_delay", Some(Value::Secs(time))) => p.terminate_delay = time,
                _ => {}
            }
        }
        if p.process.is_empty() {
            self.error(&stmt.place, format!("vrrp_track_process `{}` has no `process`", p.name));
        }
        // "None may run" is a rule too.
        p.quorum = quorum.unwrap_or(p.quorum_max.map_or(1, |max| max.min(1)));
        if p.quorum_max.is_some_and(|max| max < p.quorum) {
            let message = format!("vrrp_track_process `{}` has a `quorum_max` below its `quorum`", p.name);
            self.error(&stmt.place, message);
        }
        p.params = match (params, p.process.len()) {
            (None, 0 | 1) => ParamMatch::Any,
            // Parameters must follow for a part of them to match.
            (None, _) | (Some(_), 0 | 1) => ParamMatch::Exact,
            (Some(params), _) => params,
        };
        self.config.track_processes.push(p);
    }

    /// `param_match [initial|partial]`.
    fn param_match(&mut self, words: &[Word]) -> Option<ParamMatch> {
        match words.first().map(|w| (w, w.text.as_str())) {
            None => Some(ParamMatch::Exact),
            Some((_, "initial")) => Some(ParamMatch::Initial),
            Some((_, "partial")) => Some(ParamMatch::Partial),
            Some((word, other)) => {
                let message = format!("`param_match` is initial or partial, not `{other}`");
                self.error(&word.place, message);
                None
            }
        }
    }

    fn track_file(&mut self, stmt: &Stmt, name: String) {
        let place = stmt.place.clone();
        let mut f = TrackFile {
            name,
            file: String::new(),
            weight: None,
            reverse: false,
            init: None,
            place,
        };
        for line in stmt.children() {
            let value = self.value(table::FILE, line);
            match (line.keyword(), value) {
                ("file", Some(Value::Words([word, ..]))) => f.file = word.text.clone(),
                ("weight", Some(Value::Words(words))) => match words[0].text.parse() {
                    Ok(weight) => {
                        f.weight = Some(weight);
                        f.reverse = words.get(1).is_some_and(|w| w.text == "reverse");
                    }
                    Err(_) => self.error(
                        &words[0].place,
                        format!("a weight is a whole number, not `{}`", words[0].text),
                    ),
                },
                ("init_file", Some(Value::Words(words))) => {
                    f.init = words.first().and_then(|w| w.text.parse().ok()).or(Some(0));
                }
                _ => {}
            }
        }
        if f.file.is_empty() {
            self.error(&stmt.place, format!("track_file `{}` has no `file`", f.name));
        }
        self.config.track_files.push(f);
    }

    fn sync_group(&mut self, stmt: &Stmt, name: String) {
        let mut g = SyncGroup {
            name,
            members: Vec::new(),
            tracks: Tracks::default(),
            notify: Notify::default(),
            global_tracking: false,
            tracking_weight: false,
            place: stmt.place.clone(),
        };
        for line in stmt.children() {
            let Some(value) = self.value(table::SYNC, line) else {
                continue;
            };
            match (line.keyword(), value) {
                ("group", _) => {
                    let words = line.children().iter().flat_map(|l| &l.words);
                    g.members.extend(words.map(|w| (w.text.clone(), w.place.clone())));
                }
                ("global_tracking", Value::Flag(on)) => g.global_tracking = on,
                ("sync_group_tracking_weight", Value::Flag(on)) => g.tracking_weight = on,
                (_, value) => self.shared(line, value, &mut g.tracks, &mut g.notify),
            }
        }
        self.config.sync_groups.push(g);
    }

    fn garp_group(&mut self, stmt: &Stmt) {
        let mut g = GarpGroup::default();
        for line in stmt.children() {
            match (line.keyword(), self.value(table::GARP, line)) {
                ("garp_interval", Some(Value::Secs(time))) => g.garp_interval = Some(time),
                ("gna_interval", Some(Value::Secs(time))) => g.gna_interval = Some(time),
                ("interface", Some(Value::Words([word, ..]))) => g.interfaces.push(word.text.clone()),
                ("interfaces", Some(_)) => {
                    g.interfaces.extend(
                        line.children()
                            .iter()
                            .flat_map(|l| l.words.iter().map(|w| w.text.clone())),
                    );
                }
                _ => {}
            }
        }
        self.config.garp_groups.push(g);
    }

    /// Keywords that groups and instances share.
    pub(super) fn shared(&mut self, line: &Stmt, value: Value<'_>, tracks: &mut Tracks, notify: &mut Notify) {
        match (line.keyword(), value) {
            ("track_interface", _) => self.tracks(line, &mut tracks.interfaces),
            ("track_script", _) => self.tracks(line, &mut tracks.scripts),
            ("track_file", _) => self.tracks(line, &mut tracks.files),
            ("track_process", _) => self.tracks(line, &mut tracks.processes),
            ("smtp_alert", Value::Flag(on)) => notify.smtp_alert = Some(on),
            ("notify_priority_changes", Value::Flag(on)) => notify.priority_changes = Some(on),
            // With a command or without one.
            ("notify_deleted", Value::Words(words)) => {
                let command = words.first().map(|_| command(words));
                notify.deleted = Deleted::Deleted(command.filter(|c| !c.argv.is_empty()));
            }
            (name, Value::Words(words)) => {
                let slot = match name {
                    "notify" => &mut notify.any,
                    "notify_master" => &mut notify.master,
                    "notify_backup" => &mut notify.backup,
                    "notify_fault" => &mut notify.fault,
                    "notify_stop" => &mut notify.stop,
                    "notify_master_rx_lower_pri" => &mut notify.master_rx_lower_pri,
                    _ => return,
                };
                let command = command(words);
                if command.argv.is_empty() {
                    self.error(&words[0].place, format!("`{name}` names no command"));
                    return;
                }
                *slot = Some(command);
            }
            _ => {}
        }
    }

    fn tracks(&mut self, stmt: &Stmt, list: &mut Vec<Track>) {
        for line in stmt.children() {
            let weight = match line.args() {
                [] => None,
                [word, rest @ ..] if word.text == "weight" && !rest.is_empty() => self.weight(rest, 254),
                [word, ..] => {
                    self.warn(
                        &word.place,
                        format!("`{}` after `{}` is ignored", word.text, line.keyword()),
                    );
                    None
                }
            };
            list.push(Track {
                name: line.keyword().to_owned(),
                weight,
                place: line.place.clone(),
            });
        }
    }
}

/// `user [group]`.
fn user(words: &[Word]) -> Option<User> {
    let user = words.first()?.text.clone();
    Some(User {
        user,
        group: words.get(1).map(|w| w.text.clone()),
    })
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

fn command(words: &[Word]) -> Command {
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(f, r)| (f.text.as_str(), r));
    Command {
        argv: split_command(first),
        user: user(rest),
    }
}

/// Not negative, decimal.
fn seconds(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse::<f64>().ok().filter(|s| plain && s.is_finite())
}

pub(super) fn garp_time(garp: &mut Garp, name: &str, time: Duration) {
    match name {
        "garp_master_delay" => garp.master_delay = Some(time),
        "garp_lower_prio_delay" => garp.lower_prio_delay = Some(time),
        "garp_master_refresh" => garp.refresh = Some(time),
        _ => {}
    }
}

pub(super) fn garp_count(garp: &mut Garp, name: &str, count: u32) {
    match name {
        "garp_master_repeat" => garp.master_repeat = Some(count),
        "garp_lower_prio_repeat" => garp.lower_prio_repeat = Some(count),
        "garp_master_refresh_repeat" => garp.refresh_repeat = Some(count),
        _ => {}
    }
}

/// A word for a message: never a password.
fn shown<'w>(keyword: &str, word: &'w str) -> &'w str {
    if keyword == "auth_pass" { "***" } else { word }
}
