//! keepalived's `auth_hmac` (2.4.2 and later; draft-cassen-vrrp-auth-hmac): a trailer behind the message that proves who
//! sent it and when. It is the same for version 2 and 3, IPv4 and IPv6, multicast and unicast.
//!
//! ```text
//! | scheme, 1 byte | key id, 1 | zero, 2 | seconds since 1970, 4 | 1/65536 s, 2 | counter, 2 | HMAC, 16 |
//! ```
//!
//! The HMAC (SHA-256, its first 128 bits) covers family, version, virtual router id and source address, then the message
//! with its checksum read as zero, then the first 12 bytes of the trailer, then 16 zero bytes. Neither destination nor
//! time to live is covered. The checksum of the message covers the trailer over IPv6 only.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::time::Time;

/// Bytes of the trailer.
pub const TRAILER: usize = 28;
/// Shortest secret, in bytes.
pub const SECRET_MIN: usize = 32;
/// Longest secret, in bytes.
pub const SECRET_MAX: usize = 64;
/// Longest window, in seconds; the shortest is 1.
pub const WINDOW_MAX: u16 = 300;

/// The only scheme there is: HMAC-SHA256 cut to 128 bits.
const SCHEME: u8 = 1;
/// Bytes of the HMAC in the trailer.
const TAG: usize = 16;
/// Where it begins.
const PREFIX: usize = TRAILER - TAG;
/// Where the checksum is in the message.
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// Who must sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Signs nothing; checks what is signed and accepts what is not.
    ReceiveOnly,
    /// Signs; accepts what is not signed.
    Permissive,
    /// Signs; accepts nothing that is not signed.
    Enforce,
}

/// What keeps an old message from counting again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AntiReplay {
    /// Time stamps of each sender must grow, and not be further from our clock than this many seconds (1 to 300).
    Time {
        /// In seconds.
        window: u16,
    },
    /// Time stamps of each sender must grow; the clocks may differ.
    Monotonic,
}

/// A secret and its number.
#[derive(Clone)]
pub struct Key {
    id: u8,
    secret: Vec<u8>,
    /// The secret is in it already: it costs half of the work of a short message.
    mac: Hmac<Sha256>,
}

impl Key {
    /// `None`: the id is 0, or the secret is not of 32 to 64 bytes.
    pub fn new(id: u8, secret: &[u8]) -> Option<Key> {
        if id == 0 || !(SECRET_MIN..=SECRET_MAX).contains(&secret.len()) {
            return None;
        }
        Some(Key {
            id,
            secret: secret.to_vec(),
            mac: Hmac::new_from_slice(secret).ok()?,
        })
    }

    /// 1 to 255.
    pub fn id(&self) -> u8 {
        self.id
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        (self.id, &self.secret) == (other.id, &other.secret)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ***)", self.id)
    }
}

/// `auth_hmac` of a virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthHmac {
    /// Each id once. A message is checked with the one that it names.
    pub keys: Vec<Key>,
    /// The id that is signed with.
    pub active: u8,
    /// Who must sign.
    pub mode: Mode,
    /// What keeps an old message from counting again.
    pub anti_replay: AntiReplay,
}

impl AuthHmac {
    fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// What it takes to sign the next message, at `now` of the router's clock and `real` time after 1970; `None`: nothing is
    /// signed. All copies of one message, one for each peer, bear the same seal.
    pub fn seal(&self, last: &Sequence, now: Time, real: Duration) -> Option<Seal<'_>> {
        if self.mode == Mode::ReceiveOnly {
            return None;
        }
        let key = self.key(self.active)?;
        let stamp = last.next(self.anti_replay, now, real);
        Some(Seal { key, stamp })
    }

    /// Whether a message and its trailer are of somebody who has a key, and new. Returns by how much the sender's clock is
    /// ahead of ours.
    pub(super) fn check(&self, senders: &mut Senders, signed: &Signed<'_>, real: Duration) -> Result<Ahead, Refusal> {
        let trailer = signed.trailer;
        let [SCHEME, id, 0, 0, ..] = *trailer else {
            return Err(Refusal::Malformed);
        };
        let stamp = Stamp(u64::from_be_bytes(std::array::from_fn(|n| trailer[4 + n])));
        let ahead = stamp.ahead_of(real);
        // Before the HMAC, which costs more. This refuses only: nothing is believed yet.
        if let AntiReplay::Time { window } = self.anti_replay
            && !stamp.is_within(window, real)
        {
            return Err(Refusal::Stale { ahead, window });
        }
        let key = self.key(id).ok_or(Refusal::UnknownKey(id))?;
        let mac = signed.mac(key);
        // In a time that does not depend on where the first difference is.
        mac.verify_truncated_left(&trailer[PREFIX..])
            .map_err(|_| Refusal::WrongKey)?;
        if senders.takes(self.anti_replay, signed.src, stamp, real) {
            Ok(ahead)
        } else {
            Err(Refusal::Replay)
        }
    }
}

/// What one message is signed with.
#[derive(Debug, Clone, Copy)]
pub struct Seal<'k> {
    key: &'k Key,
    stamp: Stamp,
}

impl Seal<'_> {
    /// Appends the trailer of a message from that address. The checksum of `message` does not matter.
    pub(super) fn put(self, src: IpAddr, message: &[u8]) -> [u8; TRAILER] {
        let mut trailer = [0; TRAILER];
        trailer[0] = SCHEME;
        trailer[1] = self.key.id;
        trailer[4..PREFIX].copy_from_slice(&self.stamp.0.to_be_bytes());
        let signed = Signed {
            src,
            message,
            trailer: &trailer,
        };
        let tag = signed.mac(self.key).finalize().into_bytes();
        trailer[PREFIX..].copy_from_slice(&tag[..TAG]);
        trailer
    }
}

/// A message, its trailer, and where they came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'b> {
    pub(super) src: IpAddr,
    /// At least a header of 8 bytes.
    pub(super) message: &'b [u8],
    pub(super) trailer: &'b [u8; TRAILER],
}

impl Signed<'_> {
    fn mac(&self, key: &Key) -> Hmac<Sha256> {
        let mut bound = [0; 20];
        bound[1] = self.message[0] >> 4;
        bound[2] = self.message[1];
        match self.src {
            IpAddr::V4(ip) => {
                bound[0] = 4;
                bound[4..8].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bound[0] = 6;
                bound[4..].copy_from_slice(&ip.octets());
            }
        }
        let mut mac = key.mac.clone();
        mac.update(&bound);
        mac.update(&self.message[..CHECKSUM.start]);
        mac.update(&[0, 0]);
        mac.update(&self.message[CHECKSUM.end..]);
        mac.update(&self.trailer[..PREFIX]);
        mac.update(&[0; TAG]);
        mac
    }
}

/// When a message was made: seconds since 1970, then 1/65536 s, then a counter for messages of one moment. It wraps in 2106,
/// and is compared in a way that does not mind (RFC 1982).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64);

impl Stamp {
    fn of(real: Duration) -> Stamp {
        let fraction = (u64::from(real.subsec_nanos()) << 16) / 1_000_000_000;
        Stamp((real.as_secs() & 0xffff_ffff) << 32 | fraction << 16)
    }

    fn is_after(self, other: Stamp) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// In whole seconds, as keepalived compares them.
    fn is_within(self, window: u16, real: Duration) -> bool {
        let (ours, its) = ((Stamp::of(real).0 >> 32) as u32, (self.0 >> 32) as u32);
        ours.wrapping_sub(its).cast_signed().unsigned_abs() <= window.into()
    }

    fn ahead_of(self, real: Duration) -> Ahead {
        let difference = self.0.wrapping_sub(Stamp::of(real).0).cast_signed();
        Ahead(((i128::from(difference) * 1000) >> 32) as i64)
    }
}

/// By how much another clock is ahead of ours; below 0: behind. In milliseconds, and as the way of the packet is part of it,
/// not more exact than that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ahead(i64);

impl Ahead {
    /// In milliseconds; below 0: behind.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// How many thousandths of the window are used up.
    fn share(self, window: u16) -> u64 {
        self.0.unsigned_abs() / u64::from(window.max(1))
    }
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.unsigned_abs() + 50) / 100;
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        write!(f, "{}.{} s {side} ours", tenths / 10, tenths % 10)
    }
}

/// What the last message was signed with. Nothing of it need outlive the process: the clock keeps running.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Cell<Option<Last>>);

#[derive(Debug, Clone, Copy)]
struct Last {
    stamp: Stamp,
    at: Time,
    /// The real time of then.
    real: Duration,
}

impl Last {
    /// Whether nobody would believe this stamp, or one that continues it: it is old, or the real clock was set back since by more
    /// than the window. Time may have brought the stamp of a clock that was ahead back into the window by now.
    fn is_outdated(self, anti_replay: AntiReplay, now: Time, real: Duration) -> bool {
        let AntiReplay::Time { window } = anti_replay else {
            return false;
        };
        let set_back = (self.real + now.saturating_sub(self.at)).saturating_sub(real);
        !self.stamp.is_within(window, real) || set_back > Duration::from_secs(window.into())
    }
}

impl Sequence {
    /// The clock, or one more than the last stamp where the clock has not moved, or was set back by less than the window.
    fn next(&self, anti_replay: AntiReplay, now: Time, real: Duration) -> Stamp {
        let clock = Stamp::of(real);
        let stamp = match self.0.get() {
            Some(last) if !clock.is_after(last.stamp) && !last.is_outdated(anti_replay, now, real) => {
                Stamp(last.stamp.0.wrapping_add(1))
            }
            _ => clock,
        };
        self.0.set(Some(Last { stamp, at: now, real }));
        stamp
    }
}

/// Senders remembered where no peers are configured. Only who has a key gets in, and of those few send at a time.
const SENDERS: usize = 8;

/// What the last message of each sender said. Bounded, and untouched by who has no key.
#[derive(Debug, Clone, Default)]
pub(super) struct Senders {
    all: Vec<Sender>,
    /// Messages taken: who was heard last.
    taken: u64,
    /// At most this many, if more than [`SENDERS`].
    peers: usize,
}

#[derive(Debug, Clone)]
struct Sender {
    src: IpAddr,
    last: Stamp,
    heard: u64,
    ahead: Ahead,
    /// It was said that its clock is nearly outside the window.
    said: bool,
}

/// What there is to say of a sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Near,
    Fine,
}

impl Senders {
    /// Makes room for this many peers.
    pub(super) fn allow(&mut self, peers: usize) {
        self.peers = peers;
    }

    /// Whether that stamp of an authentic message is new; then it is the sender's last one.
    fn takes(&mut self, anti_replay: AntiReplay, src: IpAddr, stamp: Stamp, real: Duration) -> bool {
        self.taken += 1;
        if let Some(sender) = self.all.iter_mut().find(|s| s.src == src) {
            let expired = match anti_replay {
                // Its clock was set back: what is outside the window does not count anyway.
                AntiReplay::Time { window } => !sender.last.is_within(window, real),
                AntiReplay::Monotonic => false,
            };
            if !expired && !stamp.is_after(sender.last) {
                return false;
            }
            (sender.last, sender.heard) = (stamp, self.taken);
            return true;
        }
        let sender = Sender {
            src,
            last: stamp,
            heard: self.taken,
            ahead: Ahead::default(),
            said: false,
        };
        if self.all.len() < SENDERS.max(self.peers) {
            self.all.push(sender);
        } else if let Some(oldest) = self.all.iter_mut().min_by_key(|s| s.heard) {
            *oldest = sender;
        }
        true
    }

    /// Notes by how much the clock of a sender is ahead. `anti_replay`: where the clocks may differ there is nothing to say.
    pub(super) fn note(&mut self, anti_replay: AntiReplay, src: IpAddr, ahead: Ahead) -> Said {
        let Some(sender) = self.all.iter_mut().find(|s| s.src == src) else {
            return Said::Nothing;
        };
        sender.ahead = ahead;
        let near = match anti_replay {
            // Said from half of the window on, and unsaid a little later, so that it is not said with every advert.
            AntiReplay::Time { window } if sender.said => ahead.share(window) > 400,
            AntiReplay::Time { window } => ahead.share(window) > 500,
            AntiReplay::Monotonic => false,
        };
        match (std::mem::replace(&mut sender.said, near), near) {
            (false, true) => Said::Near,
            (true, false) => Said::Fine,
            _ => Said::Nothing,
        }
    }

    /// Every sender and its clock, as of its last message.
    pub(super) fn clocks(&self) -> impl Iterator<Item = (IpAddr, Ahead)> {
        self.all.iter().map(|s| (s.src, s.ahead))
    }
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It has no trailer, and `mode enforce` wants one.
    #[error("it is not signed, and auth_hmac enforces that")]
    Missing,
    /// It has one, and `auth_hmac` is not configured here.
    #[error("it is signed with auth_hmac, which is not configured here")]
    Unwanted,
    /// Another scheme, or bytes that must be zero are not.
    #[error("its auth_hmac trailer is malformed")]
    Malformed,
    /// No key of that id is configured.
    #[error("it is signed with key {0} of auth_hmac, which is not configured here")]
    UnknownKey(u8),
    /// The HMAC does not fit: another key, or somebody without one.
    #[error("its HMAC is wrong: the keys differ, or it is forged")]
    WrongKey,
    /// Further from our clock than the window.
    #[error(
        "its time stamp is {ahead}, further than time_window allows ({window} s): the clocks differ, or it is a replay"
    )]
    Stale {
        /// The stamp, compared with our clock. Nobody vouches for it.
        ahead: Ahead,
        /// In seconds.
        window: u16,
    },
    /// Not newer than the last one of that sender.
    #[error("it is a replay of an older one")]
    Replay,
}
