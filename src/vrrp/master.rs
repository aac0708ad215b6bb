//! The owner's side: adverts, announcements, giving the addresses up.

use std::time::Duration;

use super::event::{Cause, Output, State};
use super::role::{Bid, Owner, Ownership, Role, Unsent};
use super::router::Router;
use super::settings::Settings;
use super::time::Time;

/// Between two announcements caused by lower adverts.
const LOWER_ANNOUNCE_GAP: Duration = Duration::from_secs(1);
/// Between two answers to adverts of lower priority: at most this, and at most a quarter of the interval. A flood of them must
/// not make the owner send as many.
const ANSWER_GAP: Duration = Duration::from_millis(100);

impl Ownership {
    pub(super) fn new(settings: &Settings, now: Time, bid: Bid) -> Ownership {
        let mut ownership = Ownership {
            advert_at: now + settings.interval(),
            announce_again: None,
            refresh_at: None,
            // A former owner that says farewell need not make us say it all again.
            lower_announced: now,
            answered: None,
            bid,
            unsent: Unsent::default(),
        };
        ownership.refresh_from(now, settings.garp.refresh);
        ownership
    }

    /// Every so often from now on; zero: not.
    pub(super) fn refresh_from(&mut self, now: Time, refresh: Duration) {
        self.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        let again = self.announce_again.map(|(at, _)| at);
        let raise = self.bid.raise.and_then(|raise| raise.until);
        [Some(self.advert_at), again, self.refresh_at, raise]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tells the neighbours so many times, and again after the delay; zero: not again.
    pub(super) fn announce(&mut self, now: Time, count: u32, delay: Duration, out: &mut Vec<Output>) {
        if count > 0 {
            out.push(Output::Announce { count });
            if !delay.is_zero() {
                self.announce_again = Some((now + delay, count));
            }
        }
    }
}

impl Router {
    /// The group decided. Only from Backup.
    pub(super) fn promote(&mut self, now: Time, out: &mut Vec<Output>) {
        let Role::Backup(standby) = &self.role else { return };
        let cause = standby.promotion_cause(&self.own, now);
        let ownership = Ownership::new(&self.own.settings, now, standby.bid);
        self.enter(now, Role::Master(ownership), cause, out);
        self.statistics.became_master += 1;
        // The advert goes first: a former owner drops the addresses before we have them, and if it cannot be sent, we do not
        // get them.
        self.send_now(now, out);
        out.push(Output::Acquire);
        self.tell_neighbours(now, out);
    }

    /// Another member of the group ceased to be owner.
    pub(super) fn demote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state() == State::Master {
            self.resign(now, Cause::Group, out);
        }
    }

    pub(super) fn send(&mut self, priority: u8, out: &mut Vec<Output>) {
        self.statistics.sent += 1;
        self.statistics.zero_sent += u64::from(priority == 0);
        if let Role::Master(ownership) = &mut self.role {
            ownership.unsent.sent += 1;
        }
        out.push(Output::Send {
            advert: self.own.settings.advert(priority),
            form: self.learned.unwrap_or(self.own.settings.form),
        });
    }

    /// Sends an advert at once; the next one is due an interval later.
    pub(super) fn send_now(&mut self, now: Time, out: &mut Vec<Output>) {
        self.send(self.announced(), out);
        if let Role::Master(ownership) = &mut self.role {
            ownership.advert_at = now + self.own.settings.interval();
        }
    }

    /// The neighbours must learn that the addresses are here.
    pub(super) fn tell_neighbours(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Role::Master(ownership) = &mut self.role {
            let garp = &self.own.settings.garp;
            ownership.announce(now, garp.repeat, garp.delay, out);
        }
    }

    pub(super) fn owner_tick(&mut self, now: Time, out: &mut Vec<Output>) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.role.raise().and_then(|raise| raise.until)) {
            self.end_raise(now, out);
        }
        let announced = self.announced();
        let Role::Master(ownership) = &mut self.role else {
            return;
        };
        let advert_is_due = ownership.advert_at <= now;
        while ownership.advert_at <= now {
            ownership.advert_at += self.own.settings.interval();
        }
        let again = ownership.announce_again.take_if(|(at, _)| *at <= now);
        let garp = &self.own.settings.garp;
        let refresh = due(ownership.refresh_at).then(|| {
            ownership.refresh_at = Some(now + garp.refresh);
            garp.refresh_repeat
        });
        if advert_is_due {
            self.send(announced, out);
        }
        let counts = again.map(|(_, count)| count).into_iter().chain(refresh);
        out.extend(counts.map(|count| Output::Announce { count }));
    }

    /// Takes the addresses off, then announces priority 0, so that another router may take them.
    pub(super) fn give_up(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Release);
        self.send(0, out);
    }

    /// Gives the addresses up and stays in election.
    pub(super) fn resign(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        self.give_up(out);
        self.fall_back(now, cause, None, out);
    }

    pub(super) fn as_master(&mut self, now: Time, sender: Owner, out: &mut Vec<Output>) {
        if sender.priority == 0 {
            // A router that waits for the other's end should hear that there is an owner.
            self.answer(now, out);
            return;
        }
        if (sender.priority, sender.src) > (self.announced(), self.own.settings.source) {
            if self.outbids(now, sender.priority, out) {
                return;
            }
            if self.own.settings.higher_prio_send_advert {
                self.send(self.announced(), out);
            }
            out.push(Output::Release);
            self.fall_back(now, Cause::Higher(sender.src), Some(sender), out);
            return;
        }
        if !self.own.settings.lower_prio_no_advert {
            self.answer(now, out);
        }
        let Role::Master(ownership) = &mut self.role else {
            return;
        };
        // The other one has told the neighbours that it owns the addresses.
        if now >= ownership.lower_announced + LOWER_ANNOUNCE_GAP {
            ownership.lower_announced = now;
            let garp = &self.own.settings.garp;
            ownership.announce(now, garp.lower_prio_repeat, garp.lower_prio_delay, out);
            out.push(Output::LowerHeard {
                src: sender.src,
                priority: sender.priority,
            });
        }
    }

    /// Says at once that there is an owner, but not as often as somebody asks for it.
    fn answer(&mut self, now: Time, out: &mut Vec<Output>) {
        let Role::Master(ownership) = &mut self.role else {
            return;
        };
        let gap = ANSWER_GAP.min(self.own.settings.interval() / 4);
        if ownership.answered.is_some_and(|at| now < at + gap) {
            return;
        }
        ownership.answered = Some(now);
        self.send_now(now, out);
    }

    /// An owner whom nobody can hear must not go on: the others elect somebody else, and both would answer. The first advert must
    /// go out; after that as many in a row may fail as the others wait for.
    pub(super) fn could_not_send(&mut self, now: Time, out: &mut Vec<Output>) {
        let Role::Master(ownership) = &mut self.role else {
            return;
        };
        let Unsent { sent, failed, in_a_row } = ownership.unsent;
        let in_a_row = if failed + 1 == sent { in_a_row + 1 } else { 1 };
        ownership.unsent = Unsent {
            sent,
            failed: sent,
            in_a_row,
        };
        if in_a_row == sent || in_a_row >= self.own.settings.down_adverts.into() {
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
