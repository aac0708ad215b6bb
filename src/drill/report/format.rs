//! Which report a file name asks for.

use std::path::Path;

use super::html::html;
use super::junit::junit;
use super::svg::svg;
use crate::drill::result::DrillReport;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_ending() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(of("a.b/drill.HTML"), Some(Format::Html));
        assert_eq!(of("drill.xml"), Some(Format::Junit));
        assert_eq!(of("drill.pdf"), None);
        assert_eq!(of("json"), None);
    }
}
