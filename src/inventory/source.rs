//! The inventory's text, with lines and columns.

use std::ops::Range;

/// A place in the text, in bytes. May be empty: then it is a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span {
            start,
            end: end.max(start),
        }
    }
}

/// Text that knows where its lines start.
#[derive(Debug)]
pub(super) struct Source {
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes the text over; a byte order mark is dropped, because the parser's offsets do not count it.
    pub(super) fn new(text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Source { text, line_starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a span; empty when it does not lie on character boundaries.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Index of the line that holds this byte, from 0.
    fn line_index(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Bytes of a line (from 0) without its end.
    fn line_range(&self, index: usize) -> Range<usize> {
        let start = self.line_starts.get(index).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let end = end.max(start);
        if self.text[start..end].ends_with('\r') {
            start..end - 1
        } else {
            start..end
        }
    }

    /// Line and column of a byte, both from 1, the column in characters; and the bytes of that line.
    pub(super) fn locate(&self, at: usize) -> (usize, usize, Range<usize>) {
        let at = self.floor(at.min(self.text.len()));
        let index = self.line_index(at);
        let range = self.line_range(index);
        let column = self.text[range.start..at.max(range.start)].chars().count() + 1;
        (index + 1, column, range)
    }

    /// The byte at a line and column, both from 1; past the end of the line, its end.
    pub(super) fn at(&self, line: usize, column: usize) -> usize {
        let range = self.line_range(line.saturating_sub(1));
        self.text[range.clone()]
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(range.end, |(offset, _)| range.start + offset)
    }

    /// The nearest character boundary at or before this byte.
    fn floor(&self, mut at: usize) -> usize {
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
