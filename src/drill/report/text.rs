//! What all reports write alike.

/// Text made safe for XML and HTML, inside elements and attributes. Control characters, which XML 1.0 cannot hold, are
/// replaced.
pub(super) fn escape(text: &str) -> String {
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
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=59_999 => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        _ => format!("{} s", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_three_digits_at_most() {
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
