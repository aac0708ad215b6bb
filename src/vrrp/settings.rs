//! What one virtual router is told, and the timers that follow from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::hmac::AuthHmac;
use super::packet::{Advert, Form, MAX_INTERVAL_V3};

/// One virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// 2 or 3.
    pub version: u8,
    /// 1 to 255.
    pub vrid: u8,
    /// 1 to 255, before anything tracked changes it; 255 is never changed.
    pub priority: u8,
    /// Between two adverts, as written; what counts is [`Settings::interval`].
    pub advert_int: Duration,
    /// Own address: the source of adverts, decides between equal priorities.
    pub source: IpAddr,
    /// Advertised addresses, in order.
    pub vips: Vec<IpAddr>,
    /// Version 2: password, padded with zeros.
    pub auth: Option<[u8; 8]>,
    /// Both versions: signed messages, instead of a password.
    pub auth_hmac: Option<Arc<AuthHmac>>,
    /// `None`: multicast; else adverts go to these, and count from nobody else.
    pub peers: Option<Vec<Peer>>,
    /// Take over from a lower priority.
    pub preempt: bool,
    /// Wait before that.
    pub preempt_delay: Duration,
    /// After a crash: how long not to take over from a living owner.
    pub crash_hold: Duration,
    /// Adverts that may be missing: 1 to 100.
    pub down_adverts: u8,
    /// Do not answer an advert of lower priority.
    pub lower_prio_no_advert: bool,
    /// Send one advert before yielding to a higher priority.
    pub higher_prio_send_advert: bool,
    /// Compare the VIP list only when the sender changes.
    pub skip_check_adv_addr: bool,
    /// Checksum sent until a peer shows another.
    pub form: Form,
    /// When neighbours are told.
    pub garp: GarpTimes,
}

/// A unicast peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Both ends included.
    pub ttl: (u8, u8),
}

/// When and how often neighbours are told who owns the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarpTimes {
    /// Messages at once after becoming owner.
    pub repeat: u32,
    /// Again after this; zero: not.
    pub delay: Duration,
    /// Messages at once after hearing a lower priority.
    pub lower_prio_repeat: u32,
    /// Again after this; zero: not.
    pub lower_prio_delay: Duration,
    /// Every so often while owner; zero: not.
    pub refresh: Duration,
    /// Messages of a refresh.
    pub refresh_repeat: u32,
}

impl Default for GarpTimes {
    fn default() -> GarpTimes {
        let delay = Duration::from_secs(5);
        let refresh = Duration::from_secs(60);
        GarpTimes {
            repeat: 5,
            delay,
            lower_prio_repeat: 5,
            lower_prio_delay: delay,
            refresh,
            refresh_repeat: 1,
        }
    }
}

impl Settings {
    /// The interval as the packet holds it; never 0.
    pub fn interval_field(&self) -> u16 {
        if self.version == 2 {
            self.advert_int.as_secs().clamp(1, 255) as u16
        } else {
            (self.advert_int.as_millis() / 10).clamp(1, MAX_INTERVAL_V3.into()) as u16
        }
    }

    /// The interval of a packet's field; never 0.
    pub fn interval_of(&self, field: u16) -> Duration {
        if self.version == 2 {
            Duration::from_secs(field.max(1).into())
        } else {
            Duration::from_millis(u64::from(field.max(1)) * 10)
        }
    }

    /// Between two adverts, exactly as they say it: a version 3 that is written as 0.015 s says, and keeps, 0.01 s.
    pub fn interval(&self) -> Duration {
        self.interval_of(self.interval_field())
    }

    /// What a lower priority waits longer than a higher one: (256 − priority) / 256 of a second in version 2
    /// (RFC 3768, 6.1), of the owner's interval in version 3 (RFC 9568, 6.1).
    pub fn skew(&self, priority: u8, owner_interval: Duration) -> Duration {
        let unit = if self.version == 2 {
            Duration::from_secs(1)
        } else {
            owner_interval
        };
        unit * (256 - u32::from(priority)) / 256
    }

    /// How long an owner may be silent.
    pub fn master_down(&self, priority: u8, owner_interval: Duration) -> Duration {
        owner_interval * u32::from(self.down_adverts) + self.skew(priority, owner_interval)
    }

    /// The advert of this router at a priority; 0 says that it stops.
    pub fn advert(&self, priority: u8) -> Advert {
        Advert {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.interval_field(),
            auth_type: u8::from(self.version == 2 && self.auth.is_some()),
            auth_data: if self.version == 2 {
                self.auth.unwrap_or_default()
            } else {
                [0; 8]
            },
            addresses: self.vips.clone(),
        }
    }

    /// A change from `self` to `new` can be made without leaving the election.
    pub fn same_router(&self, new: &Settings) -> bool {
        self.version == new.version && self.vrid == new.vrid && self.source.is_ipv4() == new.source.is_ipv4()
    }
}
