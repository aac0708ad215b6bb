//! Other `.repo` files of a directory, set aside.

use std::fs;
use std::path::Path;

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Result, at};
use crate::host::os::files;
use crate::host::os::root::Root;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Trace, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::Undoing;
use crate::host::resource::worker::Worker;

/// What is not to be kept gets the name `X.repo.bak`, which yum does not read.
pub(crate) struct Repositories<'a> {
    pub(crate) directory: &'a str,
    /// File names that stay.
    pub(crate) keep: &'a [String],
}

impl Kind for Repositories<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        let names = root.names(self.directory).into_iter();
        Observed::Strays(
            names
                .filter(|n| n.ends_with(".repo") && !self.keep.contains(n))
                .collect(),
        )
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        match observed {
            Observed::Strays(names) if names.is_empty() => None,
            Observed::Strays(names) => Found::plain(format!("set aside {} as .bak", names.join(", "))),
            _ => Found::of_another_kind(),
        }
    }

    /// A `.bak` that is there already is kept in the transaction, not lost.
    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Strays(names) = observed else {
            return Err(of_another_kind());
        };
        for name in names {
            let from = worker.root.path(&format!("{}/{name}", self.directory));
            let to = worker.root.path(&format!("{}/{name}.bak", self.directory));
            worker.undo.keep(&to)?;
            worker.undo.add(&Undo::Renamed {
                from: from.clone(),
                to: to.clone(),
            })?;
            fs::rename(&from, &to).map_err(at("set aside", &from))?;
            files::sync_parent(&from)?;
        }
        Ok(())
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (Observed::Strays(was), Observed::Strays(now)) = (was, now) else {
            return Vec::new();
        };
        let new = now.iter().filter(|name| !was.contains(name));
        new.map(|name| format!("{name} added")).collect()
    }

    fn trace(&self, root: &Root, was: &Observed, now: &Observed) -> Trace {
        let (Observed::Strays(was), Observed::Strays(now)) = (was, now) else {
            return Trace::Nowhere;
        };
        match now.iter().find(|name| !was.contains(name)) {
            Some(new) => Trace::Path(root.path(self.directory).join(new)),
            None => Trace::Nowhere,
        }
    }
}

/// A file that was renamed gets its name back.
pub(crate) struct RenamedUndo<'a> {
    /// Its name before.
    pub(crate) from: &'a Path,
    /// Its name since.
    pub(crate) to: &'a Path,
}

impl Undoing for RenamedUndo<'_> {
    fn capture(&self, _root: &Root, undo: &mut Log) -> Result<()> {
        if !self.to.exists() {
            return Ok(());
        }
        undo.keep(self.from)?;
        undo.add(&Undo::Renamed {
            from: self.to.to_owned(),
            to: self.from.to_owned(),
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("the name {}", self.from.display()))
    }

    fn files(&self, _old: &Path, _log: &mut dyn FnMut(&str)) -> Result<()> {
        if !self.to.exists() {
            return Ok(());
        }
        fs::rename(self.to, self.from).map_err(at("rename back", self.to))
    }
}
