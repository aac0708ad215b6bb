//! One self-contained page: no script, no font, no image from elsewhere; prints well. The page is `report.html.tera`.

use serde::Serialize;
use tera::Context;

use super::svg::scenario_svg;
use super::template::render;
use super::text::duration;
use crate::drill::result::{DrillReport, ScenarioResult};
use crate::drill::scenario::Scenario;

/// What the page shows of one scenario beside its result.
#[derive(Serialize)]
struct Section<'r> {
    result: &'r ScenarioResult,
    what: &'static str,
    numbers: [Number; 5],
    /// Of the budget that the outage used, in percent, at most 100.
    share: u64,
    picture: String,
    notes: Vec<String>,
}

/// A number and what it counts.
#[derive(Serialize)]
struct Number {
    value: String,
    text: String,
}

/// The whole report as a page.
pub fn html(report: &DrillReport) -> String {
    let sections: Vec<Section<'_>> = report.scenarios.iter().map(|s| section(report, s)).collect();
    let mut page = Context::new();
    page.insert("report", report);
    page.insert("passed", &report.passed());
    page.insert(
        "passed_scenarios",
        &report.scenarios.iter().filter(|s| s.passed).count(),
    );
    page.insert("sections", &sections);
    page.insert("overlap_resolution_ms", &crate::drill::OVERLAP_RESOLUTION_MS);
    page.insert("arp_rounds", &crate::drill::ARP_ROUNDS);
    page.insert("version", env!("CARGO_PKG_VERSION"));
    render("report.html.tera", &page)
}

fn section<'r>(report: &DrillReport, s: &'r ScenarioResult) -> Section<'r> {
    let mut notes = s.notes.clone();
    notes.push(match s.arp.strip_prefix("asked") {
        Some(rest) => format!("ARP asked{rest}"),
        None => s.arp.clone(),
    });
    if s.overlap_ms > 0 {
        notes.push(format!(
            "the hosts' reports of ownership overlapped for {} at most",
            duration(s.overlap_ms)
        ));
    }
    Section {
        result: s,
        what: s.name.parse().map(Scenario::describe).unwrap_or_default(),
        numbers: numbers(s),
        share: (s.outage_ms * 100 / s.budget_ms.max(1)).min(100),
        picture: scenario_svg(report, s),
        notes,
    }
}

fn numbers(s: &ScenarioResult) -> [Number; 5] {
    let moved = s
        .moved_after_ms
        .map_or_else(|| "never".to_owned(), |ms| format!("after {}", duration(ms)));
    let (back, settled) = match (&s.failback.owner, s.failback.took_ms) {
        (Some(owner), Some(took)) => (owner.clone(), format!("settled {} after the repair", duration(took))),
        _ => ("not settled".to_owned(), "after the repair".to_owned()),
    };
    [
        (
            duration(s.outage_ms),
            format!("longest outage, {} allowed", duration(s.budget_ms)),
        ),
        (
            s.failed_requests.to_string(),
            format!("of {} requests failed", s.total_requests),
        ),
        (
            s.owner_after.clone().unwrap_or_else(|| "nobody".to_owned()),
            format!("took over, {moved}"),
        ),
        (back, settled),
        (s.max_owners.to_string(), "owners at once, at most".to_owned()),
    ]
    .map(|(value, text)| Number { value, text })
}
