//! Golden files of a drill made up by hand: one scenario that passes on an active/active pair, one that fails in every
//! way at once. `HAPAIR_UPDATE_GOLDEN=1` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::drill::DrillReport;
use crate::drill::owners::OwnSpan;
use crate::drill::scenario::Scenario;
use crate::drill::verdict::{Evidence, VipEvidence, judge};
use crate::inventory::Side;
use crate::probe::arp::{ArpLog, ArpRound};
use crate::probe::{FailKind, Mac, Outcome, Sample, Timeline};

const A: Mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);
const B: Mac = Mac([0x02, 0, 0, 0, 0, 0x0b]);
const STRANGER: Mac = Mac([0x66, 0, 0, 0, 0, 0x66]);

/// One probe every 25 ms; `story` says from when (ms) what is seen.
fn timeline(story: &[(u64, Outcome)], end_ms: u64) -> Timeline {
    let samples = (0..=end_ms / 25).map(|n| {
        let at = n * 25;
        let outcome = story.iter().rev().find(|(from, _)| *from <= at).unwrap().1.clone();
        Sample {
            sent_us: at * 1000,
            took_us: 800 + n % 7 * 100,
            outcome,
        }
    });
    Timeline::new(samples.collect(), 0)
}

fn node(name: &str) -> Outcome {
    Outcome::Ok {
        node: Some(name.into()),
    }
}

/// One request every 50 ms; `story` says from when (ms) who answers.
fn arp(story: &[(u64, &[Mac])], end_ms: u64) -> ArpLog {
    let rounds = (0..=end_ms / 50).map(|n| ArpRound {
        sent_us: n * 50_000,
        macs: story.iter().rev().find(|(from, _)| *from <= n * 50).unwrap().1.to_vec(),
    });
    ArpLog {
        rounds: rounds.collect(),
        gratuitous: vec![(2_810_000, B), (2_811_000, B)],
    }
}

fn word(spans: &[(Side, u64, u64)]) -> Vec<OwnSpan> {
    spans
        .iter()
        .map(|(host, from, to)| OwnSpan {
            host: *host,
            from_us: from * 1000,
            to_us: to * 1000,
        })
        .collect()
}

fn evidence(scenario: Scenario) -> Evidence {
    Evidence {
        scenario,
        hosts: ["nginx-master".into(), "nginx-backup".into()],
        broken: Side::First,
        budget_ms: 3500,
        fault_us: 500_000,
        moved_us: Some(2_825_000),
        owner_after: Some(Side::Second),
        repair_us: 3_400_000,
        repaired: true,
        settled_us: Some(6_550_000),
        failback_expected: true,
        owner_end: Some(Side::First),
        end_us: 7_100_000,
        vips: vec![
            VipEvidence {
                vip: "192.168.0.200".into(),
                instance: "VI_1".into(),
                probed: "http:80".into(),
                had_to_move: true,
                owner_before: Side::First,
                timeline: timeline(
                    &[
                        (0, node("nginx-master")),
                        (525, Outcome::Failed(FailKind::Refused)),
                        (2600, Outcome::Failed(FailKind::Timeout)),
                        (2825, node("nginx-backup")),
                        (6525, Outcome::Failed(FailKind::Broken)),
                        (6550, node("nginx-master")),
                    ],
                    7100,
                ),
                word: word(&[
                    (Side::First, 0, 2790),
                    (Side::Second, 2800, 6531),
                    (Side::First, 6530, 7100),
                ]),
                arp: Some(arp(&[(0, &[A]), (2800, &[B]), (6500, &[A, B]), (6550, &[A])], 7100)),
            },
            VipEvidence {
                vip: "192.168.0.210".into(),
                instance: "VI_2".into(),
                probed: "tcp:443".into(),
                had_to_move: false,
                owner_before: Side::Second,
                timeline: timeline(&[(0, Outcome::Ok { node: None })], 7100),
                word: word(&[(Side::Second, 0, 7100)]),
                arp: None,
            },
        ],
        macs: BTreeMap::from([(A.to_string(), Side::First), (B.to_string(), Side::Second)]),
        arp: "asked on eth0; ARP unavailable: needs root (CAP_NET_RAW)".into(),
        doubt: None,
        notes: vec![],
    }
}

fn report() -> DrillReport {
    let passed = evidence(Scenario::NginxStop);
    let mut failed = evidence(Scenario::VrrpStop);
    failed.budget_ms = 2261;
    failed.moved_us = None;
    failed.owner_after = None;
    failed.repaired = false;
    failed.settled_us = None;
    failed.owner_end = None;
    failed.vips.truncate(1);
    failed.vips[0].word = word(&[(Side::First, 0, 7100), (Side::Second, 2800, 7100)]);
    failed.vips[0].arp = Some(arp(&[(0, &[A]), (1000, &[A, B, STRANGER])], 7100));
    failed.vips[0].timeline = timeline(
        &[(0, node("nginx-master")), (525, Outcome::Failed(FailKind::Unreachable))],
        7100,
    );
    failed.vips[0].timeline.skipped = 4;
    failed.notes = vec!["a note with <b>markup</b> & \"quotes\"".into()];
    DrillReport {
        pair: "edge".into(),
        engine: "keepalived".into(),
        started: "2026-11-22T16:49:52Z".into(),
        hosts: ["nginx-master".into(), "nginx-backup".into()],
        probe_interval_ms: 25,
        scenarios: vec![judge(passed), judge(failed)],
    }
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/drill")
        .join(name);
    if std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if wanted != text {
        let diff = similar::TextDiff::from_lines(&wanted, text).unified_diff().to_string();
        panic!("{name} differs (HAPAIR_UPDATE_GOLDEN=1 writes it anew):\n{diff}");
    }
}

#[test]
fn every_format() {
    let report = report();
    golden("report.json", &json(&report));
    golden("report.xml", &junit(&report));
    golden("report.svg", &svg(&report));
    // The page names the version that made it.
    golden(
        "report.html",
        &html(&report).replace(env!("CARGO_PKG_VERSION"), "VERSION"),
    );
}

/// What the pictures rest on, spelled out, so that nobody waves a wrong golden file through.
#[test]
fn the_verdicts_behind_them() {
    let report = report();
    let [good, bad] = &report.scenarios[..] else {
        panic!("two scenarios")
    };
    assert!(good.passed && !bad.passed && !report.passed());
    assert_eq!((good.outage_ms, good.failed_requests), (2325, 93), "from 500 to 2825");
    assert_eq!(
        (good.max_owners, good.overlap_ms),
        (1, 1),
        "one shared ARP request and 1 ms of overlap are a hand-over"
    );
    assert_eq!((good.failback.outage_ms, good.failback.took_ms), (50, Some(3150)));
    assert_eq!(good.moved_after_ms, Some(2325));
    assert_eq!(bad.max_owners, 3, "a stranger counts");
    assert_eq!(
        bad.reasons,
        [
            "the VIP did not move from nginx-master to nginx-backup",
            "6600 ms without service, the budget is 2261 ms",
            "3 owners of one VIP at once",
            "nginx-master did not recover after the repair",
            "the VIP did not return to nginx-master in time",
        ]
    );
    let strangers: Vec<_> = bad.vips[0]
        .ownership
        .iter()
        .filter(|o| o.owner == STRANGER.to_string())
        .collect();
    assert_eq!(strangers.len(), 1);
}

/// Every tag that opens is closed, attributes are quoted: enough of a parser to see a broken file.
#[test]
fn xml_is_well_formed() {
    let report = report();
    for text in [svg(&report), junit(&report)] {
        let mut open: Vec<String> = Vec::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find('<') {
            assert!(!rest[..start].contains('>'), "stray `>` before {}", &rest[start..]);
            let end = rest.find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.starts_with('?') && !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().unwrap_or_default().to_owned());
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
