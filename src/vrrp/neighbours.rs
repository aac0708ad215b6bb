//! Who is heard on a virtual router's id, and whether it counts.
//!
//! A row is a sender together with what is thought of it, so that one that is heard now with the right password and now with a
//! wrong one has two. Noting a sender that is known allocates nothing; a flood of forged ones finds the table full, and the rows
//! of those that count are never given up for others.

use std::mem::discriminant;
use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::hmac::Refusal;
use super::packet::Message;
use super::rules::Ignored;

/// Rows of a router.
const MOST: usize = 32;
/// Rows that only senders that count may take.
const RESERVED: usize = 8;
/// Who is not heard for so long is forgotten, and told anew when it is heard again.
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
}

/// Everybody that is heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours {
    rows: Vec<Neighbour>,
}

impl Neighbours {
    /// A packet was heard. Returns whether it is new that this sender sends such packets: then somebody should be told.
    pub(super) fn note(
        &mut self,
        now: Time,
        src: IpAddr,
        message: Option<(&Message<'_>, bool)>,
        verdict: Verdict,
    ) -> bool {
        let said = message.map(|(message, shares_a_vip)| Said {
            version: message.version,
            priority: message.priority,
            shares_a_vip,
        });
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
            return forgotten;
        }
        let Some(room) = self.room(now, verdict.counts()) else {
            return false;
        };
        let differs = match verdict {
            Verdict::ListDiffers | Verdict::Refused(Ignored::Foreign) => message,
            _ => None,
        };
        let row = Neighbour {
            src,
            said,
            verdict,
            since: now,
            heard: now,
            packets: 1,
            vips: differs.map_or_else(Vec::new, |(message, _)| message.addresses().collect()),
        };
        match room {
            Room::Free => self.rows.push(row),
            Room::Instead(at) => self.rows[at] = row,
        }
        true
    }

    /// Where a new row may go: a free place, or that of one that is forgotten, or, for a sender that counts, that of the refused
    /// one that was heard longest ago.
    fn room(&self, now: Time, counts: bool) -> Option<Room> {
        let limit = if counts { MOST } else { MOST - RESERVED };
        if self.rows.len() < limit {
            return Some(Room::Free);
        }
        let rows = || self.rows.iter().enumerate();
        let oldest = rows().min_by_key(|(_, r)| r.heard)?;
        if now > oldest.1.heard + MEMORY {
            return Some(Room::Instead(oldest.0));
        }
        let refused = rows().filter(|(_, r)| counts && !r.verdict.counts());
        refused.min_by_key(|(_, r)| r.heard).map(|(at, _)| Room::Instead(at))
    }

    /// Everybody that was heard lately, those that count first.
    pub(super) fn list(&self, now: Time) -> Vec<Neighbour> {
        let lately = self.rows.iter().filter(|r| now <= r.heard + MEMORY);
        let mut list: Vec<Neighbour> = lately.cloned().collect();
        list.sort_by_key(|r| (!r.verdict.counts(), r.src, r.since));
        list
    }

    /// Who announced a VIP of ours since then and was refused: an owner beside us, if we are one.
    pub(super) fn refused_owner(&self, since: Time) -> Option<IpAddr> {
        let owner = |r: &&Neighbour| {
            !r.verdict.counts() && r.heard >= since && r.said.is_some_and(|s| s.shares_a_vip && s.priority != 0)
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

    fn host(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn refused() -> Verdict {
        Verdict::Refused(Ignored::Password)
    }

    #[test]
    fn a_sender_is_new_once_for_each_cause_and_again_when_it_was_forgotten() {
        let mut n = Neighbours::default();
        assert!(n.note(T(0), host(1), None, Verdict::Accepted));
        assert!(n.note(T(1), host(1), None, refused()));
        assert!(!n.note(T(2), host(1), None, Verdict::Accepted) && !n.note(T(3), host(1), None, refused()));
        // Other figures are no other cause.
        assert!(n.note(T(3), host(2), None, Verdict::Refused(Ignored::Ttl(3))));
        assert!(!n.note(T(3), host(2), None, Verdict::Refused(Ignored::Ttl(4))));
        let list = n.list(T(10));
        assert_eq!(
            (list.len(), list[0].verdict, list[0].packets),
            (3, Verdict::Accepted, 2)
        );
        assert_eq!(list[2].verdict, Verdict::Refused(Ignored::Ttl(4)));
        assert!(n.list(T(304)).is_empty());
        assert!(n.note(T(304), host(1), None, refused()));
        assert_eq!((n.list(T(304))[0].packets, n.list(T(304))[0].since), (1, T(304)));
    }

    proptest! {
        /// However many forged senders there are, the table stays small, and whoever counts keeps, or gets, its row.
        #[test]
        fn a_flood_takes_nothing_from_those_that_count(
            flood in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..300), peers in 1..8u8,
        ) {
            let mut n = Neighbours::default();
            n.note(T(0), host(1), None, Verdict::Accepted);
            for (at, (sender, _)) in flood.iter().enumerate() {
                let [a, b] = sender.to_be_bytes();
                n.note(T(1) + Duration::from_millis(at as u64), IpAddr::from([172, 16, a, b]), None, refused());
            }
            for peer in 1..=peers {
                n.note(T(2), host(peer), None, Verdict::Accepted);
            }
            prop_assert!(n.rows.len() <= MOST);
            let list = n.list(T(2));
            let counting = list.iter().filter(|r| r.verdict.counts()).count();
            prop_assert_eq!(counting, usize::from(peers));
        }
    }
}
