//! What a router brings into its election, whatever its state.

use std::time::Duration;

use super::role::Owner;
use super::settings::Settings;
use super::time::Time;

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) settings: Settings,
    /// The effective priority: that of the settings, changed by what is tracked.
    pub(super) priority: u8,
    /// On command: no takeover from an owner that lives.
    pub(super) hold: Option<Hold>,
    /// After a crash: no takeover from an owner that lives, until then.
    pub(super) crash_hold: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Hold {
    Until(Time),
    UntilResume,
}

impl Candidate {
    pub(super) fn new(settings: Settings) -> Candidate {
        Candidate {
            priority: settings.priority,
            hold: None,
            crash_hold: None,
            settings,
        }
    }

    pub(super) fn held(&self, now: Time) -> bool {
        let commanded = match self.hold {
            Some(Hold::Until(time)) => now < time,
            Some(Hold::UntilResume) => true,
            None => false,
        };
        commanded || self.crash_hold.is_some_and(|until| now < until)
    }

    /// How long it waits longer than the highest priority would.
    pub(super) fn skew(&self, owner_interval: Duration) -> Duration {
        self.settings.skew(self.priority, owner_interval)
    }

    /// Version 3 follows the owner's interval (RFC 9568, 6.4.2), version 2 has its own.
    pub(super) fn interval_of(&self, owner: &Owner) -> Duration {
        match self.settings.version {
            3 => owner.interval,
            _ => self.settings.interval(),
        }
    }

    /// Whether the owner was heard within as many of its intervals as adverts may be missing (`down_adverts`).
    pub(super) fn takes_for_alive(&self, owner: &Owner, now: Time) -> bool {
        now <= owner.heard + owner.interval * u32::from(self.settings.down_adverts)
    }

    /// How long an owner may be silent.
    pub(super) fn master_down(&self, owner_interval: Duration) -> Duration {
        self.settings.master_down(self.priority, owner_interval)
    }
}
