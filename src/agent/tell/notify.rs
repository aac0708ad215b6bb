//! Notifications: scripts, one after the other for each instance or group, and lines for the FIFOs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::json;

use super::fifo::Fifos;
use crate::agent::os::script::Prepared;
use crate::agent::os::spawn::Child;
use crate::agent::os::{log, script, spawn, users};
use crate::keepalived::{Command, Config, Deleted, Instance, Notify, SyncGroup};
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
pub(crate) struct Notifier {
    lanes: BTreeMap<String, Lane>,
    pub(crate) fifos: Fifos,
}

/// Whom a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// A `vrrp_instance`.
    Instance,
    /// A `vrrp_sync_group`.
    Group,
}

/// The instance or group that a notification is about.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) about: About,
    pub(crate) name: &'a str,
    /// Who wants to be told.
    pub(crate) notify: &'a Notify,
}

impl<'a> Subject<'a> {
    /// An instance.
    pub(crate) fn instance(instance: &'a Instance) -> Subject<'a> {
        Subject {
            about: About::Instance,
            name: &instance.name,
            notify: &instance.notify,
        }
    }

    /// A sync group.
    pub(crate) fn group(group: &'a SyncGroup) -> Subject<'a> {
        Subject {
            about: About::Group,
            name: &group.name,
            notify: &group.notify,
        }
    }
}

impl About {
    /// keepalived's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            About::Instance => "INSTANCE",
            About::Group => "GROUP",
        }
    }
}

/// keepalived's word for a state.
pub(crate) fn word(state: State) -> &'static str {
    match state {
        State::Master => "MASTER",
        State::Backup => "BACKUP",
        State::Fault => "FAULT",
        State::Stopped => "STOP",
    }
}

impl Notifier {
    /// FIFOs and their readers.
    pub(crate) fn configure(&mut self, config: &Config, now: Time) {
        self.fifos.configure(config, now);
    }

    /// Tells of a transition.
    pub(crate) fn transition(&mut self, config: &Config, subject: Subject<'_>, state: State, priority: u8) {
        let notify = subject.notify;
        let own = match state {
            State::Master => &notify.master,
            State::Backup => &notify.backup,
            State::Fault => &notify.fault,
            State::Stopped => &notify.stop,
        };
        self.say(config, subject, own.as_ref(), word(state), priority);
    }

    /// Tells that a reload took an instance away.
    pub(crate) fn deleted(&mut self, config: &Config, instance: &Instance, priority: u8) {
        let notify = &instance.notify;
        let (own, word) = match &notify.deleted {
            Deleted::Fault => (notify.fault.as_ref(), word(State::Fault)),
            Deleted::Deleted(command) => (command.as_ref(), "DELETED"),
        };
        self.say(config, Subject::instance(instance), own, word, priority);
    }

    fn say(&mut self, config: &Config, subject: Subject<'_>, own: Option<&Command>, word: &str, priority: u8) {
        let Subject { about, name, notify } = subject;
        if let Some(command) = own {
            self.push(config, name, command, &[]);
        }
        if let Some(command) = &notify.any {
            self.push(
                config,
                name,
                command,
                &[about.word(), name, word, &priority.to_string()],
            );
        }
        self.line(about, name, word, priority);
    }

    /// A line for the FIFOs alone.
    pub(crate) fn line(&mut self, about: About, name: &str, word: &str, priority: u8) {
        let kind = about.word();
        self.fifos.write(&format!("{kind} \"{name}\" {word} {priority}\n"));
    }

    /// The effective priority changed, and somebody wants to know.
    pub(crate) fn priority(&mut self, name: &str, state: State, priority: u8) {
        match state {
            State::Master => self.line(About::Instance, name, "MASTER_PRIORITY", priority),
            State::Backup => self.line(About::Instance, name, "BACKUP_PRIORITY", priority),
            State::Fault | State::Stopped => {}
        }
    }

    /// A lower priority was heard.
    pub(crate) fn lower(&mut self, config: &Config, instance: &Instance, priority: u8) {
        let name = &instance.name;
        if let Some(command) = &instance.notify.master_rx_lower_pri {
            self.push(config, name, command, &[]);
        }
        self.line(About::Instance, name, "MASTER_RX_LOWER_PRI", priority);
    }

    fn push(&mut self, config: &Config, name: &str, command: &Command, more: &[&str]) {
        let Prepared { mut argv, ids } = match script::prepare(command, &config.global, &spawn::path()) {
            Ok(prepared) => prepared,
            Err(reason) => return refuse(name, &reason),
        };
        argv.extend(more.iter().map(|s| (*s).to_owned()));
        let lane = self.lanes.entry(name.to_owned()).or_default();
        if lane.waiting.len() >= QUEUE {
            lane.waiting.pop_front();
        }
        lane.waiting.push_back((argv, ids));
    }

    /// Starts what can start, ends what takes too long.
    pub(crate) fn tick(&mut self, now: Time) {
        self.fifos.tick(now);
        for (name, lane) in &mut self.lanes {
            if let Some((child, limit)) = &mut lane.running {
                match child.ended() {
                    None if now < *limit => continue,
                    None => {
                        log::event(
                            "warning",
                            "notify script is killed after its time limit",
                            &[("for", json!(name))],
                        );
                        spawn::signal_group(child, libc::SIGKILL);
                        // Waited for when it is gone: one that hangs in the kernel must not hold up the packets.
                        *limit = now + LIMIT;
                        continue;
                    }
                    Some(end) if !end.success() => {
                        log::event(
                            "warning",
                            "notify script failed",
                            &[("for", json!(name)), ("result", json!(end.to_string()))],
                        );
                    }
                    Some(_) => {}
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

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let limits = self.lanes.values().filter_map(|l| l.running.as_ref().map(|r| r.1));
        limits.chain(self.fifos.next_timer()).min()
    }

    /// Nothing runs and nothing waits.
    pub(crate) fn idle(&self) -> bool {
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
