//! The standby's side: waiting for the owner's silence, its end, or its fall below us.

use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::event::{Cause, State};
use super::machine::Router;

#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) src: IpAddr,
    pub(super) priority: u8,
    pub(super) interval: Duration,
    pub(super) heard: Time,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Hold {
    Until(Time),
    Resume,
}

impl Router {
    pub(super) fn wait_for_silence(&mut self, from: Time) {
        self.down_at = Some(from + self.s.master_down(self.priority, self.owner_interval()));
        self.down_cause = Cause::Silence;
    }

    /// Version 3 follows the owner's interval (RFC 9568, 6.4.2), version 2 has its own.
    pub(super) fn owner_interval(&self) -> Duration {
        self.owner
            .filter(|_| self.s.version == 3)
            .map_or(self.s.interval(), |o| o.interval)
    }

    pub(super) fn held(&self, now: Time) -> bool {
        let commanded = match self.hold {
            Some(Hold::Until(time)) => now < time,
            Some(Hold::Resume) => true,
            None => false,
        };
        commanded || self.crash_hold.is_some_and(|until| now < until)
    }

    /// Does not take over from a living owner for so long; a takeover that is on its way ends.
    pub(super) fn hold_back(&mut self, now: Time, time: Option<Duration>) {
        self.hold = Some(time.map_or(Hold::Resume, |t| Hold::Until(now.saturating_add(t))));
        self.leave_it_to_the_owner(now);
    }

    /// Ends a takeover from an owner that lives, if one is on its way.
    pub(super) fn leave_it_to_the_owner(&mut self, now: Time) {
        if self.state != State::Backup {
            return;
        }
        if let Some(lower) = self.passed_over {
            self.follow(lower.heard, lower);
        } else if self.down_cause == Cause::Preempt {
            self.wants = false;
            self.wait_for_silence(self.owner.map_or(now, |o| o.heard));
        }
    }

    /// Whether a lower owner that is heard now may be replaced.
    pub(super) fn may_preempt(&mut self, now: Time) -> bool {
        if self.held(now) {
            self.lower_since = None;
            return false;
        }
        if self.priority == 255 {
            return true;
        }
        let since = *self.lower_since.get_or_insert(now);
        self.s.preempt && now >= since + self.s.preempt_delay
    }

    pub(super) fn as_backup(&mut self, now: Time, sender: Owner) {
        let current = self.owner;
        if sender.priority == 0 {
            // Only the owner's end matters: a loser of an election that stops says nothing about the winner.
            if current.is_none_or(|o| o.src == sender.src) && !self.wants {
                let takeover = now + self.s.skew(self.priority, self.owner_interval());
                // Said twice, or when the wait is nearly over, it does not make the wait longer.
                self.down_at = Some(self.down_at.map_or(takeover, |at| at.min(takeover)));
                self.down_cause = Cause::OwnerStopped;
                self.owner = None;
            }
            return;
        }
        if sender.priority >= self.priority {
            self.lower_since = None;
            return self.follow(now, sender);
        }
        // A better owner than us is alive: it will deal with the lower one. If it is not, the lower one may be the owner
        // by now, and who may not preempt must not take its own wait for the better one as a reason to.
        if current.is_some_and(|o| o.src != sender.src && o.priority >= self.priority) {
            let at_once = !self.held(now) && (self.priority == 255 || self.s.preempt && self.s.preempt_delay.is_zero());
            if at_once {
                self.passed_over = Some(sender);
            } else {
                self.follow(now, sender);
            }
            return;
        }
        if !self.may_preempt(now) {
            return self.follow(now, sender);
        }
        self.owner = Some(sender);
        // Whatever we waited for, now we take over from somebody who lives.
        self.down_cause = Cause::Preempt;
        if !self.wants {
            let takeover = now + self.s.skew(self.priority, self.owner_interval());
            self.down_at = Some(self.down_at.map_or(takeover, |at| at.min(takeover)));
        }
    }

    /// Waits until that owner, heard then, is silent.
    pub(super) fn follow(&mut self, heard: Time, owner: Owner) {
        self.owner = Some(owner);
        self.passed_over = None;
        self.wants = false;
        self.wait_for_silence(heard);
    }
}
