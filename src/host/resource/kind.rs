//! What every kind of resource knows of itself.
//!
//! A new kind implements [`Kind`] in a file of its own and gets its line in [`crate::host::resource::kinds`]; nothing above this room
//! knows one kind from another.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::resource::found::Found;
use crate::host::resource::node::{Kept, Node};
use crate::host::resource::observed::Observed;
use crate::host::resource::staged::Staged;
use crate::host::resource::worker::Worker;
use crate::state::hex::hex;
use crate::state::resource::{Reaction, Validator};

/// One resource, as the kind that it is.
pub(crate) trait Kind {
    /// What `rpm` and `systemctl` must be asked before it is observed.
    fn questions(&self) -> Questions {
        Questions::default()
    }

    /// What it is now. Read-only.
    fn observe(&self, root: &Root, tools: &Tools) -> Observed;

    /// What must change; `None`: it is as desired, or does not apply. Pure.
    fn diff(&self, observed: &Observed) -> Option<Found>;

    /// Makes it as desired: exactly the difference.
    ///
    /// # Errors
    /// What failed; what was replaced is in the undo log.
    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()>;

    /// What differs from how hapair left it, in words, in addition to what its file shows.
    fn difference(&self, _was: &Observed, _now: &Observed) -> Vec<String> {
        Vec::new()
    }

    /// Where it can be seen who changed it.
    fn trace(&self, root: &Root, _was: &Observed, _now: &Observed) -> Trace {
        match self.path() {
            "" => Trace::Nowhere,
            path => Trace::Path(root.path(path)),
        }
    }

    /// The path that a diff is headed with; empty: it is about none.
    fn path(&self) -> &str {
        ""
    }

    /// The reaction that, if it is pending, must run before this is changed.
    fn needs_first(&self) -> Option<Reaction> {
        None
    }

    /// Where it differs, the segment is to be asked about it before anything is touched: by [`Kind::preflight`].
    fn concerns_segment(&self) -> bool {
        false
    }

    /// Refuses what cannot be right on this host or its segment.
    ///
    /// # Errors
    /// What is wrong.
    fn preflight(&self, _root: &Root) -> Result<()> {
        Ok(())
    }

    /// Who checks it before it takes effect, together with all others that name the same one.
    fn validator(&self) -> Option<Validator> {
        None
    }

    /// The file as it will be, for its validator.
    ///
    /// # Errors
    /// Its content cannot be read.
    fn staged(&self, _root: &Root, _observed: &Observed) -> Result<Option<Staged>> {
        Ok(None)
    }

    /// A file or directory that no validator checks: what a validated file names may be one.
    fn is_unchecked_file(&self) -> bool {
        false
    }

    /// What a boot does for it. `config`: what that boot will read.
    fn boot(&self, _observed: &Observed, _config: Config) -> Boot {
        Boot::Useless
    }

    /// The first address, with prefix, that the host has after it.
    fn address_after(&self) -> Option<&str> {
        None
    }

    /// Its content is not for showing, and remembered by its hash alone.
    fn is_opaque(&self) -> bool {
        false
    }

    /// Hash of the content that was observed.
    fn content_hash(&self, _root: &Root, content: &[u8]) -> String {
        hex(&Sha256::digest(content))
    }

    /// Gives an observation the form in which it is remembered, and compared with what was remembered: without what
    /// changes without anybody's doing.
    fn remember(&self, root: &Root, observed: &mut Observed, kept: Kept) {
        if kept == Kept::Hash
            && let Some(Node::File { content, .. }) = observed.node_mut()
        {
            let mut hash = self.content_hash(root, content);
            hash.truncate(DIGITS);
            *content = hash.into_bytes();
        }
    }
}

/// Hexadecimal digits of a hash that are remembered: as many as the executor's name has.
const DIGITS: usize = 16;

/// What tools are asked.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Names of packages, for `rpm`.
    pub(crate) packages: Vec<String>,
    /// Units, for `systemctl`.
    pub(crate) units: Vec<String>,
}

/// Where it can be seen who changed something.
pub(crate) enum Trace {
    /// At a path.
    Path(PathBuf),
    /// By a unit's state.
    Unit(String),
    /// It is not in a file, or not in one alone.
    Nowhere,
}

/// The configuration that the next boot will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    /// As observed.
    InPlace,
    /// A change of it is to come.
    ToBeWritten,
}

/// What a reboot does for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Boot {
    /// Nothing.
    Useless,
    /// Only a boot brings about what is wanted.
    Needed,
    /// Not even a boot does; why, in words for the operator.
    InVain(String),
}

/// Converging from an observation of another kind is a fault of this program.
pub(crate) fn of_another_kind() -> Error {
    Error::new("cannot be converged: observed as something else")
}
