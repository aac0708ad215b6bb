//! Samples to outages, stints and spans. Pure: no clock, no I/O.
//!
//! All times are microseconds since one epoch that the caller chose, by **send** time: a request counts where the
//! client sent it, not where its answer arrived, so that requests in flight together cannot reorder the story.

use serde::Serialize;

/// Why a probe got no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailKind {
    /// Somebody owns the address and nobody listens on the port (TCP RST at connect).
    Refused,
    /// No route, no neighbour (ICMP unreachable, ARP unanswered).
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Broken,
    /// What came back is not HTTP.
    Garbage,
    /// HTTP status 500 or above, where the VIP gave better ones before.
    ServerError,
    /// Anything else the operating system said.
    Other,
}

impl FailKind {
    /// In words, for people.
    pub fn text(self) -> &'static str {
        match self {
            FailKind::Refused => "connection refused",
            FailKind::Unreachable => "unreachable",
            FailKind::Timeout => "no answer in time",
            FailKind::Broken => "connection broken",
            FailKind::Garbage => "not HTTP",
            FailKind::ServerError => "server error",
            FailKind::Other => "other error",
        }
    }
}

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer; the node that gave it, where it says so.
    Ok {
        /// Value of hapair's response header.
        node: Option<String>,
    },
    /// No usable answer.
    Failed(FailKind),
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When it was sent, µs since the epoch.
    pub sent_us: u64,
    /// How long until answer or failure, µs.
    pub took_us: u64,
    /// What came.
    pub outcome: Outcome,
}

/// A time without service: from the last success before it to the first success after it, both by send time.
///
/// This is the upper bound of what a client can have seen; the true one is shorter by at most two probe intervals.
/// Only a span that holds at least one failed probe is an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Last success before (or the first probe, if there was none), µs.
    pub from_us: u64,
    /// First success after (or the last probe, if there was none), µs.
    pub to_us: u64,
    /// Failed probes inside.
    pub failed: u64,
    /// No success came after it: the real outage is longer.
    pub open: bool,
}

impl Outage {
    /// Length, µs.
    pub fn length_us(&self) -> u64 {
        self.to_us - self.from_us
    }

    /// Length in ms, rounded up.
    pub fn length_ms(&self) -> u64 {
        self.length_us().div_ceil(1000)
    }
}

/// A node's uninterrupted time as the one that answers; failures in between do not end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stint {
    /// Who answered.
    pub node: String,
    /// First answer, by send time, µs.
    pub from_us: u64,
    /// Last answer, by send time, µs.
    pub to_us: u64,
    /// How many answers.
    pub answers: u64,
}

/// Neighbouring samples that saw the same, for pictures and reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// First of them, µs.
    pub from_us: u64,
    /// The next span's first sample (for the last span: its own last sample), µs.
    pub to_us: u64,
    /// How many.
    pub count: u64,
    /// What they saw.
    pub seen: Seen,
}

/// What a span saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Answers of this node; empty when the answers do not say.
    Node(String),
    /// Failures of this kind.
    Failed(FailKind),
}

/// Everything one prober saw of one address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Timeline {
    samples: Vec<Sample>,
    /// Probes that were due and never sent, because too many were in flight or the machine was asleep.
    pub skipped: u64,
}

impl Timeline {
    /// From samples in any order.
    pub fn new(mut samples: Vec<Sample>, skipped: u64) -> Timeline {
        samples.sort_by_key(|s| s.sent_us);
        Timeline { samples, skipped }
    }

    /// By send time.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Probes sent.
    pub fn total(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Probes without a usable answer.
    pub fn failed(&self) -> u64 {
        self.samples
            .iter()
            .filter(|s| matches!(s.outcome, Outcome::Failed(_)))
            .count() as u64
    }

    /// Every outage, in order.
    pub fn outages(&self) -> Vec<Outage> {
        let mut found = Vec::new();
        let mut last_ok: Option<u64> = None;
        let mut current: Option<Outage> = None;
        for sample in &self.samples {
            match sample.outcome {
                Outcome::Ok { .. } => {
                    if let Some(mut outage) = current.take() {
                        outage.to_us = sample.sent_us;
                        outage.open = false;
                        found.push(outage);
                    }
                    last_ok = Some(sample.sent_us);
                }
                Outcome::Failed(_) => {
                    let outage = current.get_or_insert(Outage {
                        from_us: last_ok.unwrap_or(sample.sent_us),
                        to_us: sample.sent_us,
                        failed: 0,
                        open: true,
                    });
                    outage.to_us = sample.sent_us;
                    outage.failed += 1;
                }
            }
        }
        found.extend(current);
        found
    }

    /// The longest outage; the first of equals.
    pub fn worst(&self) -> Option<Outage> {
        self.outages()
            .into_iter()
            .reduce(|a, b| if b.length_us() > a.length_us() { b } else { a })
    }

    /// Length of the longest outage in ms, rounded up; 0 when no probe failed.
    pub fn outage_ms(&self) -> u64 {
        self.worst().map_or(0, |o| o.length_ms().max(1))
    }

    /// The longest outage that ends after `from_us`, in ms, rounded up; 0 when there is none.
    pub fn outage_ms_after(&self, from_us: u64) -> u64 {
        self.outages()
            .iter()
            .filter(|o| o.to_us > from_us)
            .map(|o| o.length_ms().max(1))
            .max()
            .unwrap_or(0)
    }

    /// Who answered, in turn; answers that do not name a node are left out.
    pub fn stints(&self) -> Vec<Stint> {
        let mut stints: Vec<Stint> = Vec::new();
        for sample in &self.samples {
            let Outcome::Ok { node: Some(node) } = &sample.outcome else {
                continue;
            };
            match stints.last_mut() {
                Some(stint) if stint.node == *node => {
                    stint.to_us = sample.sent_us;
                    stint.answers += 1;
                }
                _ => stints.push(Stint {
                    node: node.clone(),
                    from_us: sample.sent_us,
                    to_us: sample.sent_us,
                    answers: 1,
                }),
            }
        }
        stints
    }

    /// How often the answering node changed.
    pub fn owner_changes(&self) -> usize {
        self.stints().len().saturating_sub(1)
    }

    /// Run-length form of all samples; spans touch each other.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for sample in &self.samples {
            let seen = match &sample.outcome {
                Outcome::Ok { node } => Seen::Node(node.clone().unwrap_or_default()),
                Outcome::Failed(kind) => Seen::Failed(*kind),
            };
            if let Some(last) = spans.last_mut() {
                last.to_us = sample.sent_us;
                if last.seen == seen {
                    last.count += 1;
                    continue;
                }
            }
            spans.push(Span {
                from_us: sample.sent_us,
                to_us: sample.sent_us,
                count: 1,
                seen,
            });
        }
        spans
    }

    /// Answer times in ms at a share of the answers (0.5: median, 1.0: slowest); `None` without answers.
    pub fn answer_ms(&self, share: f64) -> Option<f64> {
        let mut took: Vec<u64> = self
            .samples
            .iter()
            .filter(|s| matches!(s.outcome, Outcome::Ok { .. }))
            .map(|s| s.took_us)
            .collect();
        took.sort_unstable();
        let last = took.len().checked_sub(1)?;
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        Some(took[index] as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(at: u64, node: &str) -> Sample {
        Sample {
            sent_us: at,
            took_us: 500,
            outcome: Outcome::Ok {
                node: Some(node.into()),
            },
        }
    }

    fn bad(at: u64) -> Sample {
        Sample {
            sent_us: at,
            took_us: 100,
            outcome: Outcome::Failed(FailKind::Refused),
        }
    }

    #[test]
    fn a_failover_is_one_outage_and_two_stints() {
        let line = Timeline::new(
            vec![
                ok(0, "a"),
                ok(25_000, "a"),
                bad(50_000),
                bad(75_000),
                ok(100_500, "b"),
                ok(125_000, "b"),
            ],
            0,
        );
        assert_eq!(
            line.outages(),
            [Outage {
                from_us: 25_000,
                to_us: 100_500,
                failed: 2,
                open: false
            }],
            "from the last success before to the first success after"
        );
        assert_eq!(
            (line.outage_ms(), line.failed(), line.total(), line.owner_changes()),
            (76, 2, 6, 1)
        );
        let nodes: Vec<_> = line.stints().into_iter().map(|s| (s.node, s.answers)).collect();
        assert_eq!(nodes, [("a".to_owned(), 2), ("b".to_owned(), 2)]);
        assert_eq!(line.outage_ms_after(100_500), 0);
    }

    #[test]
    fn an_outage_without_end_is_open() {
        let line = Timeline::new(vec![ok(0, "a"), bad(20_000), bad(40_000)], 0);
        assert_eq!(
            line.worst(),
            Some(Outage {
                from_us: 0,
                to_us: 40_000,
                failed: 2,
                open: true
            })
        );
    }

    #[test]
    fn nothing_seen_is_no_outage() {
        assert_eq!(Timeline::default().worst(), None);
        assert_eq!(Timeline::new(vec![ok(0, "a"), ok(9_000_000, "a")], 300).outage_ms(), 0);
    }

    proptest! {
        /// For any story: counts add up, outages do not overlap, and no success lies inside one.
        #[test]
        fn outages_hold_exactly_the_failures(story in prop::collection::vec((1u64..50_000, 0u8..4), 0..200)) {
            let mut at = 0;
            let samples: Vec<Sample> = story.iter().map(|(step, what)| {
                at += step;
                match what { 0 => bad(at), 1 => ok(at, "a"), _ => ok(at, "b") }
            }).collect();
            let mut shuffled = samples.clone();
            shuffled.reverse();
            let line = Timeline::new(shuffled, 0);
            let outages = line.outages();
            prop_assert_eq!(outages.iter().map(|o| o.failed).sum::<u64>(), line.failed());
            prop_assert!(outages.windows(2).all(|w| w[0].to_us <= w[1].from_us));
            for sample in &samples {
                let inside = outages.iter().any(|o| o.from_us < sample.sent_us && sample.sent_us < o.to_us);
                if inside {
                    prop_assert!(matches!(sample.outcome, Outcome::Failed(_)));
                }
            }
            let spans = line.spans();
            prop_assert_eq!(spans.iter().map(|s| s.count).sum::<u64>(), line.total());
            prop_assert!(spans.windows(2).all(|w| w[0].to_us == w[1].from_us && w[0].seen != w[1].seen));
            prop_assert_eq!(line.outage_ms() == 0, line.failed() == 0);
        }
    }
}
