//! What the values mean, alone and together: one file a section.

use std::path::Path;

use super::{hosts, nginx, ssh, system, vrrp};
use crate::inventory::context::Context;
use crate::inventory::error::InventoryErrors;
use crate::inventory::grammar::PAIR;
use crate::inventory::model::Inventory;
use crate::inventory::node;
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::source::{Source, Span};
use crate::inventory::table::Table;

const KEYS: &[&str] = &["name", "ssh", "hosts", "system", "repositories", "nginx", "vrrp"];

/// The whole way from text to inventory.
pub(crate) fn inventory(text: &str, path: &Path) -> Result<Inventory, InventoryErrors> {
    let source = Source::new(text);
    let context = Context::new(path);
    let (node, broken) = node::parse(&source);
    for problem in broken {
        match problem.hint {
            Some(hint) => context.error_hint(problem.span, problem.message, hint),
            None => context.error(problem.span, problem.message),
        }
    }
    let inventory = node.and_then(|node| read(&context, &node, path));
    match inventory {
        Some(inventory) if context.is_clean() => Ok(inventory),
        _ => {
            if context.is_clean() {
                // Every path to here notes its problem; should one forget, refusing is still right.
                context.error(Span::new(0, 0), "the inventory is incomplete");
            }
            Err(context.into_errors(path, &source))
        }
    }
}

/// Reads all sections, whatever is wrong with the others, so that one run shows every problem.
fn read(context: &Context, node: &YamlNode, path: &Path) -> Option<Inventory> {
    if matches!(node.value, Value::Null) {
        context.error_hint(
            node.span,
            "the inventory is empty",
            "copy inventory.example.yaml and edit it",
        );
        return None;
    }
    let table = Table::new(context, node, "the inventory", KEYS)?;
    table.need("name", "a name for the pair, as in name: edge");
    let name = table.word("name", &PAIR);
    let ssh = ssh::read(&table);
    let hosts = hosts::read(&table);
    let system = system::system(&table);
    let repositories = system::repositories(&table);
    let nginx = nginx::read(&table);
    let vrrp = vrrp::read(&table, hosts.as_deref().unwrap_or_default());
    let mut hosts = hosts?.into_iter().filter_map(hosts::RawHost::finish);
    let hosts = [hosts.next()?, hosts.next()?];
    Some(Inventory {
        path: path.to_owned(),
        name: name?.value,
        ssh,
        hosts,
        system,
        repositories,
        nginx,
        vrrp,
    })
}
