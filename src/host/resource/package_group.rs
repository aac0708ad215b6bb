//! Package groups, observed through their mandatory packages, because asking the package manager is too dear.

use crate::host::observe::tools::Tools;
use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Questions, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::packages;
use crate::host::resource::worker::Worker;
use crate::state::resource::Reaction;

/// A package group.
pub(crate) struct PackageGroup<'a> {
    /// As `yum groupinstall` takes it.
    pub(crate) name: &'a str,
    /// All of these installed means the group is there.
    pub(crate) mandatory: &'a [String],
}

impl Kind for PackageGroup<'_> {
    fn questions(&self) -> Questions {
        packages::questions(self.mandatory)
    }

    fn observe(&self, _root: &Root, tools: &Tools) -> Observed {
        packages::missing(self.mandatory, tools)
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        match observed {
            Observed::Missing(names) if names.is_empty() => None,
            Observed::Missing(names) => Found::plain(format!(
                "install group {} ({} of its packages are missing)",
                self.name,
                names.len()
            )),
            _ => Found::of_another_kind(),
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Missing(missing) = observed else {
            return Err(of_another_kind());
        };
        packages::group(worker, self.name, missing)
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        packages::difference(was, now)
    }

    fn needs_first(&self) -> Option<Reaction> {
        Some(packages::FIRST)
    }
}
