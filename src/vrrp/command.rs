//! A takeover on command: a planned move does not wait for anybody's silence.

use std::time::Duration;

use super::event::{Cause, Output, State};
use super::router::Router;
use super::router_state::{Outbid, Raise};
use super::time::Time;

/// Why a router does not take over on command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeoverRefusal {
    /// It does not run.
    #[error("the instance is stopped")]
    Stopped,
    /// Something that it tracks fails.
    #[error("the instance is in FAULT: something that it tracks fails")]
    Fault,
    /// A check has not answered yet.
    #[error("a check has not answered yet; try again once it has")]
    Pending,
    /// The owner has priority 255.
    #[error("the owner's priority is 255, and there is none above it")]
    Unbeatable,
}

impl Router {
    /// Why [`Input::Takeover`](super::Input::Takeover) would do nothing; `None`: the router becomes, or is, owner.
    pub fn takeover_refusal(&self) -> Option<TakeoverRefusal> {
        match self.state {
            State::Stopped => Some(TakeoverRefusal::Stopped),
            State::Fault => Some(TakeoverRefusal::Fault),
            State::Master => None,
            State::Backup if self.pending => Some(TakeoverRefusal::Pending),
            State::Backup => {
                let unbeatable = self.known_owner().is_some_and(|o| o.priority == 255);
                unbeatable.then_some(TakeoverRefusal::Unbeatable)
            }
        }
    }

    pub(super) fn take_over(&mut self, now: Time, time: Option<Duration>, out: &mut Vec<Output>) {
        if self.takeover_refusal().is_some() {
            return;
        }
        self.hold = None;
        self.crash_hold = None;
        let until = time.map(|t| now.saturating_add(t));
        if self.state == State::Master {
            if let Some(raise) = &mut self.raise {
                raise.until = until;
            }
            return;
        }
        let all = [self.owner, self.passed_over].into_iter().flatten();
        let best = all.map(|o| (o.priority, o.src)).max();
        self.raise = best
            .filter(|best| *best > (self.priority, self.settings.source))
            .map(|(priority, _)| Raise {
                priority: priority.saturating_add(1),
                until,
            });
        // A router that has just started may not have heard its owner: that one answers at once.
        self.outbid = best.is_none().then(|| Outbid {
            before: now + self.settings.interval(),
            until,
        });
        self.down_cause = Cause::Takeover;
        self.down_at = None;
        if self.grouped {
            self.wants = true;
        } else {
            self.promote(now, out);
        }
    }

    /// Outbids an owner that a takeover did not know of. Returns whether it did.
    pub(super) fn outbids(&mut self, now: Time, owner: u8, out: &mut Vec<Output>) -> bool {
        let Some(outbid) = self.outbid.take().filter(|o| now <= o.before && owner < 255) else {
            return false;
        };
        self.raise = Some(Raise {
            priority: owner + 1,
            until: outbid.until,
        });
        self.send(self.announced(), out);
        self.advert_at = now + self.settings.interval();
        true
    }

    /// The priority that adverts carry while this router is owner.
    pub(super) fn announced(&self) -> u8 {
        self.raise.map_or(self.priority, |raise| raise.priority)
    }

    /// The owner returns to its own priority, and announces it at once: a better one takes over after its skew time.
    pub(super) fn end_raise(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.raise.take().is_some() && self.state == State::Master {
            self.send(self.priority, out);
            self.advert_at = now + self.settings.interval();
        }
    }
}
