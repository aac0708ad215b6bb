//! Counts the processes that a `vrrp_track_process` means, and says when their number is good.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use serde_json::{Value, json};

use super::belonging::{Belonging, Machine};
use super::event::Event;
use super::process_watch::{Mechanism, Watch};
use super::scan;
use crate::agent::os::log;
use crate::keepalived::{Config, TrackProcess};
use crate::vrrp::Time;

/// Between two looks while somebody is missed, or where nobody tells us.
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks at processes whose end we would be told: they may have become another program.
const VERIFY: Duration = Duration::from_secs(5);
/// Best first.
const PREFERRED: [Mechanism; 3] = [Mechanism::Pidfd, Mechanism::Connector, Mechanism::Poll];

struct Tracked {
    rule: TrackProcess,
    belonging: Belonging,
    pids: BTreeSet<u32>,
    /// Processes that have the name and are not meant, when all were looked at last.
    others: usize,
    good: bool,
    /// Since when the other state has been seen.
    differs_since: Option<Time>,
}

impl Tracked {
    fn new(rule: &TrackProcess, machine: &Machine) -> Tracked {
        let mut tracked = Tracked {
            rule: rule.clone(),
            belonging: Belonging::of(rule, machine),
            pids: BTreeSet::new(),
            others: 0,
            good: true,
            differs_since: None,
        };
        tracked.find(machine);
        tracked.good = tracked.seen();
        tracked.say();
        tracked
    }

    /// Looks at every process.
    fn find(&mut self, machine: &Machine) {
        let (own, others): (BTreeSet<u32>, BTreeSet<u32>) = scan::all(&self.rule)
            .into_iter()
            .partition(|pid| self.belonging.admits(*pid, machine));
        self.pids = own;
        self.others = others.len();
    }

    /// Whether a process is meant.
    fn means(&self, pid: u32, machine: &Machine) -> bool {
        scan::matches(&self.rule, pid) && self.belonging.admits(pid, machine)
    }

    /// Which processes are counted.
    fn say(&self) {
        let fields = [
            ("rule", json!(self.rule.name)),
            ("by", json!(self.belonging.word())),
            ("which", json!(self.belonging.which())),
        ];
        if self.belonging == Belonging::Name {
            let hint = "every process of that name counts, of any user and in any container; the path of the program, \
                        or a unit that runs it, would tell them apart";
            let hint = [("hint", json!(hint))];
            log::event(
                "warning",
                "processes are known by their name alone",
                &[&fields[..], &hint].concat(),
            );
        } else {
            log::event("info", "processes are counted", &fields);
        }
    }

    fn missing(&self) -> bool {
        self.pids.len() < self.rule.quorum as usize
    }

    fn seen(&self) -> bool {
        !self.missing() && self.rule.quorum_max.is_none_or(|max| self.pids.len() <= max as usize)
    }

    /// When the other state counts.
    fn due(&self) -> Option<Time> {
        let delay = if self.good {
            self.rule.terminate_delay
        } else {
            self.rule.fork_delay
        };
        self.differs_since.map(|since| since + delay)
    }

    /// Returns whether the state changed.
    fn settle(&mut self, now: Time) -> bool {
        if self.seen() == self.good {
            self.differs_since = None;
            return false;
        }
        self.differs_since.get_or_insert(now);
        if self.due().is_some_and(|due| now < due) {
            return false;
        }
        self.good = !self.good;
        self.differs_since = None;
        if !self.good && self.others > 0 {
            let fields = [
                ("rule", json!(self.rule.name)),
                ("others", json!(self.others)),
                ("by", json!(self.belonging.word())),
                ("which", json!(self.belonging.which())),
            ];
            log::event(
                "warning",
                "processes of that name run, but they are not the tracked ones",
                &fields,
            );
        }
        true
    }
}

/// All tracked processes.
pub(crate) struct Processes {
    machine: Machine,
    all: Vec<Tracked>,
    wanted: Vec<Mechanism>,
    /// Opened with the first rule.
    watch: Option<Watch>,
    /// The event loop's, with our token in it.
    outer: Option<(Rc<Epoll>, u64)>,
    /// The end of every process that counts will be told.
    told: bool,
    next: Option<Time>,
}

impl Processes {
    /// `token` is what the event loop's epoll tells when [`Processes::told`] has something to do.
    pub(crate) fn new(epoll: &Rc<Epoll>, token: u64) -> Processes {
        Processes {
            outer: Some((Rc::clone(epoll), token)),
            ..Processes::with(&PREFERRED)
        }
    }

    fn with(wanted: &[Mechanism]) -> Processes {
        Processes {
            machine: Machine::here(),
            all: Vec::new(),
            wanted: wanted.to_vec(),
            watch: None,
            outer: None,
            told: false,
            next: None,
        }
    }

    /// Rules of a configuration; the first look counts at once. A rule that was known keeps its state and its grace.
    pub(crate) fn configure(&mut self, config: &Config, now: Time) {
        let mut old = std::mem::take(&mut self.all);
        self.machine = Machine::here();
        for rule in &config.track_processes {
            let known = old.iter().position(|t| same(&t.rule, rule));
            let Some(at) = known else {
                self.all.push(Tracked::new(rule, &self.machine));
                continue;
            };
            let mut tracked = old.swap_remove(at);
            // Units may have come or gone.
            let belonging = Belonging::of(rule, &self.machine);
            if belonging != tracked.belonging {
                tracked.belonging = belonging;
                tracked.find(&self.machine);
                tracked.say();
            }
            self.all.push(tracked);
        }
        if self.all.is_empty() {
            self.unwatch();
        } else if self.watch.is_none() {
            match self.open() {
                Ok(watch) => {
                    let name = watch.mechanism().name();
                    log::event("info", "processes are watched", &[("by", json!(name))]);
                    self.watch = Some(watch);
                }
                Err(e) => {
                    let fields = [("error", json!(e.to_string()))];
                    log::event("warning", "processes are watched by polling", &fields);
                }
            }
        }
        self.rewatch(now);
    }

    fn open(&self) -> std::io::Result<Watch> {
        let watch = Watch::open(&self.wanted)?;
        if let Some((epoll, token)) = &self.outer {
            epoll.add(&watch, EpollEvent::new(EpollFlags::EPOLLIN, *token))?;
        }
        Ok(watch)
    }

    /// Out of the event loop's epoll first: a child between fork and exec may keep a copy of the descriptor.
    fn unwatch(&mut self) {
        if let (Some(watch), Some((epoll, _))) = (self.watch.take(), &self.outer) {
            let _ = epoll.delete(&watch);
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let due = self.all.iter().filter_map(Tracked::due);
        due.chain(self.next).min()
    }

    pub(crate) fn good(&self, name: &str) -> bool {
        self.all.iter().find(|t| t.rule.name == name).is_none_or(|t| t.good)
    }

    /// Name of the mechanism and what is tracked.
    pub(crate) fn status(&self) -> Value {
        let one = |t: &Tracked| {
            json!({
                "name": t.rule.name, "good": t.good, "running": t.pids.len(),
                "known_by": t.belonging.word(), "which": t.belonging.which(), "not_counted": t.others,
            })
        };
        json!({
            "watched_by": self.watch.as_ref().map(|w| w.mechanism().name()),
            "rules": self.all.iter().map(one).collect::<Vec<_>>(),
        })
    }

    /// The kernel has told something. Returns whether something changed.
    pub(crate) fn told(&mut self, now: Time) -> bool {
        let mut events = Vec::new();
        if let Some(watch) = &mut self.watch {
            watch.events(&mut |e| events.push(e));
        }
        if !self.take(&events) {
            return false;
        }
        self.rewatch(now);
        self.settle(now)
    }

    /// Returns whether anything tracked is concerned.
    fn take(&mut self, events: &[Event]) -> bool {
        let mut concerned = false;
        for event in events {
            match *event {
                Event::Ended(pid) => {
                    for t in &mut self.all {
                        if t.pids.remove(&pid) {
                            concerned = true;
                            if t.missing() {
                                // A successor may run already. The dead one may still look alive.
                                t.find(&self.machine);
                                t.pids.remove(&pid);
                            }
                        }
                    }
                }
                // A child of another process has another name until it takes one.
                Event::Forked { parent, child } => {
                    for t in self.all.iter_mut().filter(|t| t.pids.contains(&parent)) {
                        concerned |= t.means(child, &self.machine) && t.pids.insert(child);
                    }
                }
                Event::Renamed(pid) => {
                    for t in &mut self.all {
                        concerned |= if t.means(pid, &self.machine) {
                            t.pids.insert(pid)
                        } else {
                            t.pids.remove(&pid)
                        };
                    }
                }
                Event::Missed => {
                    self.look(Look::Everybody);
                    concerned = true;
                }
            }
        }
        concerned
    }

    /// Looks, if it is time. Returns whether something changed.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        if self.next_timer().is_none_or(|at| now < at) {
            return false;
        }
        if self.next.is_some_and(|at| now >= at) {
            self.look(Look::Missing);
            self.rewatch(now);
        }
        self.settle(now)
    }

    fn look(&mut self, whom: Look) {
        for t in &mut self.all {
            let (rule, belonging, machine) = (&t.rule, &t.belonging, &self.machine);
            t.pids
                .retain(|pid| scan::matches(rule, *pid) && belonging.admits(*pid, machine));
            // Only who misses somebody, or must not have too many, has to look at every process.
            if whom == Look::Everybody || t.missing() || t.rule.quorum_max.is_some() {
                t.find(&self.machine);
            }
        }
    }

    /// Watches whoever counts now and plans the next look.
    fn rewatch(&mut self, now: Time) {
        self.told = match &mut self.watch {
            Some(watch) => watch.set(self.all.iter().flat_map(|t| t.pids.iter().copied())),
            None => false,
        };
        let beginnings_told = self
            .watch
            .as_ref()
            .is_some_and(|w| w.mechanism() == Mechanism::Connector);
        let searching = !beginnings_told && self.all.iter().any(|t| t.missing() || t.rule.quorum_max.is_some());
        let wait = if self.told && !searching { VERIFY } else { LOOK };
        self.next = (!self.all.is_empty()).then_some(now + wait);
    }

    fn settle(&mut self, now: Time) -> bool {
        self.all.iter_mut().fold(false, |changed, t| t.settle(now) | changed)
    }
}

/// The same rule, wherever it is written.
fn same(a: &TrackProcess, b: &TrackProcess) -> bool {
    let place = a.place.clone();
    *a == TrackProcess { place, ..b.clone() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Missing,
    Everybody,
}

#[cfg(test)]
pub(super) mod tests;
