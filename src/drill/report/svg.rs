//! The timeline as a picture: per scenario what the prober saw, who owned each VIP, and what was done when.
//!
//! Works alone (a white card with its own fonts and colours) and inside the HTML report. Colour is never the only
//! carrier: every bar has a title, failures are hatched, owners are named.

use std::fmt::Write;

use super::text::{duration, escape};
use crate::drill::result::{DrillReport, ScenarioResult, VipResult};
use crate::probe::Seen;

/// Width of everything, user units.
const WIDTH: u64 = 960;
/// Left of the bars.
const LEFT: u64 = 190;
/// Width of the bars.
const PLOT: u64 = WIDTH - LEFT - 24;
/// Height of one bar and the room below it.
const BAR: u64 = 20;
const ROW: u64 = 28;

const NODE_COLOURS: [&str; 2] = ["#2f6fb3", "#8a5fb5"];
const STRANGER: &str = "#b07a1e";
const UNNAMED: &str = "#4d8a5f";

/// The whole report as one picture.
pub fn svg(report: &DrillReport) -> String {
    let mut body = String::new();
    let mut y = 64;
    for scenario in &report.scenarios {
        y = panel(&mut body, report, scenario, y);
    }
    let height = y + 4;
    let mut svg = head(height, &format!("Failover drill of {}", report.pair));
    let _ = writeln!(
        svg,
        "<rect width=\"{WIDTH}\" height=\"{height}\" rx=\"10\" fill=\"#fff\"/>"
    );
    let _ = writeln!(
        svg,
        "<text x=\"24\" y=\"32\" class=\"h\">Failover drill: {}</text><text x=\"24\" y=\"50\" class=\"s\">{} · engine {} · \
         one probe every {} ms · hatched: requests failed</text>",
        escape(&report.pair),
        escape(&report.started),
        escape(&report.engine),
        report.probe_interval_ms
    );
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

/// One scenario's picture alone, without a heading; for the HTML report.
pub(super) fn scenario_svg(report: &DrillReport, scenario: &ScenarioResult) -> String {
    let mut body = String::new();
    let y = rows(&mut body, report, scenario, 22);
    let mut svg = head(y, &format!("{} on {}", scenario.name, scenario.owner_before));
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

fn head(height: u64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n<title>{}</title>\n<style>\
         .h{{font-size:19px;font-weight:600;fill:#16202c}}.n{{font-size:14px;font-weight:600;fill:#16202c}}\
         .s{{font-size:12px;fill:#5a6775}}.l{{font-size:12px;fill:#2b3744}}.b{{font-size:11px;fill:#fff}}\
         .m{{font-size:11px;fill:#2b3744}}</style>\n<defs><pattern id=\"fail\" width=\"6\" height=\"6\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#d64545\"/>\
         <rect width=\"2\" height=\"6\" fill=\"#a82c2c\"/></pattern></defs>\n",
        escape(title)
    )
}

/// A heading and its rows; returns the next free y.
fn panel(svg: &mut String, report: &DrillReport, s: &ScenarioResult, y: u64) -> u64 {
    let (colour, word) = if s.passed {
        ("#2e7d4f", "PASSED")
    } else {
        ("#b3261e", "FAILED")
    };
    let _ = writeln!(
        svg,
        "<line x1=\"24\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#e3e8ee\"/>\n<text x=\"24\" y=\"{}\" class=\"n\">{} on {}</text>\
         <rect x=\"{}\" y=\"{}\" width=\"68\" height=\"20\" rx=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\" class=\"b\" \
         text-anchor=\"middle\" font-weight=\"600\">{word}</text>",
        WIDTH - 24,
        y + 26,
        escape(&s.name),
        escape(&s.owner_before),
        WIDTH - 24 - 68,
        y + 12,
        WIDTH - 24 - 34,
        y + 26,
    );
    let owners = match s.max_owners {
        1 => "1 owner".to_owned(),
        n => format!("{n} owners"),
    };
    let _ = writeln!(
        svg,
        "<text x=\"24\" y=\"{}\" class=\"s\">outage {} of {} allowed · {} of {} requests failed · at most {owners} at once</text>",
        y + 45,
        duration(s.outage_ms),
        duration(s.budget_ms),
        s.failed_requests,
        s.total_requests,
    );
    rows(svg, report, s, y + 76)
}

struct Scale {
    end: u64,
}

impl Scale {
    /// Tenths of a unit are enough for a screen and keep the file small.
    fn x(&self, ms: u64) -> f64 {
        let share = ms.min(self.end) as f64 / self.end.max(1) as f64;
        ((LEFT as f64 + share * PLOT as f64) * 10.0).round() / 10.0
    }
}

/// Bars, marks and axis; `y` is the top of the first bar, 22 units below the marks' labels.
fn rows(svg: &mut String, report: &DrillReport, s: &ScenarioResult, y: u64) -> u64 {
    let scale = Scale {
        end: s.duration_ms.max(1),
    };
    let top = y;
    let mut y = y;
    for vip in &s.vips {
        label(svg, y, &vip.vip);
        for span in &vip.seen {
            let (fill, text, title) = match &span.seen {
                Seen::Node(node) => {
                    let name = if node.is_empty() { "an unnamed node" } else { node };
                    let text = if node.is_empty() { "answered" } else { node };
                    (
                        node_colour(report, node),
                        text.to_owned(),
                        format!("{name} answered {} requests", span.count),
                    )
                }
                Seen::Failed(kind) => (
                    "url(#fail)",
                    String::new(),
                    format!("{} requests failed: {}", span.count, kind.text()),
                ),
            };
            let stretch = Bar {
                from_ms: span.from_ms,
                to_ms: span.to_ms,
                y,
                height: BAR,
                fill,
                text: &text,
                title: &title,
            };
            bar(svg, &scale, &stretch);
        }
        y += ROW;
        y = owners(svg, &scale, report, vip, y);
    }
    let bottom = y;
    marks(svg, &scale, s, top, bottom);
    axis(svg, &scale, bottom);
    bottom + 34
}

/// One thin row for each source and owner.
fn owners(svg: &mut String, scale: &Scale, report: &DrillReport, vip: &VipResult, mut y: u64) -> u64 {
    for (source, says) in [("host", "says it owns it"), ("arp", "answers ARP")] {
        let mut names: Vec<&str> = report.hosts.iter().map(String::as_str).collect();
        for o in vip.ownership.iter().filter(|o| o.source == source) {
            if !names.contains(&o.owner.as_str()) {
                names.push(&o.owner);
            }
        }
        for name in names {
            let spans: Vec<_> = vip
                .ownership
                .iter()
                .filter(|o| o.source == source && o.owner == name)
                .collect();
            if spans.is_empty() {
                continue;
            }
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" class=\"s\" text-anchor=\"end\">{}{}</text>",
                LEFT - 10,
                y + 9,
                escape(&shorten(name)),
                if source == "arp" { " (ARP)" } else { "" }
            );
            for o in spans {
                let title = format!("{name} {says}: {} to {}", duration(o.from_ms), duration(o.to_ms));
                let stretch = Bar {
                    from_ms: o.from_ms,
                    to_ms: o.to_ms,
                    y,
                    height: 10,
                    fill: node_colour(report, name),
                    text: "",
                    title: &title,
                };
                bar(svg, scale, &stretch);
            }
            y += 16;
        }
    }
    y + 8
}

fn label(svg: &mut String, y: u64, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" class=\"l\" text-anchor=\"end\" font-weight=\"600\">{}</text>",
        LEFT - 10,
        y + 14,
        escape(text)
    );
}

/// A stretch of time on a row.
struct Bar<'a> {
    from_ms: u64,
    to_ms: u64,
    /// Its top.
    y: u64,
    height: u64,
    fill: &'a str,
    /// Shown where there is room.
    text: &'a str,
    /// Shown under the mouse.
    title: &'a str,
}

fn bar(svg: &mut String, scale: &Scale, bar: &Bar<'_>) {
    let Bar {
        y, height, fill, text, ..
    } = bar;
    let x = scale.x(bar.from_ms);
    // A short failure must not vanish.
    let width = ((scale.x(bar.to_ms) - x).max(1.5) * 10.0).round() / 10.0;
    let _ = write!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"><title>{}</title></rect>",
        escape(bar.title)
    );
    if !text.is_empty() && width > 8.0 * text.chars().count() as f64 + 12.0 {
        let middle = ((x + width / 2.0) * 10.0).round() / 10.0;
        let _ = write!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" class=\"b\" text-anchor=\"middle\">{}</text>",
            y + 14,
            escape(text)
        );
    }
    svg.push('\n');
}

fn marks(svg: &mut String, scale: &Scale, s: &ScenarioResult, top: u64, bottom: u64) {
    let mut free_from = 0.0;
    for mark in &s.marks {
        let x = scale.x(mark.at_ms);
        let _ = write!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"#16202c\" stroke-width=\"1\" \
             stroke-dasharray=\"3 3\"><title>{} at {}</title></line>",
            top - 4,
            escape(&mark.what),
            duration(mark.at_ms)
        );
        // Labels that would run into the one before are left to the line's title.
        if x >= free_from {
            let _ = write!(
                svg,
                "<text x=\"{x}\" y=\"{}\" class=\"m\">{}</text>",
                top - 8,
                escape(&mark.what)
            );
            free_from = x + 7.0 * mark.what.chars().count() as f64 + 6.0;
        }
        svg.push('\n');
    }
}

fn axis(svg: &mut String, scale: &Scale, y: u64) {
    const STEPS: [u64; 11] = [10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
    let step = STEPS.into_iter().find(|step| scale.end / step <= 12).unwrap_or(600_000);
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#9aa7b4\"/>",
        LEFT + PLOT
    );
    let mut at = 0;
    while at <= scale.end {
        let x = scale.x(at);
        let text = if step >= 1000 {
            format!("{} s", at / 1000)
        } else {
            format!("{at} ms")
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{y}\" y2=\"{}\" stroke=\"#9aa7b4\"/><text x=\"{x}\" y=\"{}\" class=\"s\" \
             text-anchor=\"middle\">{text}</text>",
            y + 4,
            y + 18
        );
        at += step;
    }
}

fn node_colour(report: &DrillReport, node: &str) -> &'static str {
    match report.hosts.iter().position(|h| h == node) {
        Some(index) => NODE_COLOURS[index],
        None if node.is_empty() => UNNAMED,
        None => STRANGER,
    }
}

/// Names too long for the margin keep their beginning.
fn shorten(name: &str) -> String {
    match name.chars().count() {
        0..=18 => name.to_owned(),
        _ => name.chars().take(17).chain(['…']).collect(),
    }
}
