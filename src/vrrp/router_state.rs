//! What a router remembers from one input to the next.

use std::net::IpAddr;
use std::time::Duration;

use super::time::Time;

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
