//! What instances track: `vrrp_script`, `vrrp_track_process`, `track_file`, and weights.

use std::time::Duration;

use super::builder::{Builder, Kind};
use super::model::*;
use super::sync_group::user;
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
                    self.no_shell(word);
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
            let message = format!(
                "vrrp_script `{}` has no `script`: it is ignored, as in keepalived",
                s.name
            );
            self.warn(&stmt.place, message);
        } else if self.is_first(Kind::Script, &s.name, &stmt.place) {
            self.config.scripts.push(s);
        }
    }

    /// `weight N [reverse|noreverse]`.
    pub(super) fn weight(&mut self, words: &[Word], most: i16) -> Option<Weight> {
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
            let message = format!(
                "vrrp_track_process `{}` has no `process`: it is ignored, as in keepalived",
                p.name
            );
            return self.warn(&stmt.place, message);
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
        if self.is_first(Kind::Process, &p.name, &stmt.place) {
            self.config.track_processes.push(p);
        }
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
            let message = format!("track_file `{}` has no `file`: it is ignored, as in keepalived", f.name);
            self.warn(&stmt.place, message);
        } else if self.is_first(Kind::File, &f.name, &stmt.place) {
            self.config.track_files.push(f);
        }
    }
}
