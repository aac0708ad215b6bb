//! Names that must be those of hosts or of other entries.

use std::collections::BTreeMap;

use super::hosts::RawHost;
use crate::inventory::context::{At, Context, join, quote};
use crate::inventory::node::YamlNode;
use crate::inventory::source::Span;
use crate::inventory::suggest;
use crate::inventory::table::Table;

/// A mapping from host names to something.
pub(super) fn by_host<T>(
    table: &Table<'_>,
    key: &'static str,
    hosts: &[RawHost],
    read: impl Fn(&Context, &YamlNode) -> Option<T>,
) -> BTreeMap<String, At<T>> {
    let names = || hosts.iter().filter_map(|h| h.name.as_ref()).map(|n| n.value.as_str());
    let mut values = BTreeMap::new();
    for (host, node) in table.free(key).unwrap_or_default() {
        // While a host could not be read, any name may be the right one.
        let known = names().any(|name| name == host.value) || names().count() < 2;
        if !known {
            unknown(table.context, host.span, "host", host.value, names());
        }
        let value = read(table.context, node);
        if let Some(value) = value.filter(|_| known) {
            values.insert(host.value.to_owned(), At { value, span: node.span });
        }
    }
    values
}

/// Reports a name that refers to nothing.
pub(super) fn unknown<'a>(
    context: &Context,
    span: Span,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) {
    let hint = match suggest::nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => match join(known, "and") {
            list if list.is_empty() => format!("the inventory has no {what}"),
            list => format!("there is {list}"),
        },
    };
    context.error_hint(span, format!("no {what} is called {}", quote(name)), hint);
}
