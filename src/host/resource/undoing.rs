//! What every entry of an undo log knows of itself.
//!
//! A new one implements [`Undoing`] in the file of its kind and gets its line in [`crate::host::resource::undoings`].

use std::path::Path;

use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::record::undo::Log;
use crate::state::resource::Stage;

/// One entry, as the kind that it is.
pub(crate) trait Undoing {
    /// Takes note of what is there now, so that putting the entry back can itself be undone.
    ///
    /// # Errors
    /// What is there cannot be read, or the disk refuses.
    fn capture(&self, root: &Root, undo: &mut Log) -> Result<()>;

    /// What cannot be restored once its transaction is pruned, in words; `None`: there is nothing to lose.
    fn lost(&self) -> Option<String>;

    /// Before any file is restored; not at boot.
    ///
    /// # Errors
    /// It cannot be undone.
    fn before_files(&self) -> Result<()> {
        Ok(())
    }

    /// Files. `old`: where replaced bytes are.
    ///
    /// # Errors
    /// It cannot be undone.
    fn files(&self, _old: &Path, _log: &mut dyn FnMut(&str)) -> Result<()> {
        Ok(())
    }

    /// What runs, after the files.
    ///
    /// # Errors
    /// It cannot be undone.
    fn system(&self, _when: When, _log: &mut dyn FnMut(&str)) -> Result<()> {
        Ok(())
    }

    /// What reads the files, last of all; not at boot.
    ///
    /// # Errors
    /// It does not read them.
    fn readers(&self) -> Result<()> {
        Ok(())
    }

    /// systemd must read its units anew after it.
    fn changes_units(&self) -> bool {
        false
    }

    /// The interface whose profile it activates.
    fn interface(&self) -> Option<&str> {
        None
    }

    /// Its rollback can cut the connection.
    fn cuts_ssh(&self) -> bool {
        false
    }

    /// What of it stays, in words for the operator.
    fn stays(&self, _root: &Root) -> Option<String> {
        None
    }

    /// Packages that a transaction installed: they stay, unless `remove --packages` erases them.
    fn installed(&self) -> Option<Installed<'_>> {
        None
    }

    /// What putting it back would change besides files and units.
    fn planned(&self, _root: &Root) -> Option<Planned> {
        None
    }
}

/// When undo records are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// On a host that runs.
    Now,
    /// While it boots: network and units come up later, from the files that are back in place.
    AtBoot,
}

/// Packages that were installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Installed<'a> {
    /// Names without version.
    pub(crate) packages: &'a [String],
    pub(crate) why: Why,
}

impl Installed<'_> {
    /// Adds the packages to those that were asked for, or to those that came along.
    pub(crate) fn add_to(self, asked: &mut impl Extend<String>, along: &mut impl Extend<String>) {
        let packages = self.packages.iter().cloned();
        match self.why {
            Why::Wanted => asked.extend(packages),
            Why::CameAlong => along.extend(packages),
        }
    }
}

/// Why packages were installed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Why {
    /// They were not there and had to be.
    Wanted,
    /// The package manager brought them along for those.
    CameAlong,
}

/// A change to come.
pub(crate) struct Planned {
    /// What it is about.
    pub(crate) resource: String,
    pub(crate) stage: Stage,
    pub(crate) summary: String,
}
