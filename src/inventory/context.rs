//! What every check needs: a place to put problems.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::InventoryErrors;
use super::grammar::Grammar;
use super::node::{Value, YamlNode};
use super::source::{Source, Span};
use super::{mask, suggest};
use crate::state::secret::MASK;

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            span: self.span,
        }
    }
}

/// Collects problems while the document is read.
#[derive(Debug)]
pub(super) struct Context {
    /// Relative paths start here.
    pub(super) dir: PathBuf,
    problems: RefCell<Vec<(Span, String, Option<String>)>>,
    secrets: RefCell<Vec<Span>>,
}

impl Context {
    pub(super) fn new(path: &Path) -> Context {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        Context {
            dir,
            problems: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// Notes a problem.
    pub(super) fn error(&self, span: Span, message: impl Into<String>) {
        self.problems.borrow_mut().push((span, message.into(), None));
    }

    /// Notes a problem and what to do about it.
    pub(super) fn error_hint(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.problems
            .borrow_mut()
            .push((span, message.into(), Some(hint.into())));
    }

    /// Never to be shown.
    pub(super) fn hide(&self, span: Span) {
        self.secrets.borrow_mut().push(span);
    }

    /// Whether anything was found so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Everything found.
    pub(super) fn into_errors(self, path: &Path, source: &Source) -> InventoryErrors {
        InventoryErrors::located(path, source, &self.secrets.into_inner(), self.problems.into_inner())
    }

    /// The text of a scalar.
    pub(super) fn text<'a>(&self, node: &'a YamlNode, what: &str) -> Option<At<&'a str>> {
        match &node.value {
            Value::Scalar { text, .. } => Some(At {
                value: text,
                span: node.span,
            }),
            Value::Null => {
                self.error_hint(
                    node.span,
                    format!("{what} has no value"),
                    "write a value, or take the key out",
                );
                None
            }
            other => {
                self.error(
                    node.span,
                    format!("{what} must be a single value, not {}", other.kind()),
                );
                None
            }
        }
    }

    /// A string of the given grammar.
    pub(super) fn word(&self, node: &YamlNode, what: &str, grammar: &Grammar) -> Option<At<String>> {
        let text = self.text(node, what)?;
        if let Err(hint) = grammar.check(text.value) {
            self.error_hint(
                text.span,
                format!("{what} is not {}: {}", grammar.name, quote(text.value)),
                hint,
            );
            return None;
        }
        Some(text.map(str::to_owned))
    }

    /// A whole number.
    pub(super) fn integer(&self, node: &YamlNode, what: &str, range: RangeInclusive<i64>) -> Option<At<i64>> {
        let text = self.text(node, what)?;
        let quoted = matches!(node.value, Value::Scalar { quoted: true, .. });
        let digits = text.value.strip_prefix(['-', '+']).unwrap_or(text.value);
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if quoted || !whole {
            let hint = if quoted {
                "write it without quotes".to_owned()
            } else {
                between(&range)
            };
            self.error_hint(
                text.span,
                format!("{what} must be a whole number, not {}", quote(text.value)),
                hint,
            );
            return None;
        }
        if digits.len() > 1 && digits.starts_with('0') {
            let message = format!("{what} must not start with 0: {}", text.value);
            self.error_hint(text.span, message, "some programs read such a number as octal");
            return None;
        }
        match text.value.parse::<i64>() {
            Ok(number) if range.contains(&number) => Some(At {
                value: number,
                span: text.span,
            }),
            _ => {
                self.error(
                    text.span,
                    format!("{what} must be {}, not {}", between(&range), shorten(text.value)),
                );
                None
            }
        }
    }

    /// A number that may have decimals.
    pub(super) fn real(&self, node: &YamlNode, what: &str, range: RangeInclusive<f64>) -> Option<At<f64>> {
        let text = self.text(node, what)?;
        let quoted = matches!(node.value, Value::Scalar { quoted: true, .. });
        let plain = text
            .value
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        match text.value.parse::<f64>() {
            Ok(number) if plain && !quoted && range.contains(&number) => Some(At {
                value: number,
                span: text.span,
            }),
            Ok(_) if plain && !quoted => {
                let (low, high) = (range.start(), range.end());
                self.error(
                    text.span,
                    format!("{what} must be between {low} and {high}, not {}", text.value),
                );
                None
            }
            _ => {
                let message = format!("{what} must be a number, not {}", quote(text.value));
                self.error_hint(text.span, message, "seconds, as in 2 or 0.5, without quotes");
                None
            }
        }
    }

    /// `true` or `false`; YAML's old `yes`, `no`, `on` and `off` count too.
    pub(super) fn flag(&self, node: &YamlNode, what: &str) -> Option<At<bool>> {
        let text = self.text(node, what)?;
        let quoted = matches!(node.value, Value::Scalar { quoted: true, .. });
        let value = match text.value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" if !quoted => true,
            "false" | "no" | "off" if !quoted => false,
            _ => {
                self.error(
                    text.span,
                    format!("{what} must be true or false, not {}", quote(text.value)),
                );
                return None;
            }
        };
        Some(At { value, span: text.span })
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(&self, node: &YamlNode, what: &str, choices: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(At {
                value: value.clone(),
                span: text.span,
            });
        }
        let words = choices.iter().map(|(word, _)| *word);
        let known = join(words.clone(), "or");
        let message = format!("{what} must be {known}, not {}", quote(text.value));
        match suggest::nearest(text.value, words) {
            Some(near) => self.error_hint(text.span, message, format!("did you mean {near}?")),
            None => self.error(text.span, message),
        }
        None
    }

    /// The items of a list.
    pub(super) fn list<'a>(&self, node: &'a YamlNode, what: &str) -> Option<At<&'a [YamlNode]>> {
        match &node.value {
            Value::List(items) => Some(At {
                value: items,
                span: node.span,
            }),
            Value::Null => {
                self.error_hint(
                    node.span,
                    format!("{what} has no value"),
                    "write a list, or take the key out",
                );
                None
            }
            other => {
                let message = format!("{what} must be a list, not {}", other.kind());
                self.error_hint(node.span, message, format!("as in {what}: [a, b]"));
                None
            }
        }
    }

    /// The items of a list of strings; those that are wrong are reported and left out.
    pub(super) fn words(&self, node: &YamlNode, what: &str, grammar: &Grammar) -> Option<At<Vec<At<String>>>> {
        let items = self.list(node, what)?;
        Some(items.map(|items| {
            items
                .iter()
                .filter_map(|n| self.word(n, &format!("an item of {what}"), grammar))
                .collect()
        }))
    }
}

/// A value of the operator's for a message: in quotes, on one line, not too long, and without a password in a URL.
pub(super) fn quote(text: &str) -> String {
    let mut safe = String::new();
    let mut at = 0;
    for secret in mask::url_passwords(text) {
        safe.push_str(text.get(at..secret.start).unwrap_or_default());
        safe.push_str(MASK);
        at = secret.end;
    }
    safe.push_str(text.get(at..).unwrap_or_default());
    format!("{:?}", shorten(&safe))
}

/// At most 60 characters of it.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `between 1 and 255`.
fn between(range: &RangeInclusive<i64>) -> String {
    format!("between {} and {}", range.start(), range.end())
}

/// `a, b or c`.
pub(super) fn join<'a>(words: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., tail] => format!("{} {last} {tail}", head.join(", ")),
    }
}
