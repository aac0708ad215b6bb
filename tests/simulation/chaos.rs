//! What goes wrong, until it heals.

use std::time::Duration;

use hapair::vrrp::Input;
use hapair::vrrp::track::Effective;

use super::node::{HOLD, PREEMPT_DELAY};
use super::world::{Event, World, ns};

impl World {
    pub(crate) fn chaos(&mut self) {
        if self.oracle.healed {
            return;
        }
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        if self.nodes[node].stalled {
            return;
        }
        let i = ns(self.interval);
        let soon = self.rng.between(1, 12 * i);
        match self.rng.below(12) {
            0 | 1 => self.crash(node, soon),
            2 => {
                self.note(|| format!("h{node} is told to stop"));
                self.stop(node);
                self.push(self.now + soon, Event::Start(node));
            }
            3 if self.nodes[node].daemon.is_none() => {}
            3 => {
                self.note(|| format!("h{node} stalls"));
                self.nodes[node].stalled = true;
                self.totals.stalls += 1;
                self.push(self.now + soon, Event::Resume(node));
            }
            4 | 5 => {
                // Also in one direction only.
                for a in 0..self.nodes.len() {
                    for b in 0..self.nodes.len() {
                        self.cut[a][b] = a != b && self.rng.chance(50);
                    }
                }
                let cut = self.cut.clone();
                self.note(|| format!("partition {cut:?}"));
            }
            6 | 7 => {
                let base = self.nodes[node].settings[0].priority;
                let priority = match base {
                    255 => 255,
                    _ => self.rng.between(1, 254) as u8,
                };
                let fault = self.rng.chance(25);
                self.track(
                    node,
                    Effective {
                        priority,
                        fault,
                        pending: false,
                    },
                );
            }
            8 | 9 => self.reload(node),
            _ => {
                let time = match self.rng.below(3) {
                    0 => None,
                    n => Some(HOLD / (2 * n as u32)),
                };
                let input = match self.rng.below(5) {
                    0 | 1 => Input::Handover(time),
                    2 | 3 => Input::Hold(time),
                    _ => Input::Resume,
                };
                self.totals.commands += 1;
                self.command(node, &input);
            }
        }
    }

    /// Handover, hold or resume.
    pub(crate) fn command(&mut self, node: usize, input: &Input<'_>) {
        self.note(|| format!("h{node}: {input:?}"));
        let now = self.local(node);
        let n = &mut self.nodes[node];
        if n.daemon.is_some() {
            n.held_until = match input {
                Input::Handover(time) | Input::Hold(time) => Some(time.map_or(Duration::MAX, |time| now + time)),
                _ => None,
            };
        }
        self.input_all(node, input);
    }

    pub(crate) fn track(&mut self, node: usize, effective: Effective) {
        self.nodes[node].effective = effective;
        self.note(|| format!("h{node} tracks {effective:?}"));
        for member in 0..self.plan.members.len() {
            // One member of a group fails.
            let fault = effective.fault && member == 0;
            self.input(node, member, Input::Tracked(Effective { fault, ..effective }));
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.input_all(node, &Input::Stop);
        if self.nodes[node].daemon.take().is_some() && self.nodes[node].holds.contains(&true) {
            self.fail(format!("h{node} stopped and holds addresses"));
        }
    }

    /// SIGKILL; the unit's stop step follows, if the machine lives.
    fn crash(&mut self, node: usize, back_after: u64) {
        if self.nodes[node].daemon.is_none() {
            return;
        }
        self.totals.crashes += 1;
        let power = self.rng.chance(30);
        let leftover = !power && self.rng.chance(10);
        self.note(|| format!("h{node} crashes, power lost: {power}, stop step lost: {leftover}"));
        let n = &mut self.nodes[node];
        n.crashed = !power;
        n.stalled = false;
        n.queue.clear();
        if power {
            n.daemon = None;
            n.holds.fill(false);
        } else if leftover {
            n.daemon = None;
        } else {
            n.stalled = true;
            let at = self.now + self.rng.between(1_000_000, 40_000_000).min(back_after);
            self.push(at, Event::StopStep(node));
        }
        self.push(self.now + back_after + 1, Event::Start(node));
    }

    /// What ExecStopPost does: addresses off, then priority 0.
    pub(crate) fn stop_step(&mut self, node: usize) {
        let now = self.local(node);
        let n = &mut self.nodes[node];
        n.stalled = false;
        n.queue.clear();
        let Some(mut daemon) = n.daemon.take() else { return };
        self.note(|| format!("h{node}: stop step"));
        let out = daemon.handle_all(now, &Input::Stop);
        self.outputs(node, out);
        if self.nodes[node].holds.contains(&true) {
            self.fail(format!("h{node} crashed and holds addresses"));
        }
    }

    fn reload(&mut self, node: usize) {
        self.totals.reloads += 1;
        let members = self.plan.members.len();
        if members > 1
            && self.rng.chance(40)
            && let Some(daemon) = &mut self.nodes[node].daemon
        {
            self.totals.regroups += 1;
            let together = !daemon.together();
            daemon.regroup(together);
            self.note(|| format!("h{node} has its instances together: {together}"));
        }
        let grow = self.rng.chance(50);
        let preempt = self.rng.chance(30).then(|| self.rng.chance(50));
        let delay = self.rng.chance(10).then_some(PREEMPT_DELAY);
        // Who owns the addresses by its priority of 255 goes on to; the others may get another one.
        let base = self.nodes[node].settings[0].priority;
        let priority = (base != 255 && self.rng.chance(30)).then(|| self.rng.between(1, 254) as u8);
        for member in 0..members {
            let more = self.plan.vip(member, self.nodes[node].settings[member].vips.len());
            let interval = self
                .plan
                .intervals_differ
                .then(|| self.plan.interval(member, &mut self.rng));
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
        }
        if let Some(priority) = priority {
            self.nodes[node].effective.priority = priority;
        }
        self.note(|| format!("h{node} reloads, preempt {preempt:?} after {delay:?}, priority {priority:?}"));
        self.configure(node);
    }

    /// Tells the daemon the settings of its members.
    pub(crate) fn configure(&mut self, node: usize) {
        let effective = self.nodes[node].effective;
        for member in 0..self.plan.members.len() {
            let settings = Box::new(self.nodes[node].settings[member].clone());
            let fault = effective.fault && member == 0;
            self.input(
                node,
                member,
                Input::Configure(settings, Effective { fault, ..effective }),
            );
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
        for letter in std::mem::take(&mut n.queue) {
            self.deliver(node, letter);
        }
        self.input_all(node, &Input::Tick);
    }
}
