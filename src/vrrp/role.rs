//! What a router remembers from one input to the next in each state, and forgets when it leaves that state.

use std::net::IpAddr;
use std::time::Duration;

use super::event::{Cause, State};
use super::time::Time;

/// The state, with what only that state needs.
#[derive(Debug, Clone)]
pub(super) enum Role {
    Stopped,
    Fault {
        /// Heard last before the fault. Only people are told of it: in FAULT nobody is listened to.
        owner: Option<Owner>,
    },
    Backup(Standby),
    Master(Ownership),
}

impl Role {
    pub(super) fn state(&self) -> State {
        match self {
            Role::Stopped => State::Stopped,
            Role::Fault { .. } => State::Fault,
            Role::Backup(_) => State::Backup,
            Role::Master(_) => State::Master,
        }
    }

    pub(super) fn known_owner(&self) -> Option<Owner> {
        match self {
            Role::Stopped | Role::Master(_) => None,
            Role::Fault { owner } => *owner,
            Role::Backup(standby) => standby.known_owner(),
        }
    }

    /// What a takeover on command announces instead of the effective priority.
    pub(super) fn raise(&self) -> Option<Raise> {
        match self {
            Role::Stopped | Role::Fault { .. } => None,
            Role::Backup(Standby { bid, .. }) | Role::Master(Ownership { bid, .. }) => bid.raise,
        }
    }

    /// Where a standby and an owner keep a takeover on command.
    pub(super) fn bid(&mut self) -> Option<&mut Bid> {
        match self {
            Role::Stopped | Role::Fault { .. } => None,
            Role::Backup(Standby { bid, .. }) | Role::Master(Ownership { bid, .. }) => Some(bid),
        }
    }
}

/// In election, and not owner.
#[derive(Debug, Clone)]
pub(super) struct Standby {
    pub(super) wait: Wait,
    /// Why it becomes owner when the wait is over.
    pub(super) cause: Cause,
    /// The owner that it leaves the addresses to.
    pub(super) owner: Option<Owner>,
    /// A better owner that was alive when `owner` was heard. An owner that yields may still send adverts after the first one of
    /// the better owner.
    pub(super) better: Option<Owner>,
    /// A lower owner that lives, and that this router replaces when its wait is over.
    pub(super) passed_over: Option<Owner>,
    /// Preempt delay: since when a lower owner is known.
    pub(super) lower_since: Option<Time>,
    /// Of a takeover that waits for the rest of its group.
    pub(super) bid: Bid,
}

impl Standby {
    /// The owner that was heard last: the one that the wait is for, else a lower one that this router is about to replace.
    pub(super) fn known_owner(&self) -> Option<Owner> {
        self.owner.or(self.passed_over)
    }

    /// Every owner that may live: the one that it waits for, a better one, and a lower one that it replaces.
    pub(super) fn owners(&self) -> impl Iterator<Item = Owner> {
        [self.owner, self.better, self.passed_over].into_iter().flatten()
    }
}

/// What a standby waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wait {
    /// The owner's silence, or the skew time.
    Until(Time),
    /// The wait is over; it becomes owner, or waits for its group, when its checks have answered.
    ForChecks,
    /// The wait is over; it becomes owner when its group does.
    ForGroup,
}

/// Owns the addresses.
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    /// When the next advert is due, by the clock and not by when the last one really went.
    pub(super) advert_at: Time,
    pub(super) announce_again: Option<(Time, u32)>,
    pub(super) refresh_at: Option<Time>,
    /// When it told the neighbours last because somebody else may have told them another thing.
    pub(super) lower_announced: Time,
    /// When an advert of lower priority, or of priority 0, was answered last.
    pub(super) answered: Option<Time>,
    pub(super) bid: Bid,
    pub(super) unsent: Unsent,
}

/// Another router that announces that it owns the addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) src: IpAddr,
    pub(super) priority: u8,
    pub(super) interval: Duration,
    pub(super) heard: Time,
}

/// A takeover on command.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bid {
    pub(super) raise: Option<Raise>,
    /// Set where the takeover came before any owner was heard.
    pub(super) outbid: Option<Outbid>,
}

/// A priority that is announced instead of the effective one, so that the former owner does not take the addresses back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raise {
    pub(super) priority: u8,
    /// `None`: until it is ended.
    pub(super) until: Option<Time>,
}

/// A takeover before any owner was heard: an owner that answers it is outbid, once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outbid {
    /// After this, an owner that is heard is a new one, not one that was merely not heard yet.
    pub(super) before: Time,
    /// When the raised priority ends; `None`: until it is ended.
    pub(super) until: Option<Time>,
}

/// Adverts of an owner that could not be sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unsent {
    /// Adverts since it became owner.
    pub(super) sent: u64,
    /// Which of them failed last.
    pub(super) failed: u64,
    /// How many failed one after the other up to that one.
    pub(super) in_a_row: u64,
}
