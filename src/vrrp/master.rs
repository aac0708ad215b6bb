//! The owner's side: adverts, announcements, giving the addresses up.

use std::time::Duration;

use super::Time;
use super::backup::Owner;
use super::event::{Cause, Output, State};
use super::machine::Router;

/// Between two announcements caused by lower adverts.
const LOWER_ANNOUNCE_GAP: Duration = Duration::from_secs(1);

impl Router {
    /// The group decided. Only from Backup.
    pub(super) fn promote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state != State::Backup {
            return;
        }
        self.wants = false;
        self.down_at = None;
        self.lower_since = None;
        self.owner = None;
        self.enter(now, State::Master, self.down_cause, out);
        self.statistics.became_master += 1;
        // The advert goes first: a former owner drops the addresses before we have them.
        self.send(self.priority, out);
        self.advert_at = now + self.s.interval();
        out.push(Output::Acquire);
        self.announce(now, self.s.garp.repeat, self.s.garp.delay, out);
        // A former owner that says farewell need not make us say it all again.
        self.lower_announced = Some(now);
        let refresh = self.s.garp.refresh;
        self.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
    }

    /// Another member of the group ceased to be owner.
    pub(super) fn demote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Master {
            self.resign(now, Cause::Group, out);
        }
    }

    pub(super) fn send(&mut self, priority: u8, out: &mut Vec<Output>) {
        self.statistics.sent += 1;
        self.statistics.zero_sent += u64::from(priority == 0);
        out.push(Output::Send {
            advert: self.s.advert(priority),
            form: self.form,
        });
    }

    pub(super) fn announce(&mut self, now: Time, count: u32, delay: Duration, out: &mut Vec<Output>) {
        if count > 0 {
            out.push(Output::Announce { count });
            if !delay.is_zero() {
                self.announce_again = Some((now + delay, count));
            }
        }
    }

    /// Gives the addresses up: first off, then the word that the others may have them.
    pub(super) fn resign(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        out.push(Output::Release);
        self.send(0, out);
        self.fall_back(now, cause, None, out);
    }

    pub(super) fn as_master(&mut self, now: Time, sender: Owner, out: &mut Vec<Output>) {
        if sender.priority == 0 {
            // Whoever waits for the other's end should hear that there is an owner.
            self.send(self.priority, out);
            self.advert_at = now + self.s.interval();
            return;
        }
        if (sender.priority, sender.src) > (self.priority, self.s.source) {
            if self.s.higher_prio_send_advert {
                self.send(self.priority, out);
            }
            out.push(Output::Release);
            self.fall_back(now, Cause::Higher(sender.src), Some(sender), out);
            return;
        }
        if !self.s.lower_prio_no_advert {
            self.send(self.priority, out);
            self.advert_at = now + self.s.interval();
        }
        // The other one has told the neighbours that it owns the addresses.
        if self.lower_announced.is_none_or(|at| now >= at + LOWER_ANNOUNCE_GAP) {
            self.lower_announced = Some(now);
            self.announce(now, self.s.garp.lower_prio_repeat, self.s.garp.lower_prio_delay, out);
            out.push(Output::LowerHeard {
                src: sender.src,
                priority: sender.priority,
            });
        }
    }
}
