//! Which adverts count: keepalived's checks, in its order, with the choices listed in the module's table.

use std::net::IpAddr;

use super::event::Packet;
use super::packet::{Form, Message, PacketError};
use super::settings::Settings;

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
    /// Not one of the peers.
    #[error("the sender is not a peer")]
    Stranger,
}

/// Reads a packet and applies every rule but those of the election itself.
pub(super) fn accept<'b>(s: &Settings, packet: &Packet<'b>) -> Result<(Message<'b>, Form), Ignored> {
    if packet.src == s.source {
        return Err(Ignored::Own);
    }
    let multicast = packet.dst.is_multicast();
    if multicast && packet.ttl != 255 {
        return Err(Ignored::Ttl(packet.ttl));
    }
    let (advert, form) = Message::read(packet.payload, packet.src, packet.dst)?;
    if advert.version != s.version {
        return Err(Ignored::Version(advert.version));
    }
    if advert.vrid != s.vrid {
        return Err(Ignored::Vrid(advert.vrid));
    }
    if s.version == 2 {
        authenticate(s, &advert)?;
        if advert.interval != s.interval_field() {
            return Err(Ignored::Interval(advert.interval));
        }
    }
    if multicast == s.peers.is_some() {
        return Err(Ignored::Destination(packet.dst));
    }
    if let Some(peers) = &s.peers {
        match peers.iter().find(|p| p.ip == packet.src) {
            Some(peer) if packet.ttl < peer.ttl.0 || packet.ttl > peer.ttl.1 => return Err(Ignored::Ttl(packet.ttl)),
            None if s.check_unicast_src => return Err(Ignored::Stranger),
            _ => {}
        }
    }
    Ok((advert, form))
}

fn authenticate(s: &Settings, advert: &Message<'_>) -> Result<(), Ignored> {
    if advert.auth_type != u8::from(s.auth.is_some()) {
        return Err(Ignored::AuthType(advert.auth_type));
    }
    match s.auth {
        Some(ours) if !same_bytes(&ours, &advert.auth_data) => Err(Ignored::Password),
        _ => Ok(()),
    }
}

/// Equality in a time that does not depend on where the first difference is.
pub fn same_bytes(a: &[u8; 8], b: &[u8; 8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |all, (x, y)| std::hint::black_box(all | (x ^ y)));
    difference == 0
}
