//! Restores what was at a path: for every kind that writes files.

use std::path::Path;

use crate::host::os::error::Result;
use crate::host::os::files::{self, Saved};
use crate::host::os::root::Root;
use crate::host::record::undo::Log;
use crate::host::resource::undoing::Undoing;

/// A path that a transaction wrote to or removed.
pub(crate) struct PathUndo<'a> {
    pub(crate) path: &'a Path,
    /// What was there.
    pub(crate) saved: &'a Saved,
}

impl Undoing for PathUndo<'_> {
    fn capture(&self, _root: &Root, undo: &mut Log) -> Result<()> {
        undo.keep(self.path)
    }

    /// The archive of a pruned transaction lists its paths one by one.
    fn lost(&self) -> Option<String> {
        None
    }

    fn files(&self, old: &Path, log: &mut dyn FnMut(&str)) -> Result<()> {
        log(&format!("restore {}", self.path.display()));
        files::restore(self.path, self.saved, old)
    }

    fn changes_units(&self) -> bool {
        self.path.components().any(|c| c.as_os_str() == "systemd")
    }
}
