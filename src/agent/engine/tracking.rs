//! From everything tracked to effective priorities.

use super::Engine;
use crate::keepalived::{Track, Tracks, Weight};
use crate::vrrp::track::{Effective, Tracked, effective};
use crate::vrrp::{Input, Time};

impl Engine {
    /// Effective priorities from everything tracked.
    pub(super) fn retrack(&mut self, now: Time) {
        for u in 0..self.units.len() {
            for m in 0..self.units[u].members.len() {
                let effective = self.effective(u, m);
                if self.units[u].members[m].effective != effective {
                    self.units[u].members[m].effective = effective;
                    self.give(now, u, m, Input::Tracked(effective));
                }
            }
        }
        self.execute(now);
    }

    pub(super) fn effective(&self, u: usize, m: usize) -> Effective {
        let unit = &self.units[u];
        let member = &unit.members[m];
        let i = &member.instance;
        let mut all = Vec::new();
        // In a sync group a weight would tear the members' priorities apart (keepalived: weights become 0).
        let weights = unit.sync.as_ref().is_none_or(|s| s.tracking_weight);
        self.tracked(&i.tracks, weights, &mut all);
        if let Some(sync) = &unit.sync {
            self.tracked(&sync.tracks, weights, &mut all);
            if sync.global_tracking {
                unit.members
                    .iter()
                    .for_each(|other| self.tracked(&other.instance.tracks, weights, &mut all));
            }
        }
        let mut e = effective(i.priority, all);
        let up = self.debounce.running(&self.links, &i.interface)
            || (i.dont_track_primary && self.links.named(&i.interface).is_some());
        // Who cannot hear an owner would take himself for one.
        e.fault |= !up || member.source.is_none() || !self.hears(i);
        e
    }

    pub(super) fn tracked(&self, tracks: &Tracks, weights: bool, out: &mut Vec<Tracked>) {
        let mut push = |weight: Weight, good: bool| {
            let value = if weights { weight.value } else { 0 };
            out.push(Tracked {
                weight: value.into(),
                reverse: weight.reverse,
                good,
            });
        };
        let own = |t: &Track, other: Option<Weight>| t.weight.or(other).unwrap_or_default();
        for t in &tracks.scripts {
            push(
                own(t, self.config.script(&t.name).map(|s| s.weight)),
                self.checks.good(&t.name),
            );
        }
        for t in &tracks.processes {
            let rule = self.config.track_processes.iter().find(|p| p.name == t.name);
            push(own(t, rule.map(|p| p.weight)), self.processes.good(&t.name));
        }
        for t in &tracks.files {
            // Weight 0: a number other than 0 is a failure; else number times weight, below -253 a failure too.
            let Some((number, weight, reverse)) = self.files.value(&t.name) else {
                continue;
            };
            let (weight, reverse) = t.weight.map_or((weight, reverse), |w| (w.value.into(), w.reverse));
            let weight = if weights { weight } else { 0 };
            let sum = number.saturating_mul(if reverse { -weight } else { weight });
            let clamped = sum.clamp(-254, 254) as i16;
            match (weight, clamped) {
                (0, _) => push(
                    Weight {
                        value: 0,
                        reverse: false,
                    },
                    number == 0,
                ),
                (_, ..=-254) => push(
                    Weight {
                        value: 0,
                        reverse: false,
                    },
                    false,
                ),
                (_, 0) => {}
                (_, sum) => push(
                    Weight {
                        value: sum,
                        reverse: false,
                    },
                    sum > 0,
                ),
            }
        }
        for t in &tracks.interfaces {
            push(own(t, None), self.debounce.running(&self.links, &t.name));
        }
    }
}
