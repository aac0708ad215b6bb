//! Routers that announce our VIPs under an id that is not ours.

use std::net::IpAddr;

use crate::vrrp::Time;

/// Somebody who announces a VIP of ours under an id that is not ours on that interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherRouter {
    /// Its address.
    pub(crate) src: IpAddr,
    /// Where it was heard.
    pub(crate) interface: String,
    /// Its virtual router id.
    pub(crate) vrid: u8,
    /// The first VIP of ours in its list.
    pub(crate) vip: IpAddr,
    /// First packet.
    pub(crate) since: Time,
    /// Last packet.
    pub(crate) heard: Time,
    /// How many.
    pub(crate) packets: u64,
}

impl std::fmt::Display for OtherRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OtherRouter { src, vrid, vip, .. } = self;
        write!(f, "{src} announces our VIP {vip} under virtual_router_id {vrid}")
    }
}
