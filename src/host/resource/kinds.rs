//! The list of all kinds.

use crate::host::resource::directory::Directory;
use crate::host::resource::edited::Edited;
use crate::host::resource::file::File;
use crate::host::resource::firewall::Firewall;
use crate::host::resource::hostname::Hostname;
use crate::host::resource::kind::Kind;
use crate::host::resource::media_copy::MediaCopy;
use crate::host::resource::network::Network;
use crate::host::resource::package_group::PackageGroup;
use crate::host::resource::packages::Packages;
use crate::host::resource::repositories_set_aside::Repositories;
use crate::host::resource::selinux::Selinux;
use crate::host::resource::selinux_booleans::SelinuxBooleans;
use crate::host::resource::service::Service;
use crate::state::resource::Spec;

/// The kind of a resource, with what it should be.
pub(crate) fn of(spec: &Spec) -> Box<dyn Kind + '_> {
    match spec {
        Spec::File {
            path,
            content,
            mode,
            owner,
            group,
            validator,
        } => Box::new(File {
            path,
            content,
            mode: *mode,
            owner,
            group,
            validator: *validator,
        }),
        Spec::Edit {
            path,
            edits,
            create,
            mode,
            validator,
        } => Box::new(Edited {
            path,
            edits,
            create: create.as_deref(),
            mode: *mode,
            validator: *validator,
        }),
        Spec::Directory { path, mode } => Box::new(Directory { path, mode: *mode }),
        Spec::Network(spec) => Box::new(Network(spec)),
        Spec::Selinux { mode } => Box::new(Selinux { mode: *mode }),
        Spec::SelinuxBooleans { values } => Box::new(SelinuxBooleans { values }),
        Spec::Firewall(spec) => Box::new(Firewall(spec)),
        Spec::Hostname { name } => Box::new(Hostname { name }),
        Spec::Packages { names, repositories } => Box::new(Packages { names, repositories }),
        Spec::PackageGroup { name, mandatory } => Box::new(PackageGroup { name, mandatory }),
        Spec::RepositoriesSetAside { directory, keep } => Box::new(Repositories { directory, keep }),
        Spec::MediaCopy { from, to } => Box::new(MediaCopy { from, to }),
        Spec::Service { unit, enabled, active } => Box::new(Service {
            unit,
            enabled: *enabled,
            active: *active,
        }),
    }
}
