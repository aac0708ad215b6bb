//! How hapair last left each resource, so that what differs later is known as the work of other hands, with a diff.
//!
//! Written at the end of an apply, kept by its transaction like any other file: a rollback brings back what was
//! remembered before.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::os::clock::now_ms;
use crate::host::os::root::Root;
use crate::host::os::{executor, private_json};
use crate::host::record::txn::LAST;
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::observed::{IS_EXECUTOR, Node, Observed, nobody_knows};
use crate::state::TxnId;
use crate::state::hex::hex;
use crate::state::resource::{Content, HostState, Resource, Spec};

/// Longer files are remembered by their hash alone: bytes.
const TEXT_LIMIT: usize = 256 << 10;

/// Hexadecimal digits of a hash that are kept: as many as the executor's name has.
const DIGITS: usize = 16;

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

/// What is kept of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// All of it.
    Text,
    /// Its hash in the content's place: a secret, a program, or something long.
    Hash,
}

impl Left {
    /// What the resource is now, in the same form; equal to [`Left::observed`] where nobody changed it.
    pub fn same_form(&self, root: &Root, spec: &Spec, observed: &Observed) -> Observed {
        form(root, spec, observed, self.kept)
    }
}

/// What was remembered, by resource; nothing where nothing was applied yet, or by a version that remembered otherwise.
pub fn read(root: &Root) -> BTreeMap<String, Left> {
    let text = root.read(LAST);
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// Remembers what a transaction left. Something that is not as desired, because the transaction had no business with its
/// stage, stays remembered as it was: it is still other hands' work.
pub fn write(root: &Root, transaction: &TxnId, state: &HostState, resources: &[&Resource], observed: &[Observed]) {
    let context = Context {
        secrets: &state.secrets,
        engine_active: false,
    };
    let mut before = read(root);
    let mut now = BTreeMap::new();
    for (resource, observed) in resources.iter().zip(observed) {
        let left = if diff(resource, observed, &context).is_none() {
            let kept = kept(&resource.spec, observed);
            Some(Left {
                transaction: transaction.clone(),
                at_ms: now_ms(),
                kept,
                observed: form(root, &resource.spec, observed, kept),
            })
        } else {
            before.remove(&resource.id)
        };
        now.extend(left.map(|left| (resource.id.clone(), left)));
    }
    let _ = private_json::write_private(&root.path(LAST), &now);
}

fn kept(spec: &Spec, observed: &Observed) -> Kept {
    let hidden = matches!(
        spec,
        Spec::File {
            content: Content::Executor,
            ..
        }
    );
    match node_of(observed) {
        _ if hidden => Kept::Hash,
        Some(Node::File { content, .. }) if content.len() > TEXT_LIMIT || std::str::from_utf8(content).is_err() => {
            Kept::Hash
        }
        _ => Kept::Text,
    }
}

fn form(root: &Root, spec: &Spec, observed: &Observed, kept: Kept) -> Observed {
    let mut form = observed.clone();
    match &mut form {
        // A disc is taken out of its drive; only the copy is hapair's.
        Observed::Media { disc, .. } => *disc = None,
        // Neither is a reboot another hand.
        Observed::Selinux {
            runtime, since_boot, ..
        } => (*runtime, *since_boot) = (nobody_knows(), false),
        form if kept == Kept::Hash => {
            if let Some(Node::File { content, .. }) = node_mut(form) {
                *content = hash(root, spec, content).into_bytes();
            }
        }
        _ => {}
    }
    form
}

fn hash(root: &Root, spec: &Spec, content: &[u8]) -> String {
    let executor = match spec {
        Spec::File {
            path,
            content: Content::Executor,
            ..
        } => Some(path),
        _ => None,
    };
    let of = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let mut hash = match executor {
        // The name of the executor that looks has its hash; another version's copy is read.
        Some(_) if content == IS_EXECUTOR => executor::executor_hash(),
        Some(path) => of(&fs::read(root.path(path)).unwrap_or_default()),
        None => of(content),
    };
    hash.truncate(DIGITS);
    hash
}

/// The file that an observation is about, if it is about one.
pub fn node_of(observed: &Observed) -> Option<&Node> {
    match observed {
        Observed::Node(node) => Some(node),
        Observed::Network { file, .. } | Observed::Selinux { file, .. } => Some(file),
        _ => None,
    }
}

fn node_mut(observed: &mut Observed) -> Option<&mut Node> {
    match observed {
        Observed::Node(node) => Some(node),
        Observed::Network { file, .. } | Observed::Selinux { file, .. } => Some(file),
        _ => None,
    }
}
