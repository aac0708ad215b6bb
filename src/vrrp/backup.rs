//! The standby's side: waiting for the owner's silence, its end, or its fall below us.

use std::net::IpAddr;
use std::time::Duration;

use super::candidate::Candidate;
use super::event::Cause;
use super::role::{Bid, Owner, Standby, Wait};
use super::settings::Settings;
use super::time::Time;

impl Standby {
    /// Waits for the silence of that owner, heard now, or of one that is not known.
    pub(super) fn new(own: &Candidate, now: Time, owner: Option<Owner>) -> Standby {
        let mut standby = Standby {
            wait: Wait::Until(now),
            cause: Cause::Silence,
            owner,
            better: None,
            passed_over: None,
            lower_since: None,
            bid: Bid::default(),
        };
        standby.wait_for_silence(own, now);
        standby
    }

    /// Until the owner, and a better one that was heard with it, are silent; where none is known, from `now` on.
    fn wait_for_silence(&mut self, own: &Candidate, now: Time) {
        let silent = |o: Owner| o.heard + own.master_down(own.interval_of(&o));
        let last = self.owner.into_iter().chain(self.better).map(silent).max();
        self.wait = Wait::Until(last.unwrap_or(now + own.master_down(self.owner_interval(own))));
        self.cause = Cause::Silence;
    }

    /// When the wait is over; `None`: it is over already, and the checks or the group are missing.
    pub(super) fn until(&self) -> Option<Time> {
        match self.wait {
            Wait::Until(at) => Some(at),
            Wait::ForChecks | Wait::ForGroup => None,
        }
    }

    fn owner_interval(&self, own: &Candidate) -> Duration {
        let known = self.known_owner();
        known.map_or(own.settings.interval(), |o| own.interval_of(&o))
    }

    /// Ends a takeover from a lower owner that lives, if one is on its way.
    pub(super) fn leave_it_to_the_owner(&mut self, own: &Candidate) {
        if let Some(lower) = self.passed_over {
            self.follow(own, lower, self.better);
        }
    }

    /// Whether a lower owner that is heard now may be replaced.
    fn may_preempt(&mut self, own: &Candidate, now: Time) -> bool {
        if own.held(now) {
            self.lower_since = None;
            return false;
        }
        if own.priority == 255 {
            return true;
        }
        let since = *self.lower_since.get_or_insert(now);
        own.settings.preempt && now >= since + own.settings.preempt_delay
    }

    /// An advert that counts.
    pub(super) fn hear(&mut self, own: &Candidate, now: Time, sender: Owner) {
        if sender.priority == 0 {
            return self.owner_stops(own, now, sender.src);
        }
        self.better.take_if(|o| o.src == sender.src);
        if sender.priority >= own.priority {
            self.lower_since = None;
            return self.hear_owner(own, now, sender);
        }
        if !self.may_preempt(own, now) {
            return self.hear_owner(own, now, sender);
        }
        // The wait goes on as it is: three adverts and the skew time since this router came, or since somebody better was heard
        // last. It damps a host whose link or check comes and goes; each time it came back sooner, the VIP would move.
        self.passed_over = Some(sender);
        let fell = self
            .owner
            .is_some_and(|o| o.src == sender.src && o.priority >= own.priority);
        if fell && !self.follow_the_better(own, now) {
            // We were here all the time, and the owner itself says that it is worse now: nothing to wait for.
            self.owner = None;
            self.take_over_after_skew(own, now, Cause::Preempt);
        }
    }

    /// Whom this router leaves the addresses to. The last adverts of an owner that yields come after the first one of the better
    /// owner that it yields to; its interval may be a shorter one, but the wait for the better owner stays as long as it is.
    fn hear_owner(&mut self, own: &Candidate, now: Time, sender: Owner) {
        let rank = |o: &Owner| (o.priority, o.src);
        let others = self.owner.into_iter().chain(self.better);
        let better = others
            .filter(|o| o.src != sender.src && rank(o) > rank(&sender) && own.takes_for_alive(o, now))
            .max_by_key(rank);
        self.follow(own, sender, better);
    }

    /// The owner is gone. If a better one lives, the router waits for the silence of that one; returns whether it does.
    fn follow_the_better(&mut self, own: &Candidate, now: Time) -> bool {
        let better = self.better.take().filter(|o| own.takes_for_alive(o, now));
        if let Some(better) = better {
            self.follow(own, better, None);
        }
        better.is_some()
    }

    /// Priority 0 was heard. Only the owner's end matters: a loser of an election that stops says nothing about the winner.
    fn owner_stops(&mut self, own: &Candidate, now: Time, src: IpAddr) {
        if let Some(better) = self.better.take_if(|o| o.src == src) {
            // The owner may live: not before it is silent. It may have ended unheard: then after the skew time.
            let skew = now + own.skew(own.interval_of(&better));
            self.wait_for_silence(own, now);
            if let Wait::Until(at) = &mut self.wait {
                *at = skew.max(*at);
            }
            return;
        }
        if self.owner.is_some_and(|o| o.src == src) && self.follow_the_better(own, now) {
            return;
        }
        let ends = self.known_owner().is_none_or(|o| o.src == src);
        if self.passed_over.is_some_and(|o| o.src == src) {
            self.passed_over = None;
        }
        if ends && self.until().is_some() {
            self.take_over_after_skew(own, now, Cause::OwnerStopped);
            self.owner = None;
        }
    }

    /// Said twice, or when the wait is nearly over, it does not make the wait longer.
    fn take_over_after_skew(&mut self, own: &Candidate, now: Time, cause: Cause) {
        let takeover = now + own.skew(self.owner_interval(own));
        if let Wait::Until(at) = &mut self.wait {
            *at = takeover.min(*at);
        }
        self.cause = cause;
    }

    /// The effective priority was another one until now.
    pub(super) fn priority_changed(&mut self, own: &Candidate, from: u8) {
        let interval = self.owner_interval(own);
        if self.passed_over.is_some_and(|o| o.priority >= own.priority) {
            self.leave_it_to_the_owner(own);
        } else if let Wait::Until(at) = &mut self.wait {
            *at = (*at + own.skew(interval)).saturating_sub(own.settings.skew(from, interval));
        }
    }

    /// The settings were other ones until now.
    pub(super) fn settings_changed(&mut self, own: &Candidate, now: Time, old: &Settings) {
        let timers = |s: &Settings| (s.interval(), s.down_adverts);
        let waits_for_silence = self.cause == Cause::Silence && self.until().is_some();
        if timers(old) != timers(&own.settings) && waits_for_silence {
            self.wait_for_silence(own, now);
        }
    }

    /// Why the router becomes owner now that its wait is over.
    pub(super) fn promotion_cause(&self, own: &Candidate, now: Time) -> Cause {
        match self.passed_over {
            Some(lower) if self.cause == Cause::Silence && own.takes_for_alive(&lower, now) => Cause::Preempt,
            _ => self.cause,
        }
    }

    /// Waits until that owner, and a better one, are silent.
    fn follow(&mut self, own: &Candidate, owner: Owner, better: Option<Owner>) {
        (self.owner, self.better, self.passed_over) = (Some(owner), better, None);
        // A takeover that its group did not join is over.
        self.bid = Bid::default();
        self.wait_for_silence(own, owner.heard);
    }
}
