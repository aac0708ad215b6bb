//! No value may break out of the file it is rendered into.
//!
//! The inventory's validation refuses such values with line and column; this is the second fence, right where the
//! values meet the files, and it also covers what operators' own templates do with them.

/// What a value is about to become part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// One word of keepalived.conf: no white space, quotes, braces, comment or variable signs.
    KeepalivedWord,
    /// The inside of a double-quoted string in keepalived.conf.
    KeepalivedQuoted,
    /// One argument of an nginx directive.
    NginxWord,
    /// Several arguments of one nginx directive: as [`Syntax::NginxWord`], with blanks.
    NginxWords,
    /// The value of a shell assignment, unquoted.
    ShellWord,
    /// One line of an ini file.
    IniLine,
}

impl Syntax {
    /// For messages.
    pub(super) fn format(self) -> &'static str {
        match self {
            Syntax::KeepalivedWord => "a word of keepalived.conf",
            Syntax::KeepalivedQuoted => "a quoted string of keepalived.conf",
            Syntax::NginxWord | Syntax::NginxWords => "nginx's configuration",
            Syntax::ShellWord => "a shell assignment",
            Syntax::IniLine => "a line of an ini file",
        }
    }

    /// Whether this character would end, extend or comment out what surrounds it.
    fn refuses(self, c: char) -> bool {
        if c.is_control() {
            return true;
        }
        match self {
            Syntax::KeepalivedWord => c.is_whitespace() || "\"'{}!#\\$".contains(c),
            Syntax::KeepalivedQuoted => "\"\\".contains(c),
            Syntax::NginxWord => c.is_whitespace() || "\"';{}#\\$".contains(c),
            Syntax::NginxWords => "\"';{}#\\$".contains(c),
            Syntax::ShellWord => !(c.is_ascii_alphanumeric() || "._-:/%@+,".contains(c)),
            Syntax::IniLine => false,
        }
    }
}

/// The first character of `value` that must not stand in this place, made visible.
pub(super) fn offender(syntax: Syntax, value: &str) -> Option<String> {
    value.chars().find(|c| syntax.refuses(*c)).map(|c| match c {
        ' ' => "a blank".to_owned(),
        '\n' => "a newline".to_owned(),
        c if c.is_control() => format!("control character U+{:04X}", c as u32),
        c => format!("'{c}'"),
    })
}

/// Quotes a word for `sh`: one pair of single quotes, whatever is inside.
pub(super) fn sh_quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Looks for control characters in every string of a view; returns the path of the first and the character.
///
/// Views hold no multi-line values: those files are not templates.
pub(super) fn control_character(path: &str, value: &serde_json::Value) -> Option<(String, String)> {
    use serde_json::Value;
    match value {
        Value::String(text) => text
            .chars()
            .find(|c| c.is_control())
            .map(|c| (path.to_owned(), format!("control character U+{:04X}", c as u32))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| control_character(&format!("{path}[{i}]"), item)),
        Value::Object(map) => map.iter().find_map(|(key, item)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            control_character(&path, item)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quoting_survives_any_text(text in "[^\u{0}]{0,40}") {
            // The shell's own rule, read backwards: outside quotes only \' may occur.
            let quoted = sh_quote(&text);
            let mut out = String::new();
            let mut inside = false;
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\'' => inside = !inside,
                    '\\' if !inside => out.push(chars.next().unwrap()),
                    c => { prop_assert!(inside); out.push(c) }
                }
            }
            prop_assert!(!inside);
            prop_assert_eq!(out, text);
        }

        #[test]
        fn accepted_words_hold_nothing_that_ends_a_word(text in ".{0,20}") {
            if offender(Syntax::KeepalivedWord, &text).is_none() {
                let ends_word = text.contains(|c: char| c.is_whitespace() || "{}#!\"".contains(c));
                prop_assert!(!ends_word);
            }
            if offender(Syntax::NginxWords, &text).is_none() {
                let ends_directive = text.contains([';', '{', '}', '\n', '#']);
                prop_assert!(!ends_directive);
            }
        }
    }

    #[test]
    fn nested_control_characters_are_found() {
        let view = serde_json::json!({"a": [{"b": "fine"}, {"b": "two\nlines"}]});
        assert_eq!(
            control_character("", &view),
            Some(("a[1].b".into(), "control character U+000A".into()))
        );
    }
}
