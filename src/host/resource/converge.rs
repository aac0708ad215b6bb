//! Making one resource as desired: exactly the difference.

use crate::host::os::error::{Error, Result};
use crate::host::resource::hostname::hostname;
use crate::host::resource::observed::Observed;
use crate::host::resource::worker::Worker;
use crate::host::resource::{file, firewall, network, packages, repositories, selinux, service};
use crate::state::resource::{Reaction, Resource, Spec};

/// Makes a resource as desired.
///
/// # Errors
/// What failed; what was replaced is in the undo log.
pub fn converge(worker: &mut Worker<'_>, resource: &Resource, observed: &Observed) -> Result<()> {
    match (&resource.spec, observed) {
        (Spec::File { .. } | Spec::Edit { .. } | Spec::Directory { .. }, Observed::Node(node)) => {
            file::converge(worker, &resource.spec, node)
        }
        (Spec::Network(spec), Observed::Network { file, .. }) => network::converge(worker, spec, file),
        (Spec::Selinux { mode }, Observed::Selinux { file, runtime, .. }) => {
            selinux::mode(worker, *mode, file, *runtime)
        }
        (Spec::SelinuxBooleans { values }, Observed::Booleans(Some(have))) => selinux::booleans(worker, values, have),
        (Spec::Firewall(_), Observed::Firewall(have)) => firewall::converge(worker, have),
        (Spec::Hostname { name }, Observed::Hostname { running, .. }) => hostname(worker, name, running),
        (Spec::Packages { repositories, .. }, Observed::Missing(names)) => {
            packages::install(worker, names, repositories)
        }
        (Spec::PackageGroup { name, .. }, Observed::Missing(missing)) => packages::group(worker, name, missing),
        (Spec::RepositoriesSetAside { directory, .. }, Observed::Strays(names)) => {
            repositories::set_aside(worker, directory, names)
        }
        (Spec::MediaCopy { from, to }, Observed::Media { disc, .. }) => {
            repositories::copy_media(worker, from, to, disc.is_some())
        }
        (
            Spec::Service {
                unit, enabled, active, ..
            },
            Observed::Unit { .. },
        ) => service::converge(worker, unit, *enabled, *active),
        _ => Err(Error::new("cannot be converged: observed as something else")),
    }
}

/// The reaction that, if it is pending, must run before such a resource is changed: metadata must be fresh before
/// packages are installed, a unit file be known before its service starts.
pub fn needs_first(spec: &Spec) -> Option<Reaction> {
    match spec {
        Spec::Packages { .. } | Spec::PackageGroup { .. } => Some(Reaction::MakeCache),
        Spec::Service { .. } => Some(Reaction::DaemonReload),
        Spec::File { .. }
        | Spec::Edit { .. }
        | Spec::Directory { .. }
        | Spec::Network(_)
        | Spec::Selinux { .. }
        | Spec::SelinuxBooleans { .. }
        | Spec::Firewall(_)
        | Spec::Hostname { .. }
        | Spec::RepositoriesSetAside { .. }
        | Spec::MediaCopy { .. } => None,
    }
}
