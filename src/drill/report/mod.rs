//! A finished drill as text. Deterministic: the same report gives the same bytes.

mod html;
mod junit;
mod svg;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::result::DrillReport;

pub use html::html;
pub use junit::junit;
pub use svg::svg;

/// What `--report FILE` can be, by the file name's ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.json`
    Json,
    /// `.html` or `.htm`
    Html,
    /// `.xml`: JUnit.
    Junit,
    /// `.svg`
    Svg,
}

impl Format {
    /// From a file name; `None` for an ending that is none of these.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Format::Json),
            "html" | "htm" => Some(Format::Html),
            "xml" => Some(Format::Junit),
            "svg" => Some(Format::Svg),
            _ => None,
        }
    }

    /// The report in this form.
    pub fn render(self, report: &DrillReport) -> String {
        match self {
            Format::Json => json(report),
            Format::Html => html(report),
            Format::Junit => junit(report),
            Format::Svg => svg(report),
        }
    }
}

/// The whole report as pretty JSON, with a newline at the end.
pub fn json(report: &DrillReport) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// Text made safe for XML and HTML, inside elements and attributes. Control characters, which XML 1.0 cannot hold, are
/// replaced.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// `850 ms`, `2.31 s`, `75 s`.
fn duration(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=59_999 => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        _ => format!("{} s", ms / 1000),
    }
}

#[cfg(test)]
mod format_tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_by_ending() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(of("a.b/drill.HTML"), Some(Format::Html));
        assert_eq!(of("drill.xml"), Some(Format::Junit));
        assert_eq!(of("drill.pdf"), None);
        assert_eq!(of("json"), None);
        assert_eq!(
            [duration(7), duration(2314), duration(75_900)],
            ["7 ms", "2.31 s", "75 s"]
        );
    }

    proptest! {
        #[test]
        fn escaped_text_cannot_break_out(text in any::<String>()) {
            let safe = escape(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            prop_assert!(!safe.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
