//! Which adverts count: keepalived's checks, with the choices listed in the module's table.

use std::net::IpAddr;

use super::event::Packet;
use super::ignored::Ignored;
use super::packet::{Form, Message};
use super::settings::Settings;

/// Reads a packet that came the way it must: from a peer where there are peers, over no router where there are none.
pub(super) fn read<'b>(s: &Settings, packet: &Packet<'b>) -> Result<(Message<'b>, Form), Ignored> {
    if packet.src == s.source {
        return Err(Ignored::Own);
    }
    let multicast = packet.dst.is_multicast();
    match &s.peers {
        Some(_) if multicast => return Err(Ignored::Destination(packet.dst)),
        // Anybody can send us a packet from anywhere, with any time to live: only who is configured is heard.
        Some(peers) => match peers.iter().find(|p| p.ip == packet.src) {
            None => return Err(Ignored::Stranger),
            Some(peer) if packet.ttl < peer.ttl.0 || packet.ttl > peer.ttl.1 => return Err(Ignored::Ttl(packet.ttl)),
            Some(_) => {}
        },
        None if !multicast => return Err(Ignored::Destination(packet.dst)),
        None if packet.ttl != 255 => return Err(Ignored::Ttl(packet.ttl)),
        None => {}
    }
    let (message, form) = Message::read(packet.payload, packet.src, packet.dst)?;
    if message.vrid != s.vrid {
        return Err(Ignored::Vrid(message.vrid));
    }
    Ok((message, form))
}

/// Whether a message is about our addresses at all. `ours` is sorted. Who gives no address away hears who gives none away.
pub(super) fn is_foreign(ours: &[IpAddr], message: &Message<'_>) -> bool {
    let mut theirs = message.addresses().peekable();
    if ours.is_empty() && theirs.peek().is_none() {
        return false;
    }
    !theirs.any(|address| ours.binary_search(&address).is_ok())
}

/// What both sides must have in common to hear each other.
pub(super) fn agree(s: &Settings, message: &Message<'_>) -> Result<(), Ignored> {
    if message.version != s.version {
        return Err(Ignored::Version(message.version));
    }
    if s.version == 2 {
        authenticate(s, message)?;
        if message.interval != s.interval_field() {
            return Err(Ignored::Interval(message.interval));
        }
    }
    Ok(())
}

fn authenticate(s: &Settings, message: &Message<'_>) -> Result<(), Ignored> {
    if message.auth_type != u8::from(s.auth.is_some()) {
        return Err(Ignored::AuthType(message.auth_type));
    }
    match s.auth {
        Some(ours) if !same_bytes(&ours, &message.auth_data) => Err(Ignored::Password),
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
