//! The last bytes of a stream, kept for messages.

/// Keeps the end of what is pushed into it.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    /// Keeps at least the last `limit` bytes, and never more than twice as many.
    pub(super) fn new(limit: usize) -> Tail {
        Tail {
            bytes: Vec::new(),
            limit,
        }
    }

    /// Adds to the end, forgets from the front.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * self.limit {
            self.bytes.drain(..self.bytes.len() - self.limit);
        }
    }

    /// Everything kept, as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The last `count` lines that are not blank, joined by ` | `, control characters dropped, bounded in length.
    pub(super) fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| {
                line.chars()
                    .filter(|c| !c.is_control())
                    .take(300)
                    .collect::<String>()
                    .trim()
                    .to_owned()
            })
            .filter(|line| !line.is_empty())
            .collect();
        lines.drain(..lines.len().saturating_sub(count));
        lines.join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::new(16);
        for _ in 0..1000 {
            tail.push(b"0123456789");
        }
        tail.push(b"\nlast\x07 \xff\n\n");
        assert!(tail.bytes.len() <= 32);
        assert_eq!(tail.last_lines(1), "last \u{fffd}");
    }
}
