//! Why an advert does not count.

use std::net::IpAddr;

use super::hmac::Refusal;
use super::packet::PacketError;

/// Why a packet is not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ignored {
    /// Not a VRRP message.
    #[error("{0}")]
    Packet(#[from] PacketError),
    /// Our own, looped back.
    #[error("it is our own")]
    Own,
    /// Came over a router (RFC 9568, 5.1.1.3), or outside the peer's window.
    #[error("the time to live is {0}")]
    Ttl(u8),
    /// Another cluster's: no address of its list is ours.
    #[error("it announces none of our VIPs: another cluster uses this virtual router id")]
    Foreign,
    /// Another version than ours.
    #[error("the version is {0}")]
    Version(u8),
    /// Another router; the caller should not have asked.
    #[error("the virtual router id is {0}")]
    Vrid(u8),
    /// Another kind of authentication than ours.
    #[error("the authentication type is {0}")]
    AuthType(u8),
    /// Another password than ours.
    #[error("the password is wrong")]
    Password,
    /// Version 2: another interval than ours.
    #[error("the advert interval is {0} s")]
    Interval(u16),
    /// Unicast for a multicast router, or the other way round.
    #[error("it was sent to {0}")]
    Destination(IpAddr),
    /// `auth_hmac`.
    #[error("{0}")]
    Hmac(#[from] Refusal),
    /// Not one of the peers.
    #[error("the sender is not a peer")]
    Stranger,
}
