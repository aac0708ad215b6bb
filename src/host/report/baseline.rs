//! How hapair last left each resource, so that later differences are known to be someone else's, with a diff.
//!
//! Written at the end of an apply, kept by its transaction like any other file: a rollback brings back what was
//! remembered before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::os::clock::now_ms;
use crate::host::os::private_json;
use crate::host::os::root::Root;
use crate::host::record::txn::LAST;
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::kind::Kind;
use crate::host::resource::kinds;
use crate::host::resource::node::{Kept, Node};
use crate::host::resource::observed::Observed;
use crate::state::TxnId;
use crate::state::resource::{HostState, Resource, Spec};

/// Longer files are remembered by their hash alone: bytes.
const TEXT_LIMIT: usize = 256 << 10;

/// One resource as hapair left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// At the end of this transaction.
    pub transaction: TxnId,
    /// ms since 1970.
    pub at_ms: u64,
    /// What is kept of its content.
    pub kept: Kept,
    /// What it was, in the form that [`Kept`] says.
    pub observed: Observed,
}

impl Left {
    /// What the resource is now, in the same form; equal to [`Left::observed`] where nobody changed it.
    pub fn same_form(&self, root: &Root, spec: &Spec, observed: &Observed) -> Observed {
        form(root, &*kinds::of(spec), observed, self.kept)
    }
}

/// What was remembered, by resource; nothing where nothing was applied yet, or by a version that remembered otherwise.
pub fn read(root: &Root) -> BTreeMap<String, Left> {
    let text = root.read(LAST);
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// Remembers what a transaction left. Something that is not as desired, because the transaction had no business with its
/// stage, stays recorded as it was: it is still someone else's work.
pub fn write(root: &Root, transaction: &TxnId, state: &HostState, resources: &[&Resource], observed: &[Observed]) {
    let context = Context {
        secrets: &state.secrets,
        engine_active: false,
    };
    let mut before = read(root);
    let mut now = BTreeMap::new();
    for (resource, observed) in resources.iter().zip(observed) {
        let left = if diff(resource, observed, &context).is_none() {
            let kind = kinds::of(&resource.spec);
            let kept = kept(&*kind, observed);
            Some(Left {
                transaction: transaction.clone(),
                at_ms: now_ms(),
                kept,
                observed: form(root, &*kind, observed, kept),
            })
        } else {
            before.remove(&resource.id)
        };
        now.extend(left.map(|left| (resource.id.clone(), left)));
    }
    let _ = private_json::write_private(&root.path(LAST), &now);
}

fn kept(kind: &dyn Kind, observed: &Observed) -> Kept {
    match observed.node() {
        _ if kind.is_opaque() => Kept::Hash,
        Some(Node::File { content, .. }) if content.len() > TEXT_LIMIT || std::str::from_utf8(content).is_err() => {
            Kept::Hash
        }
        _ => Kept::Text,
    }
}

fn form(root: &Root, kind: &dyn Kind, observed: &Observed, kept: Kept) -> Observed {
    let mut form = observed.clone();
    kind.remember(root, &mut form, kept);
    form
}
