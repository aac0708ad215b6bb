//! What must hold, in every run.

use std::time::Duration;

use hapair::vrrp::{Cause, Input, State, Time};

use super::daemon::{Daemon, Grouping, Rules};
use super::node::{Link, Node};
use super::rng::Rng;
use super::world::{DRIFT, Event, World, ns};

/// How far a run is, and what is wrong just now.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) healed: bool,
    /// From here on exactly one owner.
    pub(crate) one_owner: bool,
    /// From here on no transition.
    pub(crate) settled: bool,
    /// Since when there is not one owner.
    wrong: Option<(u64, Wrong)>,
    /// How long a VIP may be without owner.
    pub(crate) gap: u64,
    /// How long it may have two, where that is less than usual.
    pub(crate) double: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    NoOwner,
    TwoOwners,
}

impl World {
    /// The network is whole, and whoever was kept from running runs.
    pub(crate) fn heal(&mut self) {
        self.note(|| "healed".to_owned());
        let last_delay = self.max_delay;
        self.oracle.healed = true;
        self.loss = 0;
        self.duplicates = 0;
        let shortest = self.plan.members.iter().map(|m| ns(m.1)).min().unwrap_or_default();
        self.max_delay = shortest / 100;
        self.cut.iter_mut().for_each(|row| row.fill(false));
        let mut rng = Rng::stream(self.seed, 2);
        for node in 0..self.nodes.len() {
            let starts = rng.chance(60) || self.nodes[node].leftover;
            let n = &mut self.nodes[node];
            (n.link, n.good, n.weight, n.mute) = (Link::Up, true, 0, None);
            n.tracked.pending = false;
            if self.nodes[node].stalled {
                // A crash whose stop step is still to come, or a stall.
                if self.nodes[node].crashed {
                    self.stop_step(node);
                }
                self.resume(node);
            }
            if raised(&self.nodes[node]) || took_over(&self.nodes[node]) {
                // Else it might own them for good, although a better one is there.
                self.command(node, &Input::Resume);
            }
            self.track(node);
            if let Some(daemon) = self.nodes[node]
                .daemon
                .as_mut()
                .filter(|d| d.grouping() == Grouping::Alone)
            {
                // A group on one host and none on the other may leave a member without owner: not what is asked here.
                daemon.regroup(Grouping::Together);
                self.configure(node);
            }
            if self.nodes[node].daemon.is_none() && starts {
                self.start(node);
            }
        }
        self.repair_hmac();
        // Somebody must be able to own the addresses.
        if !self.nodes.iter().any(|n| n.in_election()) {
            self.nodes[0].tracked.fault = false;
            self.start(0);
            self.track(0);
        }
        // What is still to come would begin a new election. The strangers stay.
        for event in &mut self.pool {
            let goes_on = matches!(
                event,
                Some(Event::Deliver { .. } | Event::Timer { .. } | Event::Stranger { .. })
            );
            if !goes_on {
                *event = None;
            }
        }
        let bound = self.bound();
        let deadline = self.now + last_delay + bound + 2 * self.max_delay;
        let settled = deadline + self.patience() + 2 * bound;
        self.push(deadline, Event::Deadline);
        self.push(settled, Event::Settled);
        self.push(settled + 2 * bound, Event::Finale);
    }

    /// How long somebody may leave the addresses to a lower owner.
    fn patience(&self) -> u64 {
        self.slow(self.plan.hold + self.plan.preempt_delay)
    }

    /// The longest master_down_time plus one advert, by the slowest clock.
    pub(crate) fn bound(&self) -> u64 {
        let settings = || self.nodes.iter().flat_map(|n| n.settings.iter().map(move |s| (n, s)));
        let slowest = settings().map(|(_, s)| s.advert_int).max().unwrap_or_default();
        let slowest = slowest.max(self.slowest);
        let down = settings().map(|(n, s)| s.master_down(n.effective().priority, slowest));
        self.slow(down.max().unwrap_or_default() + slowest)
    }

    /// As long as that on the slowest clock.
    fn slow(&self, time: Duration) -> u64 {
        ns(time) * (1_000_000 + 2 * DRIFT as u64) / 1_000_000
    }

    /// The owner ends, gives the addresses away, or falls below a standby: each has its own time in which the next one has them.
    pub(crate) fn finale(&mut self) {
        self.oracle.settled = false;
        let now: Vec<Time> = (0..self.nodes.len()).map(|n| self.local(n)).collect();
        let Some(owner) = self.nodes.iter().position(|n| n.holds[0]) else {
            return self.fail("nobody owns the addresses before the finale".to_owned());
        };
        let others = (0..self.nodes.len()).filter(|n| *n != owner && self.nodes[*n].in_election());
        let others: Vec<usize> = others.collect();
        let (travel, bound) = (3 * self.max_delay + 10_000, self.bound());
        match self.rng.below(6) {
            0 if !others.is_empty() => {
                self.note(|| format!("finale: h{owner} stops"));
                self.oracle.gap = self.skews(owner, &others) + travel;
                self.stop(owner);
                self.totals.finales += 1;
            }
            1 => {
                // Nobody there to take them: they come back after the usual wait.
                self.oracle.gap = match others.is_empty() {
                    true => bound,
                    false => self.skews(owner, &others) + travel,
                };
                self.note(|| format!("finale: h{owner} hands over to {others:?}"));
                self.command(owner, &Input::Handover(Some(self.plan.hold / 3)));
                self.totals.finales += 1;
            }
            2 => {
                let eager = others.iter().filter(|n| self.nodes[**n].preempts_at_once(now[**n]));
                let best = eager.max_by_key(|n| self.nodes[**n].effective().priority).copied();
                let best = best.filter(|n| self.nodes[*n].effective().priority > 1);
                // Below its own too: an owner by command announces another one until its own falls.
                let own = self.nodes[owner].effective().priority;
                if let Some(best) = best.filter(|_| own > 1 && self.nodes[owner].settings[0].priority != 255) {
                    let below = (self.nodes[best].effective().priority - 1).min(own - 1);
                    let priority = self.rng.between(1, below.into()) as u8;
                    let at = self.now + self.skews(owner, &[best]) + travel;
                    self.note(|| format!("finale: h{owner} falls to {priority}, below h{best}"));
                    self.nodes[owner].tracked.priority = priority;
                    self.track(owner);
                    self.push(at, Event::Moved(owner));
                    self.totals.finales += 1;
                }
            }
            3 | 4 => self.take_over_on_command(&others, travel),
            5 if self.plan.hmac.is_some() && self.rng.chance(50) => {
                self.note(|| "finale: all keys are changed".to_owned());
                // Without a second owner, and without a time without one.
                (self.oracle.gap, self.oracle.double) = (0, Some(0));
                self.totals.finales += 1;
                let mut rng = Rng(self.rng.next());
                self.rotate_all(&mut rng);
            }
            5 => self.clock_goes_off(owner),
            _ => {}
        }
        let settled = self.now + self.patience() + 2 * bound;
        self.push(settled, Event::Settled);
        self.push(settled + 2 * bound, Event::End);
    }

    /// The longest skew time of these standbys of an owner.
    fn skews(&self, owner: usize, standbys: &[usize]) -> u64 {
        let owner = &self.nodes[owner].settings;
        let skew = |n: &usize| {
            let node = &self.nodes[*n];
            let members = node.settings.iter().zip(owner);
            members
                .map(|(s, o)| s.skew(node.effective().priority, o.advert_int))
                .max()
        };
        self.slow(standbys.iter().filter_map(skew).max().unwrap_or_default())
    }

    pub(crate) fn judge_the_move(&mut self, from: usize) {
        if self.nodes[from].holds.contains(&true) {
            self.fail(format!("h{from} has fallen and still owns the addresses"));
        }
    }

    /// State and addresses of a host agree, and what belongs together is together.
    pub(crate) fn judge_a_node(&mut self, node: usize) {
        let n = &self.nodes[node];
        let Some(daemon @ Daemon::Agent(_)) = &n.daemon else {
            return;
        };
        let torn = daemon.groups().iter().any(|group| {
            let masters = group.routers().iter().filter(|r| r.state() == State::Master).count();
            masters != 0 && masters != group.routers().len()
        });
        let mut states = daemon.routers().zip(&n.holds);
        let odd = states.any(|(r, holds)| (r.state() == State::Master) != *holds);
        drop(states);
        if odd {
            self.fail(format!("h{node}: addresses and state disagree"));
        } else if torn {
            self.fail(format!("h{node}: the sync group is torn apart"));
        }
        self.judge_the_sent(node);
        let n = &self.nodes[node];
        let slowest = n
            .settings
            .iter()
            .map(|s| s.interval() * u32::from(s.down_adverts))
            .max();
        if let Some(since) = n.mute.filter(|_| !n.stalled && n.holds.contains(&true))
            && self.now > since + self.slow(slowest.unwrap_or_default()) + 1_000_000
        {
            self.fail(format!("h{node} cannot send since {since} and owns the addresses"));
        }
    }

    /// A standby takes over by command: at once, and until it is told otherwise nobody takes the addresses back.
    fn take_over_on_command(&mut self, others: &[usize], travel: u64) {
        let refused = |n: &usize| {
            let groups = self.nodes[*n].daemon.iter().flat_map(Daemon::groups);
            groups.into_iter().any(|g| g.takeover_refusal().is_some())
        };
        let willing: Vec<usize> = others.iter().copied().filter(|n| !refused(n)).collect();
        if willing.is_empty() {
            return;
        }
        let by = self.rng.pick(&willing);
        let time = self.rng.chance(50).then_some(self.plan.hold / 2);
        self.note(|| format!("finale: h{by} takes over, {time:?}"));
        // The new owner has them at once, the old one until the first advert arrives.
        self.oracle.gap = 0;
        self.oracle.double = Some(self.max_delay + 2000);
        self.totals.takeover_commands += 1;
        self.totals.finales += 1;
        self.command(by, &Input::Takeover(time));
        let ends = self.now + self.slow(self.plan.hold / 2);
        self.push(self.now + travel, Event::Taken(by));
        // Half-way nobody has taken them back.
        self.push(self.now + ns(self.plan.hold / 2) * 9 / 10, Event::Taken(by));
        if time.is_none() {
            self.push(ends, Event::Lowered(by));
        }
    }

    pub(crate) fn judge_the_takeover(&mut self, by: usize) {
        // When the raise ends, two standbys may take over together.
        self.oracle.double = None;
        let owns = |n: usize| self.nodes[n].holds.contains(&true);
        if let Some(other) = (0..self.nodes.len()).find(|n| owns(*n) != (*n == by)) {
            self.fail(format!("h{by} took over by command, and h{other} does not agree"));
        }
    }

    /// The raised priority ends by command; the time that was given has its own end. In the end the best one owns, as ever.
    pub(crate) fn judge_the_raise(&mut self, owner: usize) {
        self.command(owner, &Input::Resume);
        if raised(&self.nodes[owner]) {
            self.fail(format!("h{owner} goes on announcing a raised priority"));
        }
    }

    /// After the deadline: one owner for each VIP, except while the word of a new one travels, or where a gap is due.
    pub(crate) fn watch(&mut self) {
        if !self.oracle.one_owner {
            return;
        }
        let members = 0..self.plan.members.len();
        let counts: Vec<usize> = members
            .map(|m| self.nodes.iter().filter(|n| n.holds[m]).count())
            .collect();
        let wrong = counts.iter().any(|c| *c != 1).then(|| match counts.contains(&0) {
            true => Wrong::NoOwner,
            false => Wrong::TwoOwners,
        });
        if let Some((since, before)) = self.oracle.wrong {
            let (most, what) = match before {
                Wrong::NoOwner => (self.oracle.gap, "a VIP without owner"),
                Wrong::TwoOwners => (self.oracle.double.unwrap_or(3 * self.max_delay), "two owners"),
            };
            // Also if this very event ends it.
            if self.now > since + most {
                let owners: Vec<&Vec<bool>> = self.nodes.iter().map(|n| &n.holds).collect();
                let time = Duration::from_nanos(self.now - since);
                return self.fail(format!("{what} for {time:?}: {owners:?}"));
            }
        }
        self.oracle.wrong = wrong.map(|wrong| match self.oracle.wrong {
            Some((since, before)) if before == wrong => (since, wrong),
            _ => (self.now, wrong),
        });
    }

    /// Who does not preempt, or is held, may only become owner after silence, priority 0, or a start.
    pub(crate) fn judge_preemption(&mut self, node: usize, member: usize, now: Time, cause: Cause) {
        let n = &self.nodes[node];
        let s = &n.settings[member];
        if n.tracked.pending && self.rules == Rules::Agent {
            self.fail(format!("h{node}.{member} owns before its checks have answered"));
            return;
        }
        // On command.
        if cause == Cause::Takeover {
            return;
        }
        if (s.preempt || s.priority == 255) && !n.held(now) {
            return;
        }
        if let Some(until) = n.owner_until[member]
            && now < until
        {
            self.fail(format!(
                "h{node}.{member} preempts although it must not: its owner lives for {:?} yet",
                until - now
            ));
        }
    }

    /// In the end nobody who preempts is better than the owner.
    pub(crate) fn judge_the_owner(&mut self) {
        let priority = |n: usize| self.nodes[n].effective().priority;
        let Some(owner) = self.nodes.iter().position(|n| n.holds[0]) else {
            return self.fail("nobody owns the addresses in the end".to_owned());
        };
        let best = (0..self.nodes.len()).find(|n| {
            let node = &self.nodes[*n];
            let may = |s: &hapair::vrrp::Settings| s.preempt || s.priority == 255;
            let preempts = node.in_election() && !node.held(self.local(*n)) && node.settings.iter().all(may);
            preempts && priority(*n) > priority(owner)
        });
        if let Some(best) = best {
            self.fail(format!("h{owner} owns the addresses, h{best} should"));
        }
    }
}

fn raised(node: &Node) -> bool {
    let mut routers = node.daemon.iter().flat_map(Daemon::routers);
    routers.any(|r| r.snapshot(Time::ZERO).raised.is_some())
}

/// Whether it took over on command: it may yet outbid an owner that it had not heard.
fn took_over(node: &Node) -> bool {
    let routers = node.daemon.iter().flat_map(Daemon::routers);
    let mut snapshots = routers.map(|r| r.snapshot(Time::ZERO));
    snapshots.any(|s| s.state == State::Master && s.cause == Cause::Takeover)
}
