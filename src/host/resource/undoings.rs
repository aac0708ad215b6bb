//! The list of all entries of an undo log.

use crate::host::record::undo::Undo;
use crate::host::resource::firewall::FirewallUndo;
use crate::host::resource::hostname::HostnameUndo;
use crate::host::resource::media_copy::StaysUndo;
use crate::host::resource::network::NetworkUndo;
use crate::host::resource::packages::InstalledUndo;
use crate::host::resource::reaction::ReactionUndo;
use crate::host::resource::repositories_set_aside::RenamedUndo;
use crate::host::resource::saved_path::PathUndo;
use crate::host::resource::selinux::SelinuxUndo;
use crate::host::resource::selinux_booleans::BooleanUndo;
use crate::host::resource::service::UnitUndo;
use crate::host::resource::undoing::{Installed, Undoing, Why};

/// The kind of an entry, with what it holds.
pub(crate) fn of(entry: &Undo) -> Box<dyn Undoing + '_> {
    match entry {
        Undo::Path { path, saved } => Box::new(PathUndo { path, saved }),
        Undo::Unit { unit, .. } => Box::new(UnitUndo { unit }),
        Undo::Reaction { reaction } => Box::new(ReactionUndo { reaction }),
        Undo::Hostname { running } => Box::new(HostnameUndo { running }),
        Undo::Selinux { enforcing } => Box::new(SelinuxUndo { enforcing: *enforcing }),
        Undo::Boolean { name, value } => Box::new(BooleanUndo { name, value: *value }),
        Undo::Firewall { zone, options } => Box::new(FirewallUndo { zone, options }),
        Undo::Network {
            manager,
            interface,
            path,
        } => Box::new(NetworkUndo {
            manager: *manager,
            interface,
            path,
        }),
        Undo::Renamed { from, to } => Box::new(RenamedUndo { from, to }),
        Undo::Installed { packages } => Box::new(InstalledUndo(Installed {
            packages,
            why: Why::Wanted,
        })),
        Undo::CameAlong { packages } => Box::new(InstalledUndo(Installed {
            packages,
            why: Why::CameAlong,
        })),
        Undo::Stays { text } => Box::new(StaysUndo { text }),
    }
}
