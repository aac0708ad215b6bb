//! What a drill found out: plain data, all that reports are made of.

use serde::Serialize;

use crate::probe::Seen;

/// A whole drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrillReport {
    /// Name of the pair.
    pub pair: String,
    /// Engine of the inventory.
    pub engine: String,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// Both hosts, in the inventory's order.
    pub hosts: [String; 2],
    /// ms between two probes of one VIP: the grain of every time below.
    pub probe_interval_ms: u64,
    /// In order of running; one entry for each scenario and host that owned something.
    pub scenarios: Vec<ScenarioResult>,
}

impl DrillReport {
    /// Every scenario passed, and there was at least one.
    pub fn passed(&self) -> bool {
        !self.scenarios.is_empty() && self.scenarios.iter().all(|s| s.passed)
    }
}

/// One fault, its repair, and what the prober saw. Times are ms since probing began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioResult {
    /// `nginx-stop`.
    pub name: String,
    /// The verdict: moved, within budget, repaired, back where it belongs, never two owners.
    pub passed: bool,
    /// Longest time without service over all VIPs, fail-back included.
    pub outage_ms: u64,
    /// Most that passes.
    pub budget_ms: u64,
    /// Requests without a usable answer, over all VIPs.
    pub failed_requests: u64,
    /// Requests sent, over all VIPs.
    pub total_requests: u64,
    /// Who owned the VIP when the fault was injected.
    pub owner_before: String,
    /// Who owned it after the fault; `None`: nobody did in time.
    pub owner_after: Option<String>,
    /// Most stations that owned one VIP at once (see the module for what counts).
    pub max_owners: u32,
    /// Why it did not pass; empty when it did.
    pub reasons: Vec<String>,
    /// From the fault to the first answer of the new owner that others followed; `None`: it did not move.
    pub moved_after_ms: Option<u64>,
    /// The fault was undone, and the host said that nginx and the engine run again.
    pub repaired: bool,
    /// What happened after the repair.
    pub failback: Failback,
    /// Longest overlap of two owners by the hosts' own word, also when too short to count.
    pub overlap_ms: u64,
    /// Where ARP was asked: the interface; else why not.
    pub arp: String,
    /// How long it all took, from the start of probing.
    pub duration_ms: u64,
    /// Each probed VIP of the pair.
    pub vips: Vec<VipResult>,
    /// What was done and when.
    pub marks: Vec<Mark>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// What happened after the repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failback {
    /// The VIP was to return (preemption) or to stay where it went.
    pub expected: bool,
    /// Who owned it in the end; `None`: it was not settled in time.
    pub owner: Option<String>,
    /// From the repair until the VIP was settled again.
    pub took_ms: Option<u64>,
    /// Longest time without service after the repair began.
    pub outage_ms: u64,
}

/// One probed VIP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VipResult {
    /// Address without prefix.
    pub vip: String,
    /// Its instance.
    pub instance: String,
    /// `http` or `tcp`, with port: `http:80`.
    pub probed: String,
    /// The broken host owned it: it had to move.
    pub had_to_move: bool,
    /// Owner before, by the hosts' word.
    pub owner_before: String,
    /// Longest time without service.
    pub outage_ms: u64,
    /// Requests without a usable answer.
    pub failed_requests: u64,
    /// Requests sent.
    pub total_requests: u64,
    /// Due requests that were not sent, because this machine was too busy.
    pub skipped_requests: u64,
    /// Median time of an answer, ms.
    pub answer_ms: Option<f64>,
    /// Most stations that owned it at once.
    pub max_owners: u32,
    /// Gratuitous ARPs heard for it.
    pub gratuitous_arps: u64,
    /// What the prober saw, run-length.
    pub seen: Vec<Span>,
    /// When which host owned it, by the hosts' word; or which station, by ARP.
    pub ownership: Vec<Ownership>,
}

/// Neighbouring probes that saw the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// From, ms.
    pub from_ms: u64,
    /// Until, ms.
    pub to_ms: u64,
    /// How many probes.
    pub count: u64,
    /// What they saw.
    pub seen: Seen,
}

/// One owner's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ownership {
    /// Host name; for a station that is none of the hosts, its Ethernet address.
    pub owner: String,
    /// `host`: the host's word. `arp`: its answers.
    pub source: &'static str,
    /// From, ms.
    pub from_ms: u64,
    /// Until, ms.
    pub to_ms: u64,
}

/// Something done at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// ms.
    pub at_ms: u64,
    /// `fault`, `moved`, `repair`, `settled`.
    pub what: String,
}
