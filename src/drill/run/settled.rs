//! Reads the prober's answers and the hosts' reports together.

use crate::drill::owners::OwnerLog;
use crate::inventory::Side;
use crate::probe::Live;

/// Reads prober and reports together.
pub(super) struct Seen<'a> {
    pub(super) hosts: &'a [String; 2],
    /// VIPs that are to move.
    pub(super) vips: &'a [usize],
    /// Answers in a row.
    pub(super) settled: u64,
}

/// What prober and hosts say at a moment.
#[derive(Clone, Copy)]
pub(super) struct Answers<'a> {
    /// Answers count that were given after this, in µs of the session.
    pub(super) after_us: u64,
    /// By VIP.
    pub(super) live: &'a [Live],
    pub(super) owners: &'a OwnerLog,
}

impl Seen<'_> {
    /// All VIPs are steadily answered by `host`.
    pub(super) fn settled_on(&self, host: Side, answers: Answers<'_>) -> bool {
        self.vips.iter().all(|vip| self.on(*vip, host, answers))
    }

    /// Each VIP by its own host.
    pub(super) fn each_settled_on(&self, ends: &[Side], answers: Answers<'_>) -> bool {
        self.vips
            .iter()
            .zip(ends)
            .all(|(vip, host)| self.on(*vip, *host, answers))
    }

    fn on(&self, vip: usize, host: Side, answers: Answers<'_>) -> bool {
        let Answers { after_us, live, owners } = answers;
        let view = &live[vip];
        // The answers themselves are the best witness; the hosts' word must agree, or two would own it.
        let named = view
            .node
            .as_ref()
            .is_none_or(|n| !self.hosts.contains(n) || *n == self.hosts[host]);
        view.streak >= self.settled && view.since_us > after_us && named && owners.owners(vip) == [host]
    }

    /// Send time of the first answer in the latest streak of the last VIP.
    pub(super) fn since(&self, live: &[Live]) -> u64 {
        self.vips.iter().map(|vip| live[*vip].since_us).max().unwrap_or(0)
    }

    /// The one host that owns all VIPs, if there is one.
    pub(super) fn common_owner(&self, owners: &OwnerLog) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|host| self.vips.iter().all(|vip| owners.owners(*vip) == [*host]))
    }
}
