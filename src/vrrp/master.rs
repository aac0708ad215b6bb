//! The owner's side: adverts, announcements, giving the addresses up.

use std::time::Duration;

use super::event::{Cause, Output, State};
use super::router::Router;
use super::router_state::{Owner, Unsent};
use super::time::Time;

/// Between two announcements caused by lower adverts.
const LOWER_ANNOUNCE_GAP: Duration = Duration::from_secs(1);
/// Between two answers to adverts of lower priority: at most this, and at most a quarter of the interval. A flood of them must
/// not make the owner send as many.
const ANSWER_GAP: Duration = Duration::from_millis(100);

impl Router {
    /// The group decided. Only from Backup.
    pub(super) fn promote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state != State::Backup {
            return;
        }
        let cause = self.promotion_cause(now);
        self.wants = false;
        self.overdue = false;
        self.down_at = None;
        self.lower_since = None;
        self.owner = None;
        self.passed_over = None;
        self.unsent = Unsent::default();
        self.enter(now, State::Master, cause, out);
        self.statistics.became_master += 1;
        // The advert goes first: a former owner drops the addresses before we have them, and if it cannot be sent, we do not
        // get them.
        self.send(self.announced(), out);
        self.advert_at = now + self.settings.interval();
        out.push(Output::Acquire);
        self.announce(now, self.settings.garp.repeat, self.settings.garp.delay, out);
        // A former owner that says farewell need not make us say it all again.
        self.lower_announced = Some(now);
        let refresh = self.settings.garp.refresh;
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
        self.unsent.sent += 1;
        self.statistics.zero_sent += u64::from(priority == 0);
        out.push(Output::Send {
            advert: self.settings.advert(priority),
            form: self.learned.unwrap_or(self.settings.form),
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
            // A router that waits for the other's end should hear that there is an owner.
            self.answer(now, out);
            return;
        }
        if (sender.priority, sender.src) > (self.announced(), self.settings.source) {
            if self.outbids(now, sender.priority, out) {
                return;
            }
            if self.settings.higher_prio_send_advert {
                self.send(self.announced(), out);
            }
            out.push(Output::Release);
            self.fall_back(now, Cause::Higher(sender.src), Some(sender), out);
            return;
        }
        if !self.settings.lower_prio_no_advert {
            self.answer(now, out);
        }
        // The other one has told the neighbours that it owns the addresses.
        if self.lower_announced.is_none_or(|at| now >= at + LOWER_ANNOUNCE_GAP) {
            self.lower_announced = Some(now);
            self.announce(
                now,
                self.settings.garp.lower_prio_repeat,
                self.settings.garp.lower_prio_delay,
                out,
            );
            out.push(Output::LowerHeard {
                src: sender.src,
                priority: sender.priority,
            });
        }
    }

    /// Says at once that there is an owner, but not as often as somebody asks for it.
    fn answer(&mut self, now: Time, out: &mut Vec<Output>) {
        let gap = ANSWER_GAP.min(self.settings.interval() / 4);
        if self.answered.is_some_and(|at| now < at + gap) {
            return;
        }
        self.answered = Some(now);
        self.send(self.announced(), out);
        self.advert_at = now + self.settings.interval();
    }

    /// An owner whom nobody can hear must not go on: the others elect somebody else, and both would answer. The first advert must
    /// go out; after that as many in a row may fail as the others wait for.
    pub(super) fn could_not_send(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state != State::Master {
            return;
        }
        let Unsent { sent, failed, in_a_row } = self.unsent;
        let in_a_row = if failed + 1 == sent { in_a_row + 1 } else { 1 };
        self.unsent = Unsent {
            sent,
            failed: sent,
            in_a_row,
        };
        if in_a_row == sent || in_a_row >= self.settings.down_adverts.into() {
            out.push(Output::Release);
            self.fall_back(now, Cause::CannotSend, None, out);
            if in_a_row == sent {
                // It never was owner to anybody.
                self.statistics.became_master -= 1;
                self.statistics.left_master -= 1;
            }
        }
    }
}
