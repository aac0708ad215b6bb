//! Files that others write too: only some edits are hapair's.

use crate::host::observe::tools::Tools;
use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Trace, of_another_kind};
use crate::host::resource::node::{Node, edit_target, node};
use crate::host::resource::observed::Observed;
use crate::host::resource::staged::Staged;
use crate::host::resource::text_diff::count;
use crate::host::resource::worker::Worker;
use crate::host::resource::write;
use crate::state::edit::{self, Edit};
use crate::state::resource::Validator;

/// An edited file.
pub(crate) struct Edited<'a> {
    pub(crate) path: &'a str,
    pub(crate) edits: &'a [Edit],
    /// What a file that is not there begins with; `None`: then this does not apply.
    pub(crate) create: Option<&'a str>,
    /// Of a file that is created.
    pub(crate) mode: u32,
    pub(crate) validator: Option<Validator>,
}

impl Kind for Edited<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        Observed::Node(node(root, &edit_target(root, self.path)))
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        match observed {
            Observed::Node(node) => found(self.edits, self.create, node),
            _ => Found::of_another_kind(),
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Node(node) = observed else {
            return Err(of_another_kind());
        };
        let at = edit_target(worker.root, self.path);
        write::refuse_odd(&at, node)?;
        match text(self.edits, self.create, node) {
            Some((_, text)) => write::edit(worker, &at, &text, self.mode),
            None => Ok(()),
        }
    }

    fn trace(&self, root: &Root, _was: &Observed, _now: &Observed) -> Trace {
        Trace::Path(edit_target(root, self.path))
    }

    fn path(&self) -> &str {
        self.path
    }

    fn validator(&self) -> Option<Validator> {
        self.validator
    }

    fn staged(&self, root: &Root, observed: &Observed) -> Result<Option<Staged>> {
        let new = observed.node().and_then(|node| text(self.edits, self.create, node));
        Ok(new.map(|(_, text)| Staged {
            path: edit_target(root, self.path),
            content: text.into_bytes(),
            mode: self.mode,
        }))
    }
}

/// Text of an edited file as it is and as it should be; `None`: the edit does not apply.
pub(crate) fn text(edits: &[Edit], create: Option<&str>, node: &Node) -> Option<(String, String)> {
    match node {
        Node::File { .. } => {
            let old = node.text().unwrap_or_default();
            let new = edit::apply(&old, edits);
            Some((old, new))
        }
        Node::Missing | Node::Directory { .. } | Node::Symlink { .. } | Node::Other { .. } => {
            create.map(|start| (String::new(), edit::apply(start, edits)))
        }
    }
}

/// What is to be edited.
pub(crate) fn found(edits: &[Edit], create: Option<&str>, node: &Node) -> Option<Found> {
    let (old, new) = text(edits, create, node)?;
    match node {
        Node::File { .. } if old == new => None,
        Node::File { .. } => Found::of_text(count(&old, &new), old, new),
        Node::Missing => Found::of_text("create", old, new),
        Node::Directory { .. } | Node::Symlink { .. } | Node::Other { .. } => {
            Found::plain("replace what is not a regular file")
        }
    }
}
