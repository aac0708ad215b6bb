//! An instance as far as it could be read, with places to point at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::hosts::RawHost;
use crate::inventory::context::At;
use crate::inventory::model::{AuthHmac, InitialState, Instance, Notify, SecretSource, Vip};
use crate::inventory::source::Span;

/// An instance as far as it could be read, with places to point at.
pub(super) struct RawInstance {
    pub(super) name: At<String>,
    /// `None` when it is missing or wrong.
    pub(super) virtual_router_id: Option<At<u8>>,
    /// By host; empty until defaults are chosen when they are not written.
    pub(super) priorities: BTreeMap<String, At<u8>>,
    /// `priorities` was written, well or badly.
    pub(super) priorities_written: bool,
    pub(super) version: u8,
    pub(super) advert_int: f64,
    pub(super) auth_pass: Option<SecretSource>,
    pub(super) auth_hmac: Option<AuthHmac>,
    pub(super) interface: Option<At<String>>,
    pub(super) state: Option<InitialState>,
    pub(super) unicast: bool,
    pub(super) mcast_src_ip: BTreeMap<String, At<IpAddr>>,
    pub(super) nopreempt: bool,
    pub(super) preempt_delay: Option<u32>,
    pub(super) garp_master_refresh: u32,
    pub(super) vips: Vec<At<Vip>>,
    pub(super) excluded: Vec<At<Vip>>,
    pub(super) track_script: Vec<At<String>>,
    pub(super) track_interface: Vec<(At<String>, Option<At<i16>>)>,
    pub(super) track_process: Vec<At<String>>,
    pub(super) notify: Notify,
    /// Where the instance starts.
    pub(super) span: Span,
}

impl RawInstance {
    /// The instance; only meaningful when no problem was noted.
    pub(super) fn finish(self) -> Instance {
        let values = |found: Vec<At<String>>| found.into_iter().map(|a| a.value).collect();
        Instance {
            name: self.name.value,
            virtual_router_id: self.virtual_router_id.map_or(0, |id| id.value),
            priorities: self.priorities.into_iter().map(|(host, p)| (host, p.value)).collect(),
            version: self.version,
            advert_int: self.advert_int,
            auth_pass: self.auth_pass,
            auth_hmac: self.auth_hmac,
            interface: self.interface.map(|i| i.value),
            state: self.state,
            unicast: self.unicast,
            mcast_src_ip: self
                .mcast_src_ip
                .into_iter()
                .map(|(host, ip)| (host, ip.value))
                .collect(),
            nopreempt: self.nopreempt,
            preempt_delay: self.preempt_delay,
            garp_master_refresh: self.garp_master_refresh,
            virtual_ipaddress: self.vips.into_iter().map(|v| v.value).collect(),
            virtual_ipaddress_excluded: self.excluded.into_iter().map(|v| v.value).collect(),
            track_script: values(self.track_script),
            track_interface: self
                .track_interface
                .into_iter()
                .map(|(i, w)| (i.value, w.map(|w| w.value)))
                .collect(),
            track_process: values(self.track_process),
            notify: self.notify,
        }
    }

    /// The interface it runs on, on that host.
    pub(super) fn interface_on<'a>(&'a self, host: &'a RawHost) -> Option<&'a str> {
        let own = || Some(host.network.as_ref()?.interface.as_ref()?.value.as_str());
        self.interface.as_ref().map(|i| i.value.as_str()).or_else(own)
    }

    /// Its VIPs are IPv6; `None` without any VIP.
    pub(super) fn is_ipv6(&self) -> Option<bool> {
        self.vips.first().map(|v| v.value.address.addr().is_ipv6())
    }
}
