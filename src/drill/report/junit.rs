//! JUnit XML, for what runs drills on a schedule: one test suite, one test case a scenario and host. The file is
//! `report.xml.tera`.

use tera::Context;

use super::template::render;
use crate::drill::result::DrillReport;

/// The whole report as JUnit XML.
pub fn junit(report: &DrillReport) -> String {
    let mut file = Context::new();
    file.insert("report", report);
    file.insert("failures", &report.scenarios.iter().filter(|s| !s.passed).count());
    file.insert(
        "duration_ms",
        &report.scenarios.iter().map(|s| s.duration_ms).sum::<u64>(),
    );
    file.insert("timestamp", report.started.trim_end_matches('Z'));
    render("report.xml.tera", &file)
}
