//! Units: an instance by itself, or those of a sync group.

use std::net::IpAddr;
use std::sync::Arc;

use crate::keepalived::{Family, Instance, SyncGroup};
use crate::vrrp::track::Effective;
use crate::vrrp::{Group, State, Time};

pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) effective: Effective,
    /// The source address that the settings were made with.
    pub(super) source: Option<IpAddr>,
    pub(super) started: bool,
}

/// A sync group, or an instance alone.
pub(super) struct Unit {
    pub(super) group: Group,
    pub(super) members: Vec<Member>,
    pub(super) sync: Option<Box<SyncGroup>>,
    pub(super) told: Option<State>,
    pub(super) clock: Clock,
}

impl Unit {
    /// Owns its addresses.
    pub(super) fn is_owner(&self) -> bool {
        self.group.routers().iter().all(|r| r.state() == State::Master)
    }
}

/// Latest time seen by a unit. Keeps its input monotonic: packets carry the time of their arrival, which may precede the last
/// tick, and an advert may be sent together with others that are due a little earlier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock(pub(super) Time);

impl Clock {
    /// That time, or the last one if it is later.
    pub(super) fn at_least(&mut self, time: Time) -> Time {
        self.0 = self.0.max(time);
        self.0
    }
}

/// The source of an instance whose interface has no address yet: it is in FAULT then and sends nothing.
pub(super) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([0u8; 4]),
        Family::V6 => IpAddr::from([0u8; 16]),
    }
}
