//! Reactions that ran with new files: they must run with the old ones.

use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::undoing::Undoing;
use crate::state::{Reaction, UnitAction};

/// A reaction that ran.
pub(crate) struct ReactionUndo<'a> {
    pub(crate) reaction: &'a Reaction,
}

impl Undoing for ReactionUndo<'_> {
    fn capture(&self, _root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Reaction {
            reaction: self.reaction.clone(),
        })
    }

    fn lost(&self) -> Option<String> {
        None
    }

    fn readers(&self) -> Result<()> {
        match self.reaction {
            Reaction::Reload { unit } if systemd::one(unit).is_active() => systemd::ctl(UnitAction::Reload, unit),
            Reaction::Restart { unit } if systemd::one(unit).is_active() => systemd::ctl(UnitAction::Restart, unit),
            Reaction::Reload { .. } | Reaction::Restart { .. } | Reaction::DaemonReload | Reaction::MakeCache => Ok(()),
        }
    }

    fn changes_units(&self) -> bool {
        *self.reaction == Reaction::DaemonReload
    }
}
