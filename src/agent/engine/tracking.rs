//! From everything tracked to effective priorities.

use super::drive::Engine;
use crate::agent::plan;
use crate::agent::track::checks::Standing;
use crate::keepalived::{Track, Tracks, Weight};
use crate::vrrp::track::{Effective, Tracked, effective};
use crate::vrrp::{Input, Time};

/// Everything that an instance tracks.
#[derive(Debug, Default)]
struct Findings {
    all: Vec<Tracked>,
    /// Something has not answered yet.
    pending: bool,
}

impl Findings {
    fn good(&mut self, weight: Weight) {
        self.push(weight, true);
    }

    fn failing(&mut self, weight: Weight) {
        self.push(weight, false);
    }

    fn push(&mut self, weight: Weight, good: bool) {
        self.all.push(Tracked {
            weight: weight.value.into(),
            reverse: weight.reverse,
            good,
        });
    }
}

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
        let mut findings = Findings::default();
        // In a sync group a weight would tear the members' priorities apart (keepalived: weights become 0).
        let weights = unit.sync.as_ref().is_none_or(|s| s.tracking_weight);
        self.tracked(&i.tracks, weights, &mut findings);
        if let Some(sync) = &unit.sync {
            self.tracked(&sync.tracks, weights, &mut findings);
            if sync.global_tracking {
                unit.members
                    .iter()
                    .for_each(|other| self.tracked(&other.instance.tracks, weights, &mut findings));
            }
        }
        // As in keepalived: where its addresses cannot be put on, it must not own them.
        for dev in plan::other_interfaces(i, &self.links) {
            findings.push(Weight::default(), self.debounce.running(&self.links, dev));
        }
        let mut e = effective(i.priority, findings.all);
        e.pending = findings.pending;
        let up = self.debounce.running(&self.links, &i.interface)
            || (i.dont_track_primary && self.links.named(&i.interface).is_some());
        // Who cannot hear an owner would take himself for one.
        e.fault |= !up || member.source.is_none() || !self.hears(i);
        e
    }

    fn tracked(&self, tracks: &Tracks, weights: bool, out: &mut Findings) {
        let counted = |weight: Weight| if weights { weight } else { Weight { value: 0, ..weight } };
        let own = |t: &Track, other: Option<Weight>| counted(t.weight.or(other).unwrap_or_default());
        for t in &tracks.scripts {
            let weight = own(t, self.config.script(&t.name).map(|s| s.weight));
            match self.checks.standing(&t.name) {
                Standing::Dropped => {}
                Standing::Good => out.good(weight),
                Standing::Failing => out.failing(weight),
                Standing::Unknown => out.pending = true,
                Standing::PresumedGood => {
                    out.good(weight);
                    out.pending = true;
                }
            }
        }
        for t in &tracks.processes {
            let rule = self.config.track_processes.iter().find(|p| p.name == t.name);
            out.push(own(t, rule.map(|p| p.weight)), self.processes.good(&t.name));
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
            let weighing = |value: i16| Weight { value, reverse: false };
            match (weight, clamped) {
                (0, _) => out.push(weighing(0), number == 0),
                (_, ..=-254) => out.failing(weighing(0)),
                (_, 0) => {}
                (_, sum) => out.push(weighing(sum), sum > 0),
            }
        }
        for t in &tracks.interfaces {
            out.push(own(t, None), self.debounce.running(&self.links, &t.name));
        }
    }
}
