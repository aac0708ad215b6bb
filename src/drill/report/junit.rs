//! JUnit XML, for what runs drills on a schedule.

use std::fmt::Write;

use super::text::{duration, escape};
use crate::drill::result::{DrillReport, ScenarioResult};

/// One test suite, one test case a scenario and host.
pub fn junit(report: &DrillReport) -> String {
    let failures = report.scenarios.iter().filter(|s| !s.passed).count();
    let time: u64 = report.scenarios.iter().map(|s| s.duration_ms).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        xml,
        "  <testsuite name=\"hapair failover {}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" \
         time=\"{}\" timestamp=\"{}\" hostname=\"{}\">",
        escape(&report.pair),
        report.scenarios.len(),
        seconds(time),
        escape(report.started.trim_end_matches('Z')),
        escape(&report.hosts.join(" + ")),
    );
    for scenario in &report.scenarios {
        case(&mut xml, report, scenario);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, report: &DrillReport, s: &ScenarioResult) {
    let _ = writeln!(
        xml,
        "    <testcase classname=\"hapair.failover.{}\" name=\"{} on {}\" time=\"{}\">",
        escape(&report.pair),
        escape(&s.name),
        escape(&s.owner_before),
        seconds(s.duration_ms),
    );
    let _ = writeln!(xml, "      <properties>");
    let owner_after = s.owner_after.clone().unwrap_or_default();
    for (name, value) in [
        ("outage_ms", s.outage_ms.to_string()),
        ("budget_ms", s.budget_ms.to_string()),
        ("failed_requests", s.failed_requests.to_string()),
        ("total_requests", s.total_requests.to_string()),
        ("owner_before", s.owner_before.clone()),
        ("owner_after", owner_after),
        ("max_owners", s.max_owners.to_string()),
    ] {
        let _ = writeln!(xml, "        <property name=\"{name}\" value=\"{}\"/>", escape(&value));
    }
    let _ = writeln!(xml, "      </properties>");
    if !s.passed {
        let first = s.reasons.first().map(String::as_str).unwrap_or("failed");
        let _ = writeln!(
            xml,
            "      <failure type=\"failover\" message=\"{}\">{}</failure>",
            escape(first),
            escape(&s.reasons.join("\n")),
        );
    }
    let mut out = format!(
        "outage {} of {} allowed, {} of {} requests failed",
        duration(s.outage_ms),
        duration(s.budget_ms),
        s.failed_requests,
        s.total_requests
    );
    for note in &s.notes {
        let _ = write!(out, "\n{note}");
    }
    let _ = writeln!(xml, "      <system-out>{}</system-out>\n    </testcase>", escape(&out));
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
