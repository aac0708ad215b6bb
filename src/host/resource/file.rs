//! Files that are hapair's as a whole.

use std::fs;

use sha2::{Digest, Sha256};

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::executor;
use crate::host::os::files::Access;
use crate::host::os::root::Root;
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, of_another_kind};
use crate::host::resource::node::{Attributes, IS_EXECUTOR, Node, node};
use crate::host::resource::observed::Observed;
use crate::host::resource::staged::Staged;
use crate::host::resource::text_diff::count;
use crate::host::resource::worker::Worker;
use crate::host::resource::write::{refuse_odd, replace};
use crate::state::hex::hex;
use crate::state::resource::{Content, Validator};

/// A regular file with exactly this content.
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) content: &'a Content,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: &'a str,
    pub(crate) group: &'a str,
    pub(crate) validator: Option<Validator>,
}

impl Kind for File<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        Observed::Node(match self.content {
            Content::Text(_) => node(root, &root.path(self.path)),
            Content::Executor => executor_copy(root, self.path),
        })
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Node(node) = observed else {
            return Found::of_another_kind();
        };
        match node {
            Node::Missing => {
                let owner = owned(self.owner, self.group);
                self.found(format!("create, mode {:04o}{owner}", self.mode), String::new())
            }
            Node::File { content: have, .. } => {
                let wanted = Attributes {
                    mode: self.mode,
                    owner: self.owner,
                    group: self.group,
                };
                let attributes = node.attributes().and_then(|have| have.change_to(wanted));
                match (self.is(have), attributes) {
                    (true, None) => None,
                    (true, Some(what)) => Found::plain(what),
                    (false, attributes) => self.replaced(have, attributes),
                }
            }
            Node::Symlink { target } => self.found(format!("replace the link to {target} with a file"), String::new()),
            Node::Directory { .. } => Found::plain("replace a directory with a file"),
            Node::Other { what } => Found::plain(format!("replace ({what})")),
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Node(node) = observed else {
            return Err(of_another_kind());
        };
        let at = worker.root.path(self.path);
        let access = Access::named(worker.root, self.mode, self.owner, self.group)?;
        refuse_odd(&at, node)?;
        replace(worker, &at, &self.bytes()?, access)
    }

    fn path(&self) -> &str {
        self.path
    }

    fn validator(&self) -> Option<Validator> {
        self.validator
    }

    fn staged(&self, root: &Root, _observed: &Observed) -> Result<Option<Staged>> {
        Ok(Some(Staged {
            path: root.path(self.path),
            content: self.bytes()?,
            mode: self.mode,
        }))
    }

    fn is_unchecked_file(&self) -> bool {
        self.validator.is_none()
    }

    fn is_opaque(&self) -> bool {
        match self.content {
            Content::Text(_) => false,
            Content::Executor => true,
        }
    }

    fn content_hash(&self, root: &Root, content: &[u8]) -> String {
        let of = |bytes: &[u8]| hex(&Sha256::digest(bytes));
        match self.content {
            Content::Text(_) => of(content),
            // The name of the executor that looks has its hash; another version's copy is read.
            Content::Executor if content == IS_EXECUTOR => executor::executor_hash(),
            Content::Executor => of(&fs::read(root.path(self.path)).unwrap_or_default()),
        }
    }
}

impl File<'_> {
    /// The text that is wanted; `None`: it is a program.
    fn text(&self) -> Option<&str> {
        match self.content {
            Content::Text(text) => Some(text),
            Content::Executor => None,
        }
    }

    /// The content is the one that is wanted.
    fn is(&self, have: &[u8]) -> bool {
        match self.text() {
            Some(text) => have == text.as_bytes(),
            None => have == IS_EXECUTOR,
        }
    }

    fn found(&self, summary: String, old: String) -> Option<Found> {
        Some(Found {
            summary,
            text: Some((old, self.text().unwrap_or_default().to_owned())),
            shown: self.text().is_some(),
        })
    }

    fn replaced(&self, have: &[u8], attributes: Option<String>) -> Option<Found> {
        let readable = std::str::from_utf8(have).is_ok();
        let old = String::from_utf8_lossy(have).into_owned();
        let mut summary = match self.text() {
            Some(new) if readable => count(&old, new),
            Some(_) => "content changes".into(),
            None => "replace the binary".into(),
        };
        if let Some(what) = attributes {
            summary.push_str(&format!(", {what}"));
        }
        let mut found = self.found(summary, old)?;
        found.shown &= readable;
        Some(found)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        match self.content {
            Content::Text(text) => Ok(text.as_bytes().to_vec()),
            Content::Executor => {
                fs::read("/proc/self/exe").map_err(|e| Error::new("cannot read the executor itself").because(e))
            }
        }
    }
}

fn owned(owner: &str, group: &str) -> String {
    if (owner, group) == ("root", "root") {
        String::new()
    } else {
        format!(", owner {owner}:{group}")
    }
}

/// The file's content is replaced by a word: comparing needs no copy of megabytes in the plan's memory.
fn executor_copy(root: &Root, path: &str) -> Node {
    let mut found = node(root, &root.path(path));
    if let Node::File { content, .. } = &mut found {
        let same = fs::metadata("/proc/self/exe").is_ok_and(|m| m.len() == content.len() as u64)
            && fs::read("/proc/self/exe").is_ok_and(|own| own == *content);
        *content = if same {
            IS_EXECUTOR.to_vec()
        } else {
            format!("other, {} bytes", content.len()).into_bytes()
        };
    }
    found
}
