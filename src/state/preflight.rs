//! What preflight asks of a host, and what the host and its segment answer.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::finding::Finding;

/// What a host must have free or in place for its resources to work, beside the resources themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Interfaces that carry the host's address or a VIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Where the load balancer is to listen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<ListenNeed>,
    /// Certificates and keys, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_files: Vec<String>,
    /// Adverts of the peer that must arrive over IPv4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adverts: Vec<AdvertNeed>,
}

impl Needs {
    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        *self == Needs::default()
    }
}

/// A TCP port of the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenNeed {
    /// `None`: every address.
    pub address: Option<IpAddr>,
    /// 1 to 65535.
    pub port: u16,
}

/// Adverts of the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertNeed {
    /// Where they arrive.
    pub interface: String,
    /// The peer's address, which sends them.
    pub from: Ipv4Addr,
    /// Multicast group, or the host's own address.
    pub to: Ipv4Addr,
}

/// What a host found while it planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPreflight {
    /// What it can judge by itself.
    pub findings: Vec<Finding>,
    /// Instances that are not in force on the host yet, by name: whether somebody else has their VIPs or their
    /// `virtual_router_id` is to be asked on the segment.
    pub new_instances: Vec<String>,
    /// ms since 1970, the host's clock.
    pub at_ms: u64,
}

/// What the segment answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Stations that answered for a VIP, this host excepted.
    pub stations: Vec<Station>,
    /// Routers that announced themselves, this host excepted; each once.
    pub routers: Vec<ForeignRouter>,
    /// Interfaces whose segment this host could not look at.
    pub unseen: Vec<Unseen>,
}

/// An interface whose segment could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unseen {
    /// Its name.
    pub interface: String,
    /// What the system said, or what is wrong with the interface.
    pub why: String,
}

/// A station that answers for a VIP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Station {
    /// The VIP that it answers for.
    pub vip: IpAddr,
    /// The host's interface that the answer came in on.
    pub interface: String,
    /// Its hardware address, lower case with colons.
    pub mac: String,
}

/// A router that announces itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForeignRouter {
    /// The host's interface that the advert came in on.
    pub interface: String,
    /// Source address of the advert.
    pub sender: IpAddr,
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// 0 to 255.
    pub priority: u8,
    /// Addresses that it announces.
    pub vips: Vec<IpAddr>,
}
