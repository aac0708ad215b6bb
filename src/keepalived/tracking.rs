//! What is tracked and who is told: `vrrp_script`, `vrrp_track_process`, `track_file`, `vrrp_sync_group`, and the words that
//! groups share with instances.

use std::time::Duration;

use super::build::Builder;
use super::diag::Diagnostic;
use super::model::*;
use super::table;
use super::tree::{Stmt, Word, split_command};
use super::value::Value;

impl Builder<'_> {
    pub(super) fn script(&mut self, stmt: &Stmt, name: String) {
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

    pub(super) fn process(&mut self, stmt: &Stmt, name: String) {
        let mut p = TrackProcess {
            name,
            process: Vec::new(),
            full_command: false,
            weight: Weight::default(),
            quorum: 1,
            fork_delay: Duration::ZERO,
            terminate_delay: Duration::ZERO,
            place: stmt.place.clone(),
        };
        for line in stmt.children() {
            let value = self.value(table::PROCESS, line);
            match (line.keyword(), value) {
                ("process", Some(Value::Words(words))) => p.process = words.iter().map(|w| w.text.clone()).collect(),
                ("full_command", Some(_)) => p.full_command = true,
                ("weight", Some(Value::Words(words))) => p.weight = self.weight(words, 254).unwrap_or_default(),
                ("quorum", Some(Value::Int(n))) => p.quorum = n as u32,
                ("delay", Some(Value::Secs(time))) => (p.fork_delay, p.terminate_delay) = (time, time),
                ("fork_delay", Some(Value::Secs(time))) => p.fork_delay = time,
                ("terminate_delay", Some(Value::Secs(time))) => p.terminate_delay = time,
                _ => {}
            }
        }
        if p.process.is_empty() {
            self.error(&stmt.place, format!("vrrp_track_process `{}` has no `process`", p.name));
        }
        self.config.track_processes.push(p);
    }

    pub(super) fn track_file(&mut self, stmt: &Stmt, name: String) {
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

    pub(super) fn sync_group(&mut self, stmt: &Stmt, name: String) {
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

    /// Keywords that groups and instances share.
    pub(super) fn shared(&mut self, line: &Stmt, value: Value<'_>, tracks: &mut Tracks, notify: &mut Notify) {
        match (line.keyword(), value) {
            ("track_interface", _) => self.tracks(line, &mut tracks.interfaces),
            ("track_script", _) => self.tracks(line, &mut tracks.scripts),
            ("track_file", _) => self.tracks(line, &mut tracks.files),
            ("track_process", _) => self.tracks(line, &mut tracks.processes),
            ("smtp_alert", Value::Flag(on)) => notify.smtp_alert = Some(on),
            ("notify_priority_changes", Value::Flag(on)) => notify.priority_changes = Some(on),
            (name, Value::Words(words)) => {
                let slot = match name {
                    "notify" => &mut notify.any,
                    "notify_master" => &mut notify.master,
                    "notify_backup" => &mut notify.backup,
                    "notify_fault" => &mut notify.fault,
                    "notify_stop" => &mut notify.stop,
                    "notify_deleted" => &mut notify.deleted,
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
pub(super) fn user(words: &[Word]) -> Option<User> {
    let user = words.first()?.text.clone();
    Some(User {
        user,
        group: words.get(1).map(|w| w.text.clone()),
    })
}

pub(super) fn command(words: &[Word]) -> Command {
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(f, r)| (f.text.as_str(), r));
    Command {
        argv: split_command(first),
        user: user(rest),
    }
}
