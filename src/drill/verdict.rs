//! From everything observed to a result with a verdict. Pure.

use std::collections::BTreeMap;

use super::owners::{OwnSpan, arp_spans, longest_overlap_us, max_by_arp, max_by_word};
use super::result::{Failback, Mark, Ownership, ScenarioResult, Span, VipResult};
use super::scenario::Scenario;
use crate::inventory::Side;
use crate::probe::arp::ArpLog;
use crate::probe::{Mac, Timeline};

/// What was observed of one VIP.
#[derive(Debug, Clone)]
pub(crate) struct VipEvidence {
    pub(crate) vip: String,
    pub(crate) instance: String,
    pub(crate) probed: String,
    pub(crate) had_to_move: bool,
    /// Host number of the owner before.
    pub(crate) owner_before: Side,
    pub(crate) timeline: Timeline,
    pub(crate) word: Vec<OwnSpan>,
    pub(crate) arp: Option<ArpLog>,
}

/// What was observed in one scenario. Times are µs since the epoch.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) scenario: Scenario,
    pub(crate) hosts: [String; 2],
    /// The host that was broken.
    pub(crate) broken: Side,
    pub(crate) budget_ms: u64,
    pub(crate) fault_us: u64,
    /// Send time of the first answer that shows the move on the last VIP to move.
    pub(crate) moved_us: Option<u64>,
    /// The owner after the fault; `None`: nobody, or not all VIPs on one host.
    pub(crate) owner_after: Option<Side>,
    pub(crate) repair_us: u64,
    pub(crate) repaired: bool,
    /// Send time of the first answer of the final, settled state.
    pub(crate) settled_us: Option<u64>,
    pub(crate) failback_expected: bool,
    /// Host number of the owner in the end, when settled.
    pub(crate) owner_end: Option<Side>,
    pub(crate) end_us: u64,
    pub(crate) vips: Vec<VipEvidence>,
    /// Whose Ethernet address is whose.
    pub(crate) macs: BTreeMap<String, Side>,
    pub(crate) arp: String,
    pub(crate) doubt: Option<String>,
    pub(crate) notes: Vec<String>,
}

fn ms(us: u64) -> u64 {
    us / 1000
}

/// Judges.
pub(crate) fn judge(evidence: Evidence) -> ScenarioResult {
    let e = &evidence;
    let vips: Vec<VipResult> = e.vips.iter().map(|vip| vip_result(e, vip)).collect();
    let overlap_us = e.vips.iter().map(|v| longest_overlap_us(&v.word)).max().unwrap_or(0);
    let (broken, other) = (&e.hosts[e.broken], &e.hosts[e.broken.other()]);
    let reasons = reasons(e, &vips);
    let mut notes = e.notes.clone();
    let skipped: u64 = vips.iter().map(|v| v.skipped_requests).sum();
    if skipped > 0 {
        notes.push(format!(
            "{skipped} probes were not sent because this machine was busy: times are less exact"
        ));
    }
    if !e.failback_expected && e.owner_end == Some(e.broken.other()) {
        notes.push(format!("the VIP stays on {other}: {broken} does not preempt"));
    }
    ScenarioResult {
        name: e.scenario.name().into(),
        passed: reasons.is_empty(),
        outage_ms: outage_ms(&vips),
        budget_ms: e.budget_ms,
        failed_requests: vips.iter().map(|v| v.failed_requests).sum(),
        total_requests: vips.iter().map(|v| v.total_requests).sum(),
        owner_before: broken.clone(),
        owner_after: e.owner_after.map(|i| e.hosts[i].clone()),
        max_owners: max_owners(&vips),
        reasons,
        moved_after_ms: e.moved_us.map(|at| ms(at.saturating_sub(e.fault_us))),
        repaired: e.repaired,
        failback: Failback {
            expected: e.failback_expected,
            owner: e.owner_end.map(|i| e.hosts[i].clone()),
            took_ms: e.settled_us.map(|at| ms(at.saturating_sub(e.repair_us))),
            outage_ms: e
                .vips
                .iter()
                .map(|v| v.timeline.outage_ms_after(e.repair_us))
                .max()
                .unwrap_or(0),
        },
        overlap_ms: overlap_us.div_ceil(1000),
        arp: e.arp.clone(),
        duration_ms: ms(e.end_us),
        marks: marks(e),
        vips,
        notes,
    }
}

/// The longest time without service, over all VIPs.
fn outage_ms(vips: &[VipResult]) -> u64 {
    vips.iter().map(|v| v.outage_ms).max().unwrap_or(0)
}

fn max_owners(vips: &[VipResult]) -> u32 {
    vips.iter().map(|v| v.max_owners).max().unwrap_or(0)
}

/// Why the scenario did not pass; nothing where it did.
fn reasons(e: &Evidence, vips: &[VipResult]) -> Vec<String> {
    let (broken, other) = (&e.hosts[e.broken], &e.hosts[e.broken.other()]);
    let (outage_ms, max_owners) = (outage_ms(vips), max_owners(vips));
    let mut reasons = Vec::new();
    if e.moved_us.is_none() {
        reasons.push(format!("the VIP did not move from {broken} to {other}"));
        reasons.extend(e.doubt.clone());
    }
    if outage_ms > e.budget_ms {
        reasons.push(format!(
            "{outage_ms} ms without service, the budget is {} ms",
            e.budget_ms
        ));
    }
    if vips.iter().any(|v| v.total_requests == 0) {
        reasons.push("a VIP was never probed, so its outage is unknown".into());
    }
    if max_owners > 1 {
        reasons.push(format!("{max_owners} owners of one VIP at once"));
    }
    if !e.repaired {
        reasons.push(format!("{broken} did not recover after the repair"));
    }
    if e.owner_end.is_none() {
        reasons.push(match e.failback_expected {
            true => format!("the VIP did not return to {broken} in time"),
            false => format!("the VIP did not stay on {other} after the repair"),
        });
    }
    reasons
}

/// What happened when, for the chart.
fn marks(e: &Evidence) -> Vec<Mark> {
    let mut marks = vec![Mark {
        at_ms: ms(e.fault_us),
        what: "fault".into(),
    }];
    let mut mark = |at: Option<u64>, what: &str| {
        marks.extend(at.map(|at| Mark {
            at_ms: ms(at),
            what: what.into(),
        }));
    };
    mark(e.moved_us, "moved");
    mark(Some(e.repair_us), "repair");
    mark(e.settled_us, "settled");
    marks
}

fn vip_result(e: &Evidence, vip: &VipEvidence) -> VipResult {
    let spans = vip.timeline.spans().into_iter().map(|s| Span {
        from_ms: ms(s.from_us),
        to_ms: ms(s.to_us),
        count: s.count,
        seen: s.seen,
    });
    let word = vip.word.iter().map(|s| Ownership {
        owner: e.hosts[s.host].clone(),
        source: "host",
        from_ms: ms(s.from_us),
        to_ms: ms(s.to_us),
    });
    let name = |mac: Mac| match e.macs.get(&mac.to_string()) {
        Some(host) => e.hosts[*host].clone(),
        None => mac.to_string(),
    };
    let arp = vip.arp.iter().flat_map(arp_spans).map(|(mac, from, to)| Ownership {
        owner: name(mac),
        source: "arp",
        from_ms: ms(from),
        to_ms: ms(to),
    });
    VipResult {
        vip: vip.vip.clone(),
        instance: vip.instance.clone(),
        probed: vip.probed.clone(),
        had_to_move: vip.had_to_move,
        owner_before: e.hosts[vip.owner_before].clone(),
        outage_ms: vip.timeline.outage_ms(),
        failed_requests: vip.timeline.failed(),
        total_requests: vip.timeline.total(),
        skipped_requests: vip.timeline.skipped,
        answer_ms: vip.timeline.answer_ms(0.5),
        max_owners: max_by_word(&vip.word).max(vip.arp.as_ref().map_or(0, max_by_arp)),
        gratuitous_arps: vip.arp.as_ref().map_or(0, |log| log.gratuitous.len() as u64),
        seen: spans.collect(),
        ownership: word.chain(arp).collect(),
    }
}
