//! Notify scripts, one after the other for each instance or group, and FIFOs.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;
use std::time::Duration;

use serde_json::json;

use super::{log, spawn, users};
use crate::keepalived::{Command, Config, Notify};
use crate::vrrp::{State, Time};

/// A notify script that runs longer is killed: the next one waits for it.
const LIMIT: Duration = Duration::from_secs(60);
/// Transitions that may wait for one owner; older ones are dropped, the last one is what counts.
const QUEUE: usize = 64;

#[derive(Default)]
struct Lane {
    waiting: VecDeque<(Vec<String>, users::Ids)>,
    running: Option<(Child, Time)>,
}

/// All notifications.
#[derive(Default)]
pub(super) struct Notifier {
    lanes: BTreeMap<String, Lane>,
    fifos: Vec<File>,
}

/// keepalived's word for a state.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Master => "MASTER",
        State::Backup => "BACKUP",
        State::Fault => "FAULT",
        State::Stopped => "STOP",
    }
}

impl Notifier {
    /// Opens the FIFOs, creating them where they are not.
    pub(super) fn configure(&mut self, config: &Config) {
        self.fifos.clear();
        for fifo in &config.global.fifos {
            let Ok(path) = std::ffi::CString::new(fifo.path.as_str()) else {
                continue;
            };
            // SAFETY: `path` ends with zero. An existing FIFO is what we want; anything else shows at opening.
            unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
            if let Some(Ok(ids)) = fifo.user.as_ref().map(|u| users::lookup(&u.user, u.group.as_deref())) {
                drop(std::os::unix::fs::chown(&fifo.path, Some(ids.uid), Some(ids.gid)));
            }
            // Read and write: opening does not wait for a reader.
            let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
            match OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags)
                .open(&fifo.path)
            {
                Ok(file) => self.fifos.push(file),
                Err(e) => log::event(
                    "error",
                    "cannot open FIFO",
                    &[("path", json!(fifo.path)), ("error", json!(e.to_string()))],
                ),
            }
        }
    }

    /// Tells of a transition. `kind` is `INSTANCE` or `GROUP`.
    pub(super) fn transition(
        &mut self,
        config: &Config,
        kind: &str,
        name: &str,
        notify: &Notify,
        state: State,
        priority: u8,
    ) {
        let word = word(state);
        let own = match state {
            State::Master => &notify.master,
            State::Backup => &notify.backup,
            State::Fault => &notify.fault,
            State::Stopped => &notify.stop,
        };
        if let Some(command) = own {
            self.push(config, name, command, &[]);
        }
        if let Some(command) = &notify.any {
            self.push(config, name, command, &[kind, name, word, &priority.to_string()]);
        }
        let line = format!("{kind} \"{name}\" {word} {priority}\n");
        for fifo in &mut self.fifos {
            if let Err(e) = fifo.write_all(line.as_bytes()) {
                log::event("warning", "FIFO is not read", &[("error", json!(e.to_string()))]);
            }
        }
    }

    /// A lower priority was heard.
    pub(super) fn lower(&mut self, config: &Config, name: &str, notify: &Notify) {
        if let Some(command) = &notify.master_rx_lower_pri {
            self.push(config, name, command, &[]);
        }
    }

    fn push(&mut self, config: &Config, name: &str, command: &Command, more: &[&str]) {
        let ids = match spawn::ids(command.user.as_ref(), &config.global) {
            Ok(ids) => ids,
            Err(reason) => return refuse(name, &reason),
        };
        if let (0, true, Some(program)) = (ids.uid, config.global.script_security, command.argv.first())
            && let Some(reason) = spawn::insecure(program)
        {
            return refuse(name, &reason);
        }
        let argv = command
            .argv
            .iter()
            .cloned()
            .chain(more.iter().map(|s| (*s).to_owned()))
            .collect();
        let lane = self.lanes.entry(name.to_owned()).or_default();
        if lane.waiting.len() >= QUEUE {
            lane.waiting.pop_front();
        }
        lane.waiting.push_back((argv, ids));
    }

    /// Starts what can start, ends what takes too long.
    pub(super) fn tick(&mut self, now: Time) {
        for (name, lane) in &mut self.lanes {
            if let Some((child, limit)) = &mut lane.running {
                match child.try_wait() {
                    Ok(None) if now < *limit => continue,
                    Ok(None) => {
                        log::event(
                            "warning",
                            "notify script is killed after its time limit",
                            &[("for", json!(name))],
                        );
                        spawn::signal_group(child, libc::SIGKILL);
                        drop(child.wait());
                    }
                    Ok(Some(status)) if !status.success() => {
                        log::event(
                            "warning",
                            "notify script failed",
                            &[("for", json!(name)), ("result", json!(status.to_string()))],
                        );
                    }
                    _ => {}
                }
                lane.running = None;
            }
            while let Some((argv, ids)) = lane.waiting.pop_front() {
                match spawn::spawn(&argv, &ids) {
                    Ok(child) => {
                        lane.running = Some((child, now + LIMIT));
                        break;
                    }
                    Err(e) => refuse(name, &format!("{}: {e}", argv.first().map_or("", String::as_str))),
                }
            }
        }
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        self.lanes
            .values()
            .filter_map(|l| l.running.as_ref().map(|r| r.1))
            .min()
    }

    /// Nothing runs and nothing waits.
    pub(super) fn idle(&self) -> bool {
        self.lanes.values().all(|l| l.running.is_none() && l.waiting.is_empty())
    }
}

fn refuse(name: &str, reason: &str) {
    log::event(
        "error",
        "notify script is not run",
        &[("for", json!(name)), ("reason", json!(reason))],
    );
}
