//! A takeover on command: a planned move does not wait for anybody's silence.

use std::time::Duration;

use super::event::{Cause, Output, State};
use super::role::{Bid, Outbid, Raise, Role, Wait};
use super::router::Router;
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
        match &self.role {
            Role::Stopped => Some(TakeoverRefusal::Stopped),
            Role::Fault { .. } => Some(TakeoverRefusal::Fault),
            Role::Master(_) => None,
            Role::Backup(_) if self.pending => Some(TakeoverRefusal::Pending),
            Role::Backup(standby) => {
                let unbeatable = standby.owners().any(|o| o.priority == 255);
                unbeatable.then_some(TakeoverRefusal::Unbeatable)
            }
        }
    }

    pub(super) fn take_over(&mut self, now: Time, time: Option<Duration>, out: &mut Vec<Output>) {
        if self.takeover_refusal().is_some() {
            return;
        }
        self.own.hold = None;
        self.own.crash_hold = None;
        let until = time.map(|t| now.saturating_add(t));
        let standby = match &mut self.role {
            Role::Stopped | Role::Fault { .. } => return,
            Role::Master(ownership) => {
                if let Some(raise) = &mut ownership.bid.raise {
                    raise.until = until;
                }
                return;
            }
            Role::Backup(standby) => standby,
        };
        let best = standby.owners().map(|o| (o.priority, o.src)).max();
        let raise = |(priority, _): (u8, _)| Raise {
            priority: priority.saturating_add(1),
            until,
        };
        standby.bid = Bid {
            raise: best
                .filter(|best| *best > (self.own.priority, self.own.settings.source))
                .map(raise),
            // A router that has just started may not have heard its owner: that one answers at once.
            outbid: best.is_none().then(|| Outbid {
                before: now + self.own.settings.interval(),
                until,
            }),
        };
        standby.cause = Cause::Takeover;
        standby.wait = Wait::ForGroup;
        if !self.grouped {
            self.promote(now, out);
        }
    }

    /// Outbids an owner that a takeover did not know of. Returns whether it did.
    pub(super) fn outbids(&mut self, now: Time, owner: u8, out: &mut Vec<Output>) -> bool {
        let Some(bid) = self.role.bid() else { return false };
        let Some(outbid) = bid.outbid.take().filter(|o| now <= o.before && owner < 255) else {
            return false;
        };
        bid.raise = Some(Raise {
            priority: owner + 1,
            until: outbid.until,
        });
        self.send_now(now, out);
        true
    }

    /// The priority that adverts carry while this router is owner.
    pub(super) fn announced(&self) -> u8 {
        self.role.raise().map_or(self.own.priority, |raise| raise.priority)
    }

    /// The owner returns to its own priority, and announces it at once: a better one takes over after its skew time.
    pub(super) fn end_raise(&mut self, now: Time, out: &mut Vec<Output>) {
        let ended = self.role.bid().and_then(|bid| bid.raise.take());
        if ended.is_some() && self.state() == State::Master {
            self.send_now(now, out);
        }
    }
}
