//! Reading the keys of a mapping; what nobody asked for is an error.

use std::ops::RangeInclusive;

use super::context::{At, Context, quote};
use super::grammar::Grammar;
use super::mask::is_secret_word;
use super::model::SecretSource;
use super::node::{Value, YamlNode};
use super::source::Span;
use super::suggest;

/// A mapping of which all keys are known.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) context: &'a Context,
    what: &'a str,
    entries: &'a [(YamlNode, YamlNode)],
    pub(super) span: Span,
    keys: &'a [&'static str],
}

impl<'a> Table<'a> {
    /// The mapping in `node`; keys other than `keys` are reported.
    pub(super) fn new(
        context: &'a Context,
        node: &'a YamlNode,
        what: &'a str,
        keys: &'a [&'static str],
    ) -> Option<Table<'a>> {
        let entries = mapping(context, node, what)?;
        for (key, value) in entries {
            let name = match &key.value {
                Value::Scalar { text, .. } => text.as_str(),
                _ => "",
            };
            if keys.contains(&name) {
                continue;
            }
            // What stands under a misspelt `password` is a password all the same.
            // And `{password hunter2}`, the colon forgotten, is a key with a blank in it.
            let mut shown = name;
            if is_secret_word(name) {
                context.hide(value.span);
                if let Some(end) = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-') {
                    context.hide(key.span);
                    shown = &name[..end];
                }
            }
            unknown(context, key, what, shown, keys);
        }
        Some(Table {
            context,
            what,
            entries,
            span: node.span,
            keys,
        })
    }

    /// The node of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a YamlNode> {
        debug_assert!(
            self.keys.contains(&key),
            "{key} is not among the known keys of {}",
            self.what
        );
        self.entries
            .iter()
            .find(|(k, _)| matches!(&k.value, Value::Scalar { text, .. } if text == key))
            .map(|(_, value)| value)
    }

    /// Where the key itself is written; the mapping when it is not.
    pub(super) fn key_span(&self, key: &str) -> Span {
        self.entries
            .iter()
            .find(|(k, _)| matches!(&k.value, Value::Scalar { text, .. } if text == key))
            .map_or(self.span, |(k, _)| k.span)
    }

    /// The node of a key that must be there.
    pub(super) fn need(&self, key: &'static str, hint: &str) -> Option<&'a YamlNode> {
        let node = self.get(key);
        if node.is_none() {
            self.context
                .error_hint(self.span, format!("{} lacks {key}", self.what), hint);
        }
        node
    }

    pub(super) fn word(&self, key: &'static str, grammar: &Grammar) -> Option<At<String>> {
        self.context.word(self.get(key)?, key, grammar)
    }

    pub(super) fn words(&self, key: &'static str, grammar: &Grammar) -> Option<At<Vec<At<String>>>> {
        self.context.words(self.get(key)?, key, grammar)
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<At<i64>> {
        self.context.integer(self.get(key)?, key, range)
    }

    pub(super) fn real(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<At<f64>> {
        self.context.real(self.get(key)?, key, range)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.context.flag(self.get(key)?, key)
    }

    pub(super) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<At<T>> {
        self.context.choice(self.get(key)?, key, choices)
    }

    pub(super) fn list(&self, key: &'static str) -> Option<At<&'a [YamlNode]>> {
        self.context.list(self.get(key)?, key)
    }

    pub(super) fn table(&self, key: &'static str, keys: &'static [&'static str]) -> Option<Table<'a>> {
        Table::new(self.context, self.get(key)?, key, keys)
    }

    /// Keys that the operator chooses, such as host names, with their values. Keys that are no words are reported.
    pub(super) fn free(&self, key: &'static str) -> Option<Vec<(At<&'a str>, &'a YamlNode)>> {
        let entries = mapping(self.context, self.get(key)?, key)?;
        Some(
            entries
                .iter()
                .filter_map(|(k, v)| Some((self.context.text(k, &format!("a key of {key}"))?, v)))
                .collect(),
        )
    }

    /// A secret, or where to get it.
    pub(super) fn secret(&self, key: &'static str) -> Option<At<SecretSource>> {
        super::secret::read(self.context, self.get(key)?, key)
    }
}

fn mapping<'a>(context: &Context, node: &'a YamlNode, what: &str) -> Option<&'a [(YamlNode, YamlNode)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => {
            context.error_hint(
                node.span,
                format!("{what} has no value"),
                "write keys under it, or take it out",
            );
            None
        }
        other => {
            context.error_hint(
                node.span,
                format!("{what} must be a mapping, not {}", other.kind()),
                "keys and values, as in `key: value`",
            );
            None
        }
    }
}

fn unknown(context: &Context, key: &YamlNode, what: &str, name: &str, keys: &[&str]) {
    let message = match &key.value {
        Value::Scalar { .. } => format!("{what} has no key {}", quote(name)),
        other => format!("a key of {what} must be a word, not {}", other.kind()),
    };
    let bare = name.strip_prefix("vrrp_").unwrap_or(name);
    let near = suggest::nearest(name, keys.iter().copied())
        .or_else(|| suggest::nearest(bare, keys.iter().copied()))
        .or_else(|| {
            keys.iter()
                .copied()
                .find(|k| *k == format!("{bare}s") || *k == format!("{bare}es"))
        });
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", super::context::join(keys.iter().copied(), "and")),
    };
    context.error_hint(key.span, message, hint);
}
