//! `auth_hmac`: runs in which every advert is signed, real clocks are wrong, and keys are changed on the living pair.

use std::sync::Arc;
use std::time::Duration;

use hapair::vrrp::Input;
use hapair::vrrp::hmac::{AntiReplay, AuthHmac, Key, Mode};

use super::rng::Rng;
use super::world::{Event, World, ns};

/// Seconds since 1970 at the start of a run.
const START: u64 = 1_790_000_000;

pub(crate) fn key(id: u8) -> Key {
    Key::new(id, &[id; 32]).unwrap()
}

/// What all hosts of a run have in common at its start.
pub(crate) fn auth(rng: &mut Rng) -> AuthHmac {
    let window = rng.between(2, 6) as u16;
    AuthHmac {
        keys: vec![key(1)],
        active: 1,
        mode: if rng.chance(80) {
            Mode::Enforce
        } else {
            Mode::Permissive
        },
        anti_replay: match rng.chance(80) {
            true => AntiReplay::Time { window },
            false => AntiReplay::Monotonic,
        },
    }
}

/// By how much a host's real clock may be wrong so that nobody minds, in ns.
pub(crate) fn tolerated(auth: &AuthHmac, rng: &mut Rng) -> i64 {
    let most = match auth.anti_replay {
        // Two of them differ by half of it at most: nobody has anything to tell.
        AntiReplay::Time { window } => i64::from(window) * 250_000_000,
        AntiReplay::Monotonic => 1_000_000_000_000,
    };
    rng.below(2 * most as u64) as i64 - most
}

impl World {
    /// The real time on a host, since 1970.
    pub(crate) fn real(&self, node: usize) -> Duration {
        let wrong = self.nodes[node].clock;
        Duration::from_secs(START) + Duration::from_nanos((self.now as i64 + (1 << 42) + wrong) as u64)
    }

    /// Seconds in which a stamp counts; `None`: clocks may differ.
    pub(crate) fn window(&self) -> Option<u64> {
        match self.plan.hmac.as_ref()?.anti_replay {
            AntiReplay::Time { window } => Some(window.into()),
            AntiReplay::Monotonic => None,
        }
    }

    /// A clock is far off for a while: so far that nobody else believes it, and one at a time. A stamp that was believed and is
    /// set back by more than the window is not believed again for a window's time: that much two owners are possible then,
    /// after the clock has been told of.
    pub(crate) fn wrong_clock(&mut self, node: usize, back_after: u64, rng: &mut Rng) {
        let Some(window) = self.window() else { return };
        let off = rng.between(2 * window + 2, 6 * window + 2) as i64 * 1_000_000_000;
        if self
            .nodes
            .iter()
            .any(|n| n.clock.unsigned_abs() > window * 1_000_000_000)
        {
            return;
        }
        let off = if rng.chance(50) { off } else { -off };
        let right = self.nodes[node].right_clock;
        self.set_clock(node, off);
        self.push(self.now + back_after, Event::Clock { node, clock: right });
        self.totals.clocks += 1;
    }

    pub(crate) fn set_clock(&mut self, node: usize, clock: i64) {
        self.note(|| format!("h{node}: its real clock is off by {clock} ns"));
        self.nodes[node].clock = clock;
    }

    /// One step of a change of keys on one host: the new key is known, is signed with, is the only one.
    pub(crate) fn rotate(&mut self, node: usize, step: u8) {
        for s in &mut self.nodes[node].settings {
            let Some(old) = &s.auth_hmac else { return };
            let mut auth = AuthHmac::clone(old);
            // From whatever is signed with to the next id.
            let (from, to) = match step {
                0 => (auth.active, auth.active % 200 + 1),
                _ => (auth.keys[0].id(), auth.keys[auth.keys.len() - 1].id()),
            };
            match step {
                0 => auth.keys = vec![key(from), key(to)],
                1 => auth.active = to,
                _ => (auth.keys, auth.active) = (vec![key(to)], to),
            }
            s.auth_hmac = Some(Arc::new(auth));
        }
        self.note(|| format!("h{node}: keys, step {step}"));
        self.configure(node);
    }

    /// The whole change of keys: every step on all hosts, one after the other, before the next one. Returns how long it takes.
    pub(crate) fn rotate_all(&mut self, rng: &mut Rng) -> u64 {
        let pause = 2 * ns(self.interval);
        for step in 0..3u8 {
            for node in 0..self.nodes.len() {
                let at = self.now + u64::from(step) * pause + rng.below(pause - 2 * self.max_delay);
                self.push(at, Event::Rotate { node, step });
            }
        }
        self.totals.rotations += 1;
        3 * pause
    }

    /// All hosts have the same keys and clocks that nobody minds, as whoever repairs a network sees to.
    pub(crate) fn repair_hmac(&mut self) {
        let Some(auth) = self.plan.hmac.clone() else { return };
        for node in 0..self.nodes.len() {
            self.nodes[node].clock = self.nodes[node].right_clock;
            for s in &mut self.nodes[node].settings {
                s.auth_hmac = Some(auth.clone());
            }
            self.configure(node);
        }
    }

    /// The owner's clock goes off far enough to be told of, and not so far that it harms.
    pub(crate) fn clock_goes_off(&mut self, owner: usize) {
        let Some(window) = self.window() else { return };
        for node in 0..self.nodes.len() {
            let clock = if node == owner { window as i64 * 700_000_000 } else { 0 };
            self.set_clock(node, clock);
        }
        self.totals.clocks += 1;
        self.totals.finales += 1;
        // Neither a second owner nor a time without.
        (self.oracle.gap, self.oracle.double) = (0, Some(0));
        self.push(self.now + self.bound(), Event::Told(owner));
    }

    pub(crate) fn judge_the_clocks(&mut self, owner: usize) {
        let silent = (0..self.nodes.len()).find(|n| {
            let node = &self.nodes[*n];
            *n != owner && node.in_election() && !node.clock_told
        });
        if let Some(silent) = silent {
            self.fail(format!(
                "h{silent} does not tell that h{owner}'s clock is nearly outside the window"
            ));
        }
    }

    /// Whoever is about to hand a packet to a daemon says what time it is.
    pub(crate) fn tell_time(&mut self, node: usize) {
        if self.plan.hmac.is_some() {
            let (now, real) = (self.local(node), self.real(node));
            if let Some(daemon) = &mut self.nodes[node].daemon {
                daemon.set_real_time(now, real);
            }
        }
    }

    /// Stops what runs, and leaves nothing of it.
    pub(crate) fn end(&mut self, node: usize) {
        self.input_all(node, &Input::Stop);
        self.nodes[node].daemon = None;
    }
}
