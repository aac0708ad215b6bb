//! Who owned which VIP when, by the hosts' word and by ARP; how many at once. Pure.

use crate::inventory::Side;
use crate::probe::Mac;
use crate::probe::arp::ArpLog;

/// An overlap of two owners counts from this length on when only the hosts' word says so: their clocks are compared over
/// two SSH connections whose delays differ, so shorter ones cannot be told from one host's news being late.
pub const OVERLAP_RESOLUTION_MS: u64 = 250;

/// Requests in a row that two stations must both answer to count as two owners. One alone is what any hand-over may
/// show: the new owner takes the address the moment it speaks, the old one drops it the moment it hears.
pub const ARP_ROUNDS: usize = 2;

/// One host's time as owner of one VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnSpan {
    pub(crate) host: Side,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// What both hosts said, in order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct OwnerLog {
    vips: Vec<String>,
    /// Per VIP and host: owns since.
    since: Vec<[Option<u64>; 2]>,
    ended: Vec<Vec<OwnSpan>>,
    heard: [bool; 2],
    clocks: [Clock; 2],
}

/// Puts a host's clock on ours. The report that travelled fastest gives the offset, so a report held up on its way (a
/// busy executor, a lost TCP segment) still counts for when it was made.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    /// Least arrival minus host time seen, µs.
    offset: Option<i128>,
    /// What the last report was put at: a host's reports keep their order whatever its clock does.
    last_us: u64,
}

impl Clock {
    /// When the report was made, µs on our clock; never after its arrival.
    fn place(&mut self, arrived_us: u64, host_ms: u64) -> u64 {
        let host_us = i128::from(host_ms) * 1000;
        let delay = i128::from(arrived_us) - host_us;
        let offset = self.offset.map_or(delay, |known| known.min(delay));
        self.offset = Some(offset);
        let made = u64::try_from(host_us + offset).unwrap_or(0);
        self.last_us = made.clamp(self.last_us.min(arrived_us), arrived_us);
        self.last_us
    }
}

impl OwnerLog {
    pub(crate) fn new(vips: Vec<String>) -> OwnerLog {
        let count = vips.len();
        OwnerLog {
            vips,
            since: vec![[None; 2]; count],
            ended: vec![Vec::new(); count],
            heard: [false; 2],
            clocks: [Clock::default(); 2],
        }
    }

    pub(crate) fn vips(&self) -> &[String] {
        &self.vips
    }

    /// A host reported all it owns at `host_ms` of its own clock; when that was on ours (µs), and what changed, as VIP
    /// number and whether it owns it.
    pub(crate) fn record(
        &mut self,
        host: Side,
        arrived_us: u64,
        host_ms: u64,
        owned: &[String],
    ) -> (u64, Vec<(usize, bool)>) {
        self.heard[host] = true;
        let at_us = self.clocks[host].place(arrived_us, host_ms);
        let mut changes = Vec::new();
        for (vip, name) in self.vips.iter().enumerate() {
            let owns = owned.contains(name);
            match (self.since[vip][host], owns) {
                (None, true) => self.since[vip][host] = Some(at_us),
                (Some(from_us), false) => {
                    self.ended[vip].push(OwnSpan {
                        host,
                        from_us,
                        to_us: at_us,
                    });
                    self.since[vip][host] = None;
                }
                _ => continue,
            }
            changes.push((vip, owns));
        }
        (at_us, changes)
    }

    /// This host has reported at least once.
    pub(crate) fn heard(&self, host: Side) -> bool {
        self.heard[host]
    }

    /// Who owns the VIP now, by the last word of each.
    pub(crate) fn owners(&self, vip: usize) -> Vec<Side> {
        Side::BOTH
            .into_iter()
            .filter(|host| self.since[vip][*host].is_some())
            .collect()
    }

    /// All spans of a VIP until `end_us`, in order of their beginning.
    pub(crate) fn spans(&self, vip: usize, end_us: u64) -> Vec<OwnSpan> {
        let open = Side::BOTH.into_iter().filter_map(|host| {
            self.since[vip][host].map(|from_us| OwnSpan {
                host,
                from_us,
                to_us: end_us.max(from_us),
            })
        });
        let mut spans: Vec<_> = self.ended[vip].iter().copied().chain(open).collect();
        spans.sort_by_key(|s| (s.from_us, s.host));
        spans
    }
}

/// Longest time in which both hosts said they own it, µs.
pub(crate) fn longest_overlap_us(spans: &[OwnSpan]) -> u64 {
    let of = |host| spans.iter().filter(move |s| s.host == host);
    of(Side::First)
        .flat_map(|a| of(Side::Second).map(move |b| a.to_us.min(b.to_us).saturating_sub(a.from_us.max(b.from_us))))
        .max()
        .unwrap_or(0)
}

/// Owners at once by the hosts' word.
pub(crate) fn max_by_word(spans: &[OwnSpan]) -> u32 {
    match (
        spans.is_empty(),
        longest_overlap_us(spans) >= OVERLAP_RESOLUTION_MS * 1000,
    ) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    }
}

/// Owners at once by ARP: stations that all answered [`ARP_ROUNDS`] requests in a row.
pub(crate) fn max_by_arp(log: &ArpLog) -> u32 {
    let steady = log.rounds.windows(ARP_ROUNDS).map(|rounds| {
        rounds[0]
            .macs
            .iter()
            .filter(|mac| rounds.iter().all(|round| round.macs.contains(mac)))
            .count()
    });
    let any = usize::from(log.rounds.iter().any(|round| !round.macs.is_empty()));
    steady.max().unwrap_or(0).max(any) as u32
}

/// Stretches in which one station answered every request, µs.
pub(crate) fn arp_spans(log: &ArpLog) -> Vec<(Mac, u64, u64)> {
    let mut done: Vec<(Mac, u64, u64)> = Vec::new();
    let mut running: Vec<(Mac, u64, u64)> = Vec::new();
    for (index, round) in log.rounds.iter().enumerate() {
        let until = log.rounds.get(index + 1).map_or(round.sent_us, |next| next.sent_us);
        let (go_on, ended) = running.drain(..).partition(|(mac, ..)| round.macs.contains(mac));
        done.extend::<Vec<_>>(ended);
        running = go_on;
        for mac in &round.macs {
            match running.iter_mut().find(|(known, ..)| known == mac) {
                Some(span) => span.2 = until,
                None => running.push((*mac, round.sent_us, until)),
            }
        }
    }
    done.extend(running);
    done.sort_by_key(|(mac, from, _)| (*from, *mac));
    done
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::arp::ArpRound;

    fn log_of(rounds: &[&[u8]]) -> ArpLog {
        let rounds = rounds.iter().enumerate().map(|(n, macs)| ArpRound {
            sent_us: n as u64 * 50_000,
            macs: macs.iter().map(|m| Mac([2, 0, 0, 0, 0, *m])).collect(),
        });
        ArpLog {
            rounds: rounds.collect(),
            gratuitous: Vec::new(),
        }
    }

    #[test]
    fn a_handover_is_one_owner_a_split_is_two() {
        assert_eq!(
            max_by_arp(&log_of(&[&[1], &[1], &[1, 2], &[2], &[2]])),
            1,
            "both answer one request"
        );
        assert_eq!(max_by_arp(&log_of(&[&[1], &[1, 2], &[2, 1], &[2]])), 2);
        assert_eq!(max_by_arp(&log_of(&[&[], &[], &[]])), 0);
        let spans = arp_spans(&log_of(&[&[1], &[1], &[], &[2], &[2], &[2]]));
        let short: Vec<_> = spans
            .iter()
            .map(|(m, from, to)| (m.0[5], from / 1000, to / 1000))
            .collect();
        assert_eq!(short, [(1, 0, 100), (2, 150, 250)]);
    }

    #[test]
    fn word_of_hosts() {
        let vip = "10.0.0.200".to_owned();
        let one = std::slice::from_ref(&vip);
        let mut log = OwnerLog::new(vec![vip.clone()]);
        assert_eq!(log.record(Side::First, 0, 500_000, one), (0, vec![(0, true)]));
        assert_eq!(log.record(Side::Second, 10, 90_000, &[]), (10, vec![]));
        assert_eq!(log.owners(0), [Side::First]);
        log.record(Side::Second, 1_000_010, 91_000, one);
        log.record(Side::First, 1_200_000, 501_200, &[]);
        assert_eq!(log.owners(0), [Side::Second]);
        let spans = log.spans(0, 2_000_000);
        assert_eq!(
            (longest_overlap_us(&spans), max_by_word(&spans)),
            (199_990, 1),
            "shorter than the resolution"
        );
        // Made at 3 s, held up for 2 s: it counts for when it was made.
        assert_eq!(
            log.record(Side::Second, 5_000_000, 93_000, &[]),
            (3_000_010, vec![(0, false)])
        );
        log.record(Side::First, 2_700_000, 502_700, one);
        assert_eq!(max_by_word(&log.spans(0, 5_000_000)), 2, "300 ms together");
    }

    proptest! {
        /// However reports come in: a host's own spans never overlap, what it owns in the end is its last word, and
        /// nothing is put after its arrival.
        #[test]
        fn spans_follow_the_word(words in prop::collection::vec((prop::sample::select(&Side::BOTH[..]), 1u64..1000, any::<bool>(), any::<u64>()), 0..60)) {
            let mut log = OwnerLog::new(vec!["v".into()]);
            let (mut at, mut last) = (0, [false; 2]);
            for (host, step, owns, clock) in words {
                at += step;
                last[host] = owns;
                let (made, _) = log.record(host, at, clock, &if owns { vec!["v".to_owned()] } else { vec![] });
                prop_assert!(made <= at);
            }
            prop_assert_eq!(log.owners(0), Side::BOTH.into_iter().filter(|h| last[*h]).collect::<Vec<_>>());
            for host in Side::BOTH {
                let own: Vec<_> = log.spans(0, at).into_iter().filter(|s| s.host == host).collect();
                prop_assert!(own.iter().all(|s| s.from_us <= s.to_us));
                prop_assert!(own.windows(2).all(|w| w[0].to_us <= w[1].from_us));
            }
        }
    }
}
