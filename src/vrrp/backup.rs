//! The standby's side: waiting for the owner's silence, its end, or its fall below us.

use std::net::IpAddr;
use std::time::Duration;

use super::event::{Cause, State};
use super::router::Router;
use super::router_state::{Hold, Owner};
use super::time::Time;

impl Router {
    pub(super) fn wait_for_silence(&mut self, from: Time) {
        self.down_at = Some(from + self.settings.master_down(self.priority, self.owner_interval()));
        self.down_cause = Cause::Silence;
        self.overdue = false;
    }

    /// The owner that was heard last: the one that the wait is for, else a lower one that this router is about to replace.
    pub(super) fn known_owner(&self) -> Option<Owner> {
        self.owner.or(self.passed_over)
    }

    /// Version 3 follows the owner's interval (RFC 9568, 6.4.2), version 2 has its own.
    pub(super) fn owner_interval(&self) -> Duration {
        self.known_owner()
            .filter(|_| self.settings.version == 3)
            .map_or(self.settings.interval(), |o| o.interval)
    }

    pub(super) fn held(&self, now: Time) -> bool {
        let commanded = match self.hold {
            Some(Hold::Until(time)) => now < time,
            Some(Hold::Resume) => true,
            None => false,
        };
        commanded || self.crash_hold.is_some_and(|until| now < until)
    }

    /// Does not take over from a living owner for this long; a takeover that is on its way ends.
    pub(super) fn hold_back(&mut self, now: Time, time: Option<Duration>) {
        self.hold = Some(time.map_or(Hold::Resume, |t| Hold::Until(now.saturating_add(t))));
        self.outbid = None;
        self.leave_it_to_the_owner();
    }

    /// Ends a takeover from a lower owner that lives, if one is on its way.
    pub(super) fn leave_it_to_the_owner(&mut self) {
        if self.state == State::Backup
            && let Some(lower) = self.passed_over
        {
            self.follow(lower.heard, lower);
        }
    }

    /// Whether a lower owner that is heard now may be replaced.
    fn may_preempt(&mut self, now: Time) -> bool {
        if self.held(now) {
            self.lower_since = None;
            return false;
        }
        if self.priority == 255 {
            return true;
        }
        let since = *self.lower_since.get_or_insert(now);
        self.settings.preempt && now >= since + self.settings.preempt_delay
    }

    pub(super) fn as_backup(&mut self, now: Time, sender: Owner) {
        if sender.priority == 0 {
            return self.owner_stops(now, sender.src);
        }
        if sender.priority >= self.priority {
            self.lower_since = None;
            return self.hear_owner(now, sender);
        }
        if !self.may_preempt(now) {
            return self.hear_owner(now, sender);
        }
        // The wait goes on as it is: three adverts and the skew time since this router came, or since somebody better was heard
        // last. It damps a host whose link or check comes and goes; each time it came back sooner, the VIP would move.
        self.passed_over = Some(sender);
        let fell = self
            .owner
            .is_some_and(|o| o.src == sender.src && o.priority >= self.priority);
        if fell {
            // We were here all the time, and the owner itself says that it is worse now: nothing to wait for.
            self.owner = None;
            self.take_over_after_skew(now, Cause::Preempt);
        }
    }

    /// Whom this router leaves the addresses to. An owner that yields sends a last advert, which comes after the first one of the
    /// better owner that it yields to; its interval may be a shorter one, but the wait for the better owner stays as long as it is.
    fn hear_owner(&mut self, now: Time, sender: Owner) {
        let better = |o: &Owner| o.src != sender.src && (o.priority, o.src) > (sender.priority, sender.src);
        let before = self.owner.filter(better).and(self.down_at);
        self.follow(now, sender);
        self.down_at = self.down_at.max(before);
    }

    /// Priority 0 was heard. Only the owner's end matters: a loser of an election that stops says nothing about the winner.
    fn owner_stops(&mut self, now: Time, src: IpAddr) {
        let ends = self.known_owner().is_none_or(|o| o.src == src);
        if self.passed_over.is_some_and(|o| o.src == src) {
            self.passed_over = None;
        }
        if ends && !self.wants && !self.overdue {
            self.take_over_after_skew(now, Cause::OwnerStopped);
            self.owner = None;
        }
    }

    /// Said twice, or when the wait is nearly over, it does not make the wait longer.
    fn take_over_after_skew(&mut self, now: Time, cause: Cause) {
        let takeover = now + self.settings.skew(self.priority, self.owner_interval());
        if !self.wants && !self.overdue {
            self.down_at = Some(self.down_at.map_or(takeover, |at| at.min(takeover)));
        }
        self.down_cause = cause;
    }

    /// Why the router becomes owner now that its wait is over.
    pub(super) fn promotion_cause(&self, now: Time) -> Cause {
        let patience = |o: &Owner| o.interval * u32::from(self.settings.down_adverts);
        match self.passed_over {
            Some(lower) if self.down_cause == Cause::Silence && now <= lower.heard + patience(&lower) => Cause::Preempt,
            _ => self.down_cause,
        }
    }

    /// Waits until that owner, heard then, is silent.
    pub(super) fn follow(&mut self, heard: Time, owner: Owner) {
        self.owner = Some(owner);
        self.passed_over = None;
        self.wants = false;
        // A takeover that its group did not join is over.
        self.raise = None;
        self.wait_for_silence(heard);
    }
}
