//! Directories.

use std::fs;

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result, at};
use crate::host::os::files::{self, Access};
use crate::host::os::root::Root;
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, of_another_kind};
use crate::host::resource::node::{Attributes, Node, node};
use crate::host::resource::observed::Observed;
use crate::host::resource::worker::Worker;

/// A directory, root:root.
pub(crate) struct Directory<'a> {
    pub(crate) path: &'a str,
    /// Permission bits.
    pub(crate) mode: u32,
}

impl Kind for Directory<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        Observed::Node(node(root, &root.path(self.path)))
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Node(node) = observed else {
            return Found::of_another_kind();
        };
        match node {
            Node::Missing => Found::plain("create"),
            Node::Directory { .. } => {
                let wanted = Attributes {
                    mode: self.mode,
                    owner: "root",
                    group: "root",
                };
                let change = node.attributes().and_then(|have| have.change_to(wanted));
                change.and_then(Found::plain)
            }
            Node::File { .. } | Node::Symlink { .. } | Node::Other { .. } => {
                Found::plain("replace what is not a directory")
            }
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Node(node) = observed else {
            return Err(of_another_kind());
        };
        let path = worker.root.path(self.path);
        let access = Access::named(worker.root, self.mode, "root", "root")?;
        match node {
            Node::Missing | Node::Directory { .. } => {}
            Node::File { .. } | Node::Symlink { .. } | Node::Other { .. } => {
                return Err(Error::new(format!("{} is not a directory", path.display()))
                    .hint("move it away by hand and apply again"));
            }
        }
        worker.undo.keep(&path)?;
        fs::create_dir_all(&path).map_err(at("create", &path))?;
        files::set_access(&path, access)?;
        files::sync_parent(&path)
    }

    fn path(&self) -> &str {
        self.path
    }

    fn is_unchecked_file(&self) -> bool {
        true
    }
}
