//! YAML as a tree that remembers where everything was written.
//!
//! A tree rather than typed structs, because a typed reader stops at its first error, and because `name: no`,
//! `auth_pass: 0123` and `12:30` must be read as they were written and not as what YAML makes of them: the schema
//! decides what a scalar is, not its looks.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Error, Location, Spanned};

use super::source::{Source, Span};

/// One node of the document.
#[derive(Debug, Clone)]
pub(super) struct YamlNode {
    pub(super) value: Value,
    /// Where the value was written; for an alias, where its anchor stands.
    pub(super) span: Span,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as written, unquoted and unescaped.
    Scalar {
        text: String,
        /// In quotes, so it cannot be a number or a truth value.
        quoted: bool,
    },
    /// In order.
    List(Vec<YamlNode>),
    /// In order of writing.
    Map(Vec<(YamlNode, YamlNode)>),
}

impl Value {
    /// How to call it in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Why a text is not a YAML document we can read.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Parses the document. A duplicate key does not stop the reading: the first one wins and the problem comes along.
pub(super) fn parse(source: &Source) -> (Option<YamlNode>, Vec<NotYaml>) {
    match read(source, DuplicateKeyPolicy::Error) {
        Ok(node) => (Some(node), Vec::new()),
        Err(error) => {
            let duplicate = matches!(error.without_snippet(), Error::DuplicateMappingKey { .. });
            let problems = explain(source, &error);
            let rest = if duplicate {
                read(source, DuplicateKeyPolicy::FirstWins).ok()
            } else {
                None
            };
            (rest, problems)
        }
    }
}

fn read(source: &Source, duplicate_keys: DuplicateKeyPolicy) -> Result<YamlNode, Error> {
    let options = serde_yaml::options! {
        duplicate_keys: duplicate_keys,
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    let raw: Raw = serde_yaml::from_str_with_options(source.text(), options)?;
    Ok(raw.settle(source))
}

/// A location of the parser as a span of ours.
fn span(source: &Source, location: &Location) -> Span {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) => {
            let limit = source.text().len();
            let start = usize::try_from(start).unwrap_or(limit).min(limit);
            Span::new(
                start,
                start.saturating_add(usize::try_from(len).unwrap_or(0)).min(limit),
            )
        }
        _ => {
            let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let start = source.at(number(location.line()), number(location.column()));
            Span::new(start, start)
        }
    }
}

/// Turns the parser's error into ours. Its text is used only where it cannot hold a value of the document.
fn explain(source: &Source, error: &Error) -> Vec<NotYaml> {
    let error = error.without_snippet();
    let at = error.location().map_or(Span::new(0, 0), |l| span(source, &l));
    let full = error.to_string();
    let text = full.split(" at line ").next().unwrap_or_default().to_owned();
    let one = |message: String, hint: Option<&str>| {
        vec![NotYaml {
            span: at,
            message,
            hint: hint.map(str::to_owned),
        }]
    };
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let name = key.clone().unwrap_or_default();
            one(format!("duplicate key {name}"), Some("keep one of the two"))
        }
        Error::MultipleDocuments { .. } => one(
            "more than one document in the file".into(),
            Some("one file describes one pair: remove the `---`"),
        ),
        Error::Budget { .. } => one(
            "the file is too large or too deeply nested for an inventory".into(),
            None,
        ),
        Error::Eof { .. } => one("the file ends too early".into(), None),
        _ => {
            let tabs = tab_lines(source, at);
            if !tabs.is_empty() {
                return tabs;
            }
            let hint = if text.contains("mapping values") {
                Some("a value that contains `: ` needs quotes; else check the indentation of this line")
            } else if text.contains("unexpected character") || text.contains("unknown anchor") {
                Some("a value that starts with one of * & ! @ % ` needs quotes")
            } else if text.contains("unclosed") {
                Some("it is opened here and never closed")
            } else {
                Some("check the indentation of this line and of the one before it")
            };
            one(lower_first(&text), hint)
        }
    }
}

/// Lines whose indentation holds a tab, where the parser stumbled at or just before one.
fn tab_lines(source: &Source, at: Span) -> Vec<NotYaml> {
    let (stumbled, _, _) = source.locate(at.start);
    let mut problems = Vec::new();
    let mut start = 0;
    for (index, line) in source.text().split('\n').enumerate() {
        let body = line.trim_start_matches([' ', '\t']);
        let indent = &line[..line.len() - body.len()];
        if let Some(tab) = indent.find('\t')
            && !body.trim_end().is_empty()
            && !body.starts_with('#')
            && index + 2 >= stumbled
        {
            problems.push(NotYaml {
                span: Span::new(start + tab, start + indent.len()),
                message: "a tab cannot indent YAML".into(),
                hint: Some("indent with spaces".into()),
            });
        }
        start += line.len() + 1;
    }
    // A tab far below is not why the parser stopped here.
    let near = problems
        .first()
        .is_some_and(|p| source.locate(p.span.start).0 <= stumbled + 1);
    if near { problems } else { Vec::new() }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// What the parser hands over, before plain scalars are looked up in the text.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Null,
    /// A plain scalar that YAML took for a number or a truth value: its text is in the source.
    Typed,
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl Raw {
    fn settle(self, source: &Source) -> YamlNode {
        let mut span = span(source, &self.0.defined);
        let value = match self.0.value {
            RawValue::Null => Value::Null,
            RawValue::Typed => Value::Scalar {
                text: source.slice(span).trim().to_owned(),
                quoted: false,
            },
            RawValue::Text(text) => Value::Scalar {
                text,
                quoted: source.slice(span).starts_with(['"', '\'']),
            },
            RawValue::List(items) => Value::List(items.into_iter().map(|item| item.settle(source)).collect()),
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| (k.settle(source), v.settle(source)))
                    .collect(),
            ),
        };
        // A block mapping has no opening brace to point at: its first key stands for it.
        if let Value::Map(entries) = &value
            && let Some((key, _)) = entries.first()
            && source.slice(span) != "{"
        {
            span = key.span;
        }
        YamlNode { value, span }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Raw)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawValue, E> {
        Ok(RawValue::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}
