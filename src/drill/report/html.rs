//! One self-contained page: no script, no font, no image from elsewhere; prints well.

use std::fmt::Write;

use super::svg::scenario_svg;
use super::text::{duration, escape};
use crate::drill::result::{DrillReport, ScenarioResult};
use crate::drill::scenario::Scenario;

const STYLE: &str = "\
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;background:#f3f5f8;color:#16202c;font:15px/1.5 system-ui,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 48px}
header{display:flex;justify-content:space-between;align-items:flex-start;gap:16px;margin-bottom:24px}
h1{font-size:26px;margin:0 0 4px}
h2{font-size:19px;margin:0}
p{margin:4px 0}
.sub{color:#5a6775}
.verdict{border-radius:999px;color:#fff;font-weight:600;padding:4px 16px;white-space:nowrap}
.passed{background:#2e7d4f}.failed{background:#b3261e}
section{background:#fff;border:1px solid #e3e8ee;border-radius:12px;padding:20px 24px;margin-bottom:20px;break-inside:avoid}
.top{display:flex;justify-content:space-between;align-items:flex-start;gap:16px}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0}
.number{background:#f6f8fa;border-radius:8px;padding:10px 14px}
.number b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.number span{color:#5a6775;font-size:13px}
.meter{height:8px;border-radius:4px;background:#e3e8ee;overflow:hidden;margin:0 0 16px}
.meter i{display:block;height:100%}
svg{width:100%;height:auto}
ul{margin:12px 0 0;padding-left:20px}
.reasons{color:#b3261e;font-weight:600}
table{border-collapse:collapse;width:100%;margin-top:12px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid #e3e8ee}
th{color:#5a6775;font-weight:600;font-size:13px}
footer{color:#5a6775;font-size:13px}
@media print{body{background:#fff}main{padding:0}}
";

/// The whole report as a page.
pub fn html(report: &DrillReport) -> String {
    let mut page = String::new();
    let pair = escape(&report.pair);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>Failover drill: {pair}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    let passed = report.scenarios.iter().filter(|s| s.passed).count();
    let _ = write!(
        page,
        "<header><div><h1>Failover drill: {pair}</h1>\n<p class=\"sub\">{} and {} · engine {} · {}</p></div>\n{}</header>\n",
        escape(&report.hosts[0]),
        escape(&report.hosts[1]),
        escape(&report.engine),
        escape(&report.started),
        verdict(
            report.passed(),
            &format!("{passed} of {} passed", report.scenarios.len())
        ),
    );
    for s in &report.scenarios {
        section(&mut page, report, s);
    }
    let _ = write!(
        page,
        "<footer><p>Each VIP was asked every {} ms, whether earlier requests were answered or not. Outage: the longest time \
         between two answers with a failed request in between, by the time of sending, fail-back included. Owners at once: \
         hosts that say they own the address for longer than {} ms together, or stations that both answer {} ARP requests in \
         a row.</p>\n<p>Made by hapair {}.</p></footer>\n</main>\n</body>\n</html>\n",
        report.probe_interval_ms,
        crate::drill::OVERLAP_RESOLUTION_MS,
        crate::drill::ARP_ROUNDS,
        env!("CARGO_PKG_VERSION"),
    );
    page
}

fn verdict(passed: bool, text: &str) -> String {
    format!(
        "<span class=\"verdict {}\">{}</span>",
        if passed { "passed" } else { "failed" },
        escape(text)
    )
}

fn section(page: &mut String, report: &DrillReport, s: &ScenarioResult) {
    let what = s.name.parse().map(Scenario::describe).unwrap_or_default();
    let _ = writeln!(
        page,
        "<section>\n<div class=\"top\"><div><h2>{} on {}</h2><p class=\"sub\">{what}</p></div>{}</div>",
        escape(&s.name),
        escape(&s.owner_before),
        verdict(s.passed, if s.passed { "passed" } else { "failed" }),
    );
    page.push_str("<div class=\"numbers\">\n");
    let after = s.owner_after.as_deref().unwrap_or("nobody");
    let moved = s
        .moved_after_ms
        .map_or_else(|| "never".to_owned(), |ms| format!("after {}", duration(ms)));
    let back = match (&s.failback.owner, s.failback.took_ms) {
        (Some(owner), Some(took)) => (owner.clone(), format!("settled {} after the repair", duration(took))),
        _ => ("not settled".to_owned(), "after the repair".to_owned()),
    };
    number(
        page,
        &duration(s.outage_ms),
        &format!("longest outage, {} allowed", duration(s.budget_ms)),
    );
    number(
        page,
        &s.failed_requests.to_string(),
        &format!("of {} requests failed", s.total_requests),
    );
    number(page, after, &format!("took over, {moved}"));
    number(page, &back.0, &back.1);
    number(page, &s.max_owners.to_string(), "owners at once, at most");
    page.push_str("</div>\n");
    let share = (s.outage_ms * 100 / s.budget_ms.max(1)).min(100);
    let colour = if s.outage_ms <= s.budget_ms {
        "#2e7d4f"
    } else {
        "#b3261e"
    };
    let _ = writeln!(
        page,
        "<div class=\"meter\" title=\"outage against budget: {share} %\"><i style=\"width:{share}%;background:{colour}\"></i></div>"
    );
    page.push_str(&scenario_svg(report, s));
    list(page, "reasons", &s.reasons);
    if s.vips.len() > 1 {
        vips(page, s);
    }
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
    list(page, "sub", &notes);
    page.push_str("</section>\n");
}

fn number(page: &mut String, value: &str, text: &str) {
    let _ = writeln!(
        page,
        "<div class=\"number\"><b>{}</b><span>{}</span></div>",
        escape(value),
        escape(text)
    );
}

fn list(page: &mut String, class: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(page, "<ul class=\"{class}\">");
    for item in items {
        let _ = write!(page, "<li>{}</li>", escape(item));
    }
    page.push_str("</ul>\n");
}

fn vips(page: &mut String, s: &ScenarioResult) {
    page.push_str(
        "<table><tr><th>VIP</th><th>instance</th><th>owner before</th><th>outage</th><th>failed</th><th>requests</th>\
         <th>median answer</th><th>gratuitous ARPs</th></tr>\n",
    );
    for v in &s.vips {
        let _ = writeln!(
            page,
            "<tr><td>{} ({})</td><td>{}</td><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&v.vip),
            escape(&v.probed),
            escape(&v.instance),
            escape(&v.owner_before),
            if v.had_to_move { "" } else { " (bystander)" },
            duration(v.outage_ms),
            v.failed_requests,
            v.total_requests,
            v.answer_ms
                .map_or_else(|| "none".to_owned(), |ms| format!("{ms:.1} ms")),
            v.gratuitous_arps,
        );
    }
    page.push_str("</table>\n");
}
