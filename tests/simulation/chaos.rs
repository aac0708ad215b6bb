//! What goes wrong, until it heals. All of it is drawn beforehand or from a stream of its own, so that it does not depend on
//! what the routers do: the agent and the model of keepalived meet the same faults at the same times.

use std::time::Duration;

use hapair::vrrp::Input;
use hapair::vrrp::track::Effective;

use super::daemon::{Daemon, Grouping};
use super::node::{FirstAnswer, Link};
use super::rng::Rng;
use super::service::Hit;
use super::world::{Event, World, ns};

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Everything but commands, on a network that loses packets.
    Mixed,
    /// Links that come and go.
    Links,
    /// Checks without a weight that are good and bad in turn.
    Checks,
    /// Checks with a weight.
    Weights,
    /// Processes and machines that end, hang and come back.
    Ends,
    /// A network that loses packets and falls apart.
    Splits,
    /// Priorities and settings.
    Priorities,
    /// Everything, and what keepalived does not have: commands, and who cannot send gives up.
    Commands,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Stop,
    Stall,
    Partition,
    Track,
    Reload,
    Links,
    Checks,
    Weights,
    Strangers,
    Flood,
    Mute,
    Command,
    Clock,
    Rotate,
}

impl Theme {
    pub(crate) const ALL: [Theme; 8] = [
        Theme::Mixed,
        Theme::Links,
        Theme::Checks,
        Theme::Weights,
        Theme::Ends,
        Theme::Splits,
        Theme::Priorities,
        Theme::Commands,
    ];

    pub(crate) fn new(rng: &mut Rng) -> Theme {
        match rng.below(12) {
            n @ 1..=6 => Theme::ALL[n as usize],
            7..=8 => Theme::Mixed,
            _ => Theme::Commands,
        }
    }

    /// Whether the network loses, doubles and reorders packets.
    pub(crate) fn loses(self) -> bool {
        matches!(self, Theme::Mixed | Theme::Splits | Theme::Commands)
    }

    /// Whether priorities fall while their router goes on.
    pub(crate) fn falls(self) -> bool {
        matches!(self, Theme::Weights | Theme::Priorities)
    }

    /// Whether keepalived knows all that happens.
    pub(crate) fn compares(self) -> bool {
        self != Theme::Commands
    }

    fn kinds(self) -> &'static [Kind] {
        match self {
            Theme::Links => &[Kind::Links],
            Theme::Checks => &[Kind::Checks],
            Theme::Weights => &[Kind::Weights],
            Theme::Ends => &[Kind::Crash, Kind::Stop, Kind::Stall],
            Theme::Splits => &[Kind::Partition, Kind::Partition, Kind::Strangers],
            Theme::Priorities => &[Kind::Track, Kind::Reload],
            Theme::Mixed => &[
                Kind::Crash,
                Kind::Crash,
                Kind::Stop,
                Kind::Stall,
                Kind::Partition,
                Kind::Partition,
                Kind::Track,
                Kind::Reload,
                Kind::Reload,
                Kind::Links,
                Kind::Checks,
                Kind::Weights,
                Kind::Strangers,
            ],
            Theme::Commands => &[
                Kind::Crash,
                Kind::Crash,
                Kind::Stop,
                Kind::Stall,
                Kind::Partition,
                Kind::Track,
                Kind::Reload,
                Kind::Reload,
                Kind::Links,
                Kind::Checks,
                Kind::Weights,
                Kind::Strangers,
                Kind::Strangers,
                Kind::Flood,
                Kind::Mute,
                Kind::Clock,
                Kind::Clock,
                Kind::Rotate,
                Kind::Command,
                Kind::Command,
                Kind::Command,
                Kind::Command,
                Kind::Command,
            ],
        }
    }
}

impl World {
    pub(crate) fn chaos(&mut self, seed: u64) {
        if self.oracle.healed {
            return;
        }
        let rng = &mut Rng(seed);
        let node = rng.below(self.nodes.len() as u64) as usize;
        let i = ns(self.interval);
        let soon = rng.between(1, 12 * i);
        let kind = rng.pick(self.theme.kinds());
        // A process that hangs does nothing, but its cable and its check are not the process.
        if self.nodes[node].stalled && !matches!(kind, Kind::Links | Kind::Strangers | Kind::Partition) {
            return;
        }
        match kind {
            Kind::Crash => self.crash(node, soon, rng),
            Kind::Stop => {
                self.note(|| format!("h{node} is told to stop"));
                self.hit(node, Hit::End);
                self.stop(node);
                self.push(self.now + soon, Event::Start(node));
            }
            Kind::Stall if self.nodes[node].daemon.is_none() => {}
            Kind::Stall => {
                self.note(|| format!("h{node} stalls"));
                self.hit(node, Hit::Stall);
                self.nodes[node].stalled = true;
                self.totals.stalls += 1;
                self.push(self.now + soon, Event::Resume(node));
            }
            Kind::Partition => {
                // Also in one direction only.
                for a in 0..self.nodes.len() {
                    for b in 0..self.nodes.len() {
                        self.cut[a][b] = a != b && rng.chance(50);
                    }
                }
                let cut = self.cut.clone();
                self.note(|| format!("partition {cut:?}"));
            }
            Kind::Track => {
                let base = self.nodes[node].settings[0].priority;
                let priority = match base {
                    255 => 255,
                    _ => rng.between(1, 254) as u8,
                };
                let fault = rng.chance(25);
                self.hit(node, Hit::Fall);
                let tracked = &mut self.nodes[node].tracked;
                (tracked.priority, tracked.fault) = (priority, fault);
                self.track(node);
            }
            Kind::Reload => self.reload(node, rng),
            Kind::Links | Kind::Checks | Kind::Weights => self.flap(node, kind, rng),
            Kind::Strangers => self.strangers(rng, i),
            Kind::Flood => self.push(self.now, Event::Flood { to: node, left: 3 }),
            Kind::Clock => self.wrong_clock(node, soon, rng),
            Kind::Rotate => {
                self.rotate_all(rng);
            }
            Kind::Mute => self.mute(node, self.now + soon),
            Kind::Command => {
                let time = match rng.below(3) {
                    0 => None,
                    n => Some(self.plan.hold / (2 * n as u32)),
                };
                let input = match rng.below(7) {
                    0 | 1 => Input::Handover(time),
                    2 | 3 => Input::Hold(time),
                    4 | 5 => Input::Takeover(time),
                    _ => Input::Resume,
                };
                self.command(node, &input);
            }
        }
    }

    /// Something comes and goes, as often as a bad cable or a tired check does.
    fn flap(&mut self, node: usize, kind: Kind, rng: &mut Rng) {
        let i = ns(self.interval);
        let (bad, good) = (rng.between(i / 5, 4 * i), rng.between(i / 5, 6 * i));
        let link = rng.pick(&[Link::Down, Link::Down, Link::Deaf]);
        let penalty = rng.between(1, 120) as u8;
        let mut at = self.now;
        for _ in 0..rng.between(1, 10) {
            let events = match kind {
                Kind::Links => [Event::Link { node, link }, Event::Link { node, link: Link::Up }],
                Kind::Checks => [Event::Check { node, good: false }, Event::Check { node, good: true }],
                _ => [Event::Weight { node, penalty }, Event::Weight { node, penalty: 0 }],
            };
            let [goes, comes] = events;
            self.push(at, goes);
            self.push(at + bad, comes);
            at += bad + good;
        }
    }

    pub(crate) fn link(&mut self, node: usize, link: Link) {
        self.note(|| format!("h{node}: link {link:?}"));
        if link != Link::Up && self.nodes[node].link == Link::Up {
            self.hit(node, Hit::End);
            if link == Link::Deaf && !self.nodes[node].holds[0] {
                self.hit(node, Hit::Deaf);
            }
        }
        self.totals.flaps += 1;
        self.nodes[node].link = link;
        self.track(node);
    }

    pub(crate) fn check(&mut self, node: usize, good: bool) {
        if !good {
            self.hit(node, Hit::End);
        }
        self.totals.flaps += 1;
        self.nodes[node].good = good;
        self.track(node);
    }

    pub(crate) fn weigh(&mut self, node: usize, penalty: u8) {
        if penalty > 0 {
            self.hit(node, Hit::Fall);
        }
        self.totals.flaps += 1;
        self.nodes[node].weight = penalty;
        self.track(node);
    }

    /// The checks have answered for the first time since the daemon started, or since a reload added one.
    pub(crate) fn answered(&mut self, node: usize) {
        if self.nodes[node].tracked.pending {
            let good = self.nodes[node].first_answer.is_none_or(|answer| answer.good);
            self.nodes[node].tracked.pending = false;
            self.nodes[node].good = good;
            self.track(node);
            if !good {
                self.push(self.now + 4 * ns(self.interval), Event::Check { node, good: true });
            }
        }
    }

    /// What it sends gets nowhere, and its kernel says so, until then.
    pub(crate) fn mute(&mut self, node: usize, until: u64) {
        self.note(|| format!("h{node} cannot send"));
        self.nodes[node].mute = Some(self.now);
        self.push(until, Event::Voice(node));
    }

    pub(crate) fn unmute(&mut self, node: usize) {
        self.note(|| format!("h{node} can send again"));
        self.nodes[node].mute = None;
    }

    /// As many adverts of lower priority as somebody who is let in can send.
    pub(crate) fn flood(&mut self, to: usize, left: u64) {
        if left == 0 || self.nodes[to].stalled {
            return;
        }
        let other = (to + 1) % self.nodes.len();
        for member in 0..self.plan.members.len() {
            let s = &self.nodes[to].settings[member];
            let src = self.plan.source(other, member);
            let dst = self.plan.destination(s);
            let payload: std::rc::Rc<[u8]> = s.advert(1).encode(src, dst, s.form).into();
            for _ in 0..100 {
                let payload = payload.clone();
                self.deliver(
                    to,
                    super::node::Letter {
                        member,
                        src,
                        dst,
                        payload,
                    },
                );
            }
        }
        self.push(self.now + ns(self.interval) / 50, Event::Flood { to, left: left - 1 });
    }

    /// Handover, hold, takeover or resume.
    pub(crate) fn command(&mut self, node: usize, input: &Input<'_>) {
        self.note(|| format!("h{node}: {input:?}"));
        let now = self.local(node);
        let n = &mut self.nodes[node];
        if let Some(daemon) = &n.daemon {
            let willing = daemon.groups().iter().all(|g| g.takeover_refusal().is_none());
            n.held_until = match input {
                Input::Handover(time) | Input::Hold(time) => Some(time.map_or(Duration::MAX, |time| now + time)),
                // One that is refused ends no hold.
                Input::Takeover(_) if !willing => n.held_until,
                _ => None,
            };
        }
        self.totals.commands += 1;
        self.input_all(node, input);
    }

    /// Tells the daemon what is tracked now.
    pub(crate) fn track(&mut self, node: usize) {
        let effective = self.nodes[node].effective();
        if self.nodes[node].stalled {
            // It looks when it runs again.
            return;
        }
        self.note(|| format!("h{node} tracks {effective:?}"));
        for member in 0..self.plan.members.len() {
            self.input(node, member, Input::Tracked(one_fails(effective, member)));
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.input_all(node, &Input::Stop);
        if self.nodes[node].daemon.take().is_some() && self.nodes[node].holds.contains(&true) {
            self.fail(format!("h{node} stopped and holds addresses"));
        }
    }

    /// SIGKILL; the unit's stop step follows, if the machine lives.
    fn crash(&mut self, node: usize, back_after: u64, rng: &mut Rng) {
        if self.nodes[node].daemon.is_none() {
            return;
        }
        self.totals.crashes += 1;
        let power = rng.chance(30);
        let leftover = !power && rng.chance(10);
        let step = rng.between(1_000_000, 40_000_000);
        self.hit(node, Hit::End);
        self.note(|| format!("h{node} crashes, power lost: {power}, stop step lost: {leftover}"));
        let n = &mut self.nodes[node];
        n.crashed = !power;
        n.leftover = leftover;
        n.stalled = false;
        n.queue.clear();
        if power {
            n.daemon = None;
            n.holds.fill(false);
        } else if leftover {
            n.daemon = None;
        } else {
            n.stalled = true;
            let at = self.now + step.min(back_after);
            self.push(at, Event::StopStep(node));
        }
        self.push(self.now + back_after + 1, Event::Start(node));
    }

    /// What ExecStopPost does: addresses off, then priority 0.
    pub(crate) fn stop_step(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        n.stalled = false;
        n.queue.clear();
        match n.daemon {
            None => return,
            // It has none: nobody says anything, and the addresses stay on.
            Some(Daemon::Keepalived(_)) => {
                n.daemon = None;
                return;
            }
            Some(Daemon::Agent(_)) => {}
        }
        self.note(|| format!("h{node}: stop step"));
        self.end(node);
        if self.nodes[node].holds.contains(&true) {
            self.fail(format!("h{node} crashed and holds addresses"));
        }
    }

    fn reload(&mut self, node: usize, rng: &mut Rng) {
        self.totals.reloads += 1;
        let members = self.plan.members.len();
        if members > 1
            && rng.chance(40)
            && let Some(daemon) = &mut self.nodes[node].daemon
        {
            self.totals.regroups += 1;
            let grouping = match daemon.grouping() {
                Grouping::Together => Grouping::Alone,
                Grouping::Alone => Grouping::Together,
            };
            daemon.regroup(grouping);
            self.note(|| format!("h{node}: its instances are {grouping:?}"));
        }
        let grow = rng.chance(50);
        let preempt = rng.chance(30).then(|| rng.chance(50));
        let delay = rng.chance(10).then_some(self.plan.preempt_delay);
        // Who owns the addresses by its priority of 255 goes on to; the others may get another one.
        let base = self.nodes[node].settings[0].priority;
        let priority = (base != 255 && rng.chance(30)).then(|| rng.between(1, 254) as u8);
        for member in 0..members {
            let more = self.plan.vip(member, self.nodes[node].settings[member].vips.len());
            let interval = self.plan.intervals_differ.then(|| self.plan.interval(member, rng));
            let s = &mut self.nodes[node].settings[member];
            if grow && s.vips.len() < 4 {
                s.vips.push(more);
            } else {
                s.vips.truncate(1);
            }
            s.preempt = preempt.unwrap_or(s.preempt);
            s.preempt_delay = delay.unwrap_or(Duration::ZERO);
            s.priority = priority.unwrap_or(s.priority);
            s.advert_int = interval.unwrap_or(s.advert_int);
            self.slowest = self.slowest.max(s.advert_int);
        }
        if let Some(priority) = priority {
            self.nodes[node].tracked.priority = priority;
        }
        if rng.chance(20) && self.nodes[node].daemon.is_some() {
            // It adds a check, which says nothing about who owns the addresses already.
            self.nodes[node].tracked.pending = true;
            self.nodes[node].first_answer.get_or_insert(FirstAnswer {
                after: ns(self.interval),
                good: true,
            });
            self.push(self.now + rng.below(3 * ns(self.interval)), Event::Answered(node));
        }
        self.hit(node, Hit::Fall);
        self.note(|| format!("h{node} reloads, preempt {preempt:?} after {delay:?}, priority {priority:?}"));
        let now = self.now;
        self.nodes[node].mute.iter_mut().for_each(|since| *since = now);
        self.configure(node);
    }

    /// Tells the daemon the settings of its members.
    pub(crate) fn configure(&mut self, node: usize) {
        let effective = self.nodes[node].effective();
        for member in 0..self.plan.members.len() {
            let settings = Box::new(self.nodes[node].settings[member].clone());
            self.input(node, member, Input::Configure(settings, one_fails(effective, member)));
        }
    }

    pub(crate) fn resume(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if !n.stalled || n.daemon.is_none() {
            return;
        }
        self.note(|| format!("h{node} runs again"));
        let n = &mut self.nodes[node];
        n.stalled = false;
        // Its adverts were not late because they could not be sent.
        let now = self.now;
        self.nodes[node].mute.iter_mut().for_each(|since| *since = now);
        let n = &mut self.nodes[node];
        for letter in std::mem::take(&mut n.queue) {
            self.deliver(node, letter);
        }
        self.input_all(node, &Input::Tick);
        self.track(node);
    }
}

/// One member of a group fails.
pub(crate) fn one_fails(effective: Effective, member: usize) -> Effective {
    Effective {
        fault: effective.fault && member == 0,
        ..effective
    }
}
