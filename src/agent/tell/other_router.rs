//! Routers that announce our VIPs under an id that is not ours.

use std::net::IpAddr;

use crate::vrrp::Time;

/// Somebody who announces a VIP of ours under an id that is not ours on that interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct OtherRouter {
    /// Its address.
    pub(in crate::agent) src: IpAddr,
    /// Where it was heard.
    pub(in crate::agent) interface: String,
    /// Its virtual router id.
    pub(in crate::agent) vrid: u8,
    /// The first VIP of ours in its list.
    pub(in crate::agent) vip: IpAddr,
    /// First packet.
    pub(in crate::agent) since: Time,
    /// Last packet.
    pub(in crate::agent) heard: Time,
    /// How many.
    pub(in crate::agent) packets: u64,
}

impl std::fmt::Display for OtherRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OtherRouter { src, vrid, vip, .. } = self;
        write!(f, "{src} announces our VIP {vip} under virtual_router_id {vrid}")
    }
}
