//! Who is heard on a virtual router's id, and whether it counts.
//!
//! A row is a sender together with what is thought of it, so that one that is heard now with the right password and now with a
//! wrong one has two. Noting a sender that is known allocates nothing; a flood of forged ones finds the table full, and the rows
//! of those that count are never given up for others.

use std::mem::discriminant;
use std::net::IpAddr;
use std::time::Duration;

use super::hmac::Refusal;
use super::ignored::Ignored;
use super::packet::Message;
use super::time::Time;

/// Rows of a router.
const MOST: usize = 32;
/// Rows that only senders that count, and configured peers, may take.
const RESERVED: usize = 8;
/// A neighbour that is not heard for this long is forgotten, and reported anew when it is heard again.
pub const MEMORY: Duration = Duration::from_secs(300);

/// What is thought of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// It counts, though its VIP list differs from ours.
    ListDiffers,
    /// It does not count.
    Refused(Ignored),
}

impl Verdict {
    /// The same, whatever the figures.
    fn is_like(&self, other: &Verdict) -> bool {
        match (self, other) {
            (Verdict::Refused(a), Verdict::Refused(b)) => same_kind(a, b),
            _ => self == other,
        }
    }

    fn counts(&self) -> bool {
        !matches!(self, Verdict::Refused(_))
    }
}

/// Whether two refusals have the same cause.
fn same_kind(a: &Ignored, b: &Ignored) -> bool {
    match (a, b) {
        (Ignored::Hmac(a), Ignored::Hmac(b)) => discriminant::<Refusal>(a) == discriminant::<Refusal>(b),
        (Ignored::Packet(a), Ignored::Packet(b)) => discriminant(a) == discriminant(b),
        _ => discriminant(a) == discriminant(b),
    }
}

/// A sender, and what is thought of what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub src: IpAddr,
    /// What its last packet said of itself, where it could be read.
    pub said: Option<Said>,
    /// What is thought of it.
    pub verdict: Verdict,
    /// First packet.
    pub since: Time,
    /// Last packet.
    pub heard: Time,
    /// How many.
    pub packets: u64,
    /// Its VIP list, where it is another than ours.
    pub vips: Vec<IpAddr>,
}

/// What an advert says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// 2 or 3.
    pub version: u8,
    /// 0: it stops.
    pub priority: u8,
    /// It announces a VIP of ours.
    pub shares_a_vip: bool,
    /// Between two of its adverts.
    pub interval: Duration,
}

/// A packet, as far as it could be read.
#[derive(Clone, Copy)]
pub(super) struct Heard<'m> {
    pub(super) src: IpAddr,
    /// The sender is a configured peer.
    pub(super) is_peer: bool,
    pub(super) message: Option<&'m Message<'m>>,
    pub(super) said: Option<Said>,
}

/// Everybody that is heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    rows: Vec<Neighbour>,
}

impl Neighbours {
    /// A packet was heard. Returns whether it is new that this sender sends such packets: then somebody should be told.
    pub(super) fn note(&mut self, now: Time, heard: Heard<'_>, verdict: Verdict) -> bool {
        let Heard { src, message, said, .. } = heard;
        let differs = match verdict {
            Verdict::ListDiffers | Verdict::Refused(Ignored::Foreign) => message,
            _ => None,
        };
        if let Some(row) = self
            .rows
            .iter_mut()
            .find(|r| r.src == src && r.verdict.is_like(&verdict))
        {
            let forgotten = now > row.heard + MEMORY;
            row.packets = if forgotten { 1 } else { row.packets + 1 };
            if forgotten {
                row.since = now;
            }
            (row.said, row.verdict, row.heard) = (said, verdict, now);
            if let Some(message) = differs {
                // It may have another list by now. No memory is asked for unless that one is longer.
                row.vips.clear();
                row.vips.extend(message.addresses());
            }
            return forgotten;
        }
        let Some(room) = self.room(now, verdict.counts() || heard.is_peer) else {
            return false;
        };
        let row = Neighbour {
            src,
            said,
            verdict,
            since: now,
            heard: now,
            packets: 1,
            vips: differs.map_or_else(Vec::new, |message| message.addresses().collect()),
        };
        match room {
            Room::Free => {
                // Mostly there is one, of each of hundreds of instances.
                self.rows.reserve_exact(1);
                self.rows.push(row);
            }
            Room::Instead(at) => self.rows[at] = row,
        }
        true
    }

    /// Where a new row may go: a free place, or that of one that is forgotten, or, for a sender that matters, that of the refused
    /// one that was heard longest ago.
    fn room(&self, now: Time, matters: bool) -> Option<Room> {
        let limit = if matters { MOST } else { MOST - RESERVED };
        if self.rows.len() < limit {
            return Some(Room::Free);
        }
        let rows = || self.rows.iter().enumerate();
        let oldest = rows().min_by_key(|(_, r)| r.heard)?;
        if now > oldest.1.heard + MEMORY {
            return Some(Room::Instead(oldest.0));
        }
        let refused = rows().filter(|(_, r)| matters && !r.verdict.counts());
        refused.min_by_key(|(_, r)| r.heard).map(|(at, _)| Room::Instead(at))
    }

    /// Everybody that was heard lately, those that count first.
    pub(super) fn list(&self, now: Time) -> Vec<Neighbour> {
        let lately = self.rows.iter().filter(|r| now <= r.heard + MEMORY);
        let mut list: Vec<Neighbour> = lately.cloned().collect();
        list.sort_by_key(|r| (!r.verdict.counts(), r.src, r.since));
        list
    }

    /// Who announces a VIP of ours and is refused: an owner beside us, if we are one. It may miss as many of its adverts, or of those
    /// that we would send, as an owner may.
    pub(super) fn refused_owner(&self, now: Time, interval: Duration, down_adverts: u8) -> Option<IpAddr> {
        let owner = |r: &&Neighbour| {
            let said = r.said.filter(|s| s.shares_a_vip && s.priority != 0);
            let lives = |s: Said| now <= r.heard + s.interval.max(interval) * u32::from(down_adverts);
            !r.verdict.counts() && said.is_some_and(lives)
        };
        self.rows.iter().find(owner).map(|r| r.src)
    }
}

enum Room {
    Free,
    Instead(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: fn(u64) -> Time = Time::from_secs;

    fn host(n: u8) -> Heard<'static> {
        from(IpAddr::from([10, 0, 0, n]))
    }

    fn from(src: IpAddr) -> Heard<'static> {
        Heard {
            src,
            is_peer: false,
            message: None,
            said: None,
        }
    }

    fn refused() -> Verdict {
        Verdict::Refused(Ignored::Password)
    }

    #[test]
    fn a_sender_is_new_once_for_each_cause_and_again_when_it_was_forgotten() {
        let mut n = Neighbours::default();
        assert!(n.note(T(0), host(1), Verdict::Accepted));
        assert!(n.note(T(1), host(1), refused()));
        assert!(!n.note(T(2), host(1), Verdict::Accepted) && !n.note(T(3), host(1), refused()));
        // Other figures are no other cause.
        assert!(n.note(T(3), host(2), Verdict::Refused(Ignored::Ttl(3))));
        assert!(!n.note(T(3), host(2), Verdict::Refused(Ignored::Ttl(4))));
        let list = n.list(T(10));
        assert_eq!(
            (list.len(), list[0].verdict, list[0].packets),
            (3, Verdict::Accepted, 2)
        );
        assert_eq!(list[2].verdict, Verdict::Refused(Ignored::Ttl(4)));
        assert!(n.list(T(304)).is_empty());
        assert!(n.note(T(304), host(1), refused()));
        assert_eq!((n.list(T(304))[0].packets, n.list(T(304))[0].since), (1, T(304)));
    }

    proptest! {
        /// However many forged senders there are, the table stays small, and whoever counts keeps, or gets, its row.
        #[test]
        fn a_flood_takes_nothing_from_those_that_count(
            flood in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..300), peers in 1..8u8,
        ) {
            let mut n = Neighbours::default();
            n.note(T(0), host(1), Verdict::Accepted);
            for (at, (sender, _)) in flood.iter().enumerate() {
                let [a, b] = sender.to_be_bytes();
                n.note(T(1) + Duration::from_millis(at as u64), from(IpAddr::from([172, 16, a, b])), refused());
            }
            for peer in 1..=peers {
                n.note(T(2), host(peer), Verdict::Accepted);
            }
            prop_assert!(n.rows.len() <= MOST);
            let list = n.list(T(2));
            let counting = list.iter().filter(|r| r.verdict.counts()).count();
            prop_assert_eq!(counting, usize::from(peers));
            // Nor is a configured peer that is refused lost among them.
            let peer = IpAddr::from([10, 0, 0, 99]);
            n.note(T(2), Heard { is_peer: true, ..from(peer) }, refused());
            prop_assert!(n.list(T(2)).iter().any(|r| r.src == peer));
        }
    }
}
