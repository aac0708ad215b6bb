//! Problems of an inventory, and how they look.

use std::fmt;
use std::path::{Path, PathBuf};

use super::mask;
use super::source::{Source, Span};
use crate::state::secret::MASK;

/// Widest piece of a line that is shown.
const SHOWN: usize = 110;

/// Everything that is wrong with an inventory, in the order of writing; never empty.
///
/// `Display` shows all of it over several lines, without a final newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryErrors {
    /// In the order of writing.
    pub problems: Vec<Problem>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub path: PathBuf,
    /// Line and column, from 1, the column in characters; `None` when it concerns the file as a whole.
    pub position: Option<(usize, usize)>,
    /// Lower case, no final period; never holds a secret.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The offending line.
    pub snippet: Option<Snippet>,
}

/// A line with a mark under it; secrets in it are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, cropped when it is long.
    pub line: String,
    /// Blanks before the mark, in terminal cells.
    pub indent: usize,
    /// Cells that are marked, at least 1.
    pub width: usize,
}

impl InventoryErrors {
    /// The file could not be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> InventoryErrors {
        let (message, hint) = match error.kind() {
            std::io::ErrorKind::NotFound => (
                "no such inventory".to_owned(),
                "copy inventory.example.yaml to this place and edit it, or name another file with --inventory"
                    .to_owned(),
            ),
            std::io::ErrorKind::IsADirectory => (
                "the inventory is a directory".to_owned(),
                "name the file in it with --inventory".to_owned(),
            ),
            _ => (
                format!("cannot read the inventory: {error}"),
                "check the file's permissions".to_owned(),
            ),
        };
        InventoryErrors {
            problems: vec![Problem {
                path: path.to_owned(),
                position: None,
                message,
                hint: Some(hint),
                snippet: None,
            }],
        }
    }

    /// The file is not text.
    pub(super) fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> InventoryErrors {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let last = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        InventoryErrors {
            problems: vec![Problem {
                path: path.to_owned(),
                position: Some((line, column)),
                message: "the inventory is not UTF-8 text".to_owned(),
                hint: Some("save it as UTF-8".to_owned()),
                snippet: None,
            }],
        }
    }

    /// Problems as collected, located and shown, with every secret masked.
    pub(super) fn located(
        path: &Path,
        source: &Source,
        secrets: &[Span],
        found: Vec<(Span, String, Option<String>)>,
    ) -> InventoryErrors {
        let mut hidden = mask::find(source.text());
        hidden.extend_from_slice(secrets);
        let hidden = merge(hidden);
        let mut found = found;
        found.sort_by_key(|(span, ..)| span.start);
        found.dedup();
        let problems = found
            .into_iter()
            .map(|(span, message, hint)| {
                let (line, column, _) = source.locate(span.start);
                Problem {
                    path: path.to_owned(),
                    position: Some((line, column)),
                    message: one_line(&message),
                    hint: hint.map(|h| one_line(&h)),
                    snippet: Some(snippet(source, span, &hidden)),
                }
            })
            .collect();
        InventoryErrors { problems }
    }
}

impl std::error::Error for InventoryErrors {}

impl fmt::Display for InventoryErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let gutter = self.position.map_or(1, |(line, _)| line.to_string().len());
        write!(f, "\n{:gutter$}--> {}", "", self.path.display())?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if let (Some(snippet), Some((line, _))) = (&self.snippet, self.position) {
            let (indent, width) = (snippet.indent, snippet.width);
            write!(f, "\n{:gutter$} |", "")?;
            write!(f, "\n{line} | {}", snippet.line)?;
            write!(f, "\n{:gutter$} | {:indent$}{}", "", "", "^".repeat(width))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{:gutter$} = hint: {hint}", "")?;
        }
        Ok(())
    }
}

/// Control characters would let a value forge lines of our output or speak to the terminal.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// Sorted and without overlaps.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Terminal cells of a character; East Asian wide ones take two.
fn cells(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The line that holds the start of `span`, with `hidden` parts masked, and the mark under it.
fn snippet(source: &Source, span: Span, hidden: &[Span]) -> Snippet {
    let (_, _, range) = source.locate(span.start);
    // Cells to show, each with whether it belongs to the mark.
    let mut shown: Vec<(char, bool)> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        if let Some(secret) = hidden.iter().find(|s| s.start <= at && at < s.end) {
            let marked = span.start < secret.end && (span.end > at || span.start >= at);
            shown.extend(MASK.chars().map(|c| (c, marked)));
            at = secret.end.min(range.end);
            continue;
        }
        let Some(c) = source.text()[at..].chars().next() else {
            break;
        };
        let visible = if c == '\t' {
            ' '
        } else if c.is_control() {
            '\u{fffd}'
        } else {
            c
        };
        shown.push((visible, span.start <= at && at < span.end));
        at += c.len_utf8();
    }
    let (_, column, _) = source.locate(span.start);
    let first = shown
        .iter()
        .position(|(_, marked)| *marked)
        .unwrap_or_else(|| (column - 1).min(shown.len()));
    let last = shown
        .iter()
        .rposition(|(_, marked)| *marked)
        .map_or(first, |n| n.max(first));
    let crop = if last < SHOWN {
        0
    } else {
        first.saturating_sub(SHOWN / 3)
    };
    let count = |range: &[(char, bool)]| range.iter().map(|(c, _)| cells(*c)).sum::<usize>();
    let tail = (crop + SHOWN).min(shown.len());
    let mut line: String = if crop > 0 { "… ".into() } else { String::new() };
    let lead = line.chars().count();
    line.extend(shown[crop..tail].iter().map(|(c, _)| c));
    let line = if tail < shown.len() {
        format!("{line} …")
    } else {
        line.trim_end().to_owned()
    };
    let marked = if first < shown.len() {
        count(&shown[first..(last + 1).min(tail)])
    } else {
        1
    };
    Snippet {
        line,
        indent: lead + count(&shown[crop..first]),
        width: marked.max(1),
    }
}
