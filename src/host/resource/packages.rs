//! Packages, by `yum` or `dnf`.

use std::time::Duration;

use crate::host::observe::tools::Tools;
use crate::host::os::error::Result;
use crate::host::os::package_manager::{explain, manager, no_such};
use crate::host::os::root::Root;
use crate::host::os::{exec, rpm_erase};
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Questions, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::{Installed, Undoing, Why};
use crate::host::resource::worker::Worker;
use crate::state::resource::Reaction;

/// A slow mirror and "Development Tools" together.
const INSTALL: Duration = Duration::from_secs(45 * 60);

/// Metadata must be fresh before packages are installed.
pub(crate) const FIRST: Reaction = Reaction::MakeCache;

/// Packages, installed in one transaction of the package manager.
pub(crate) struct Packages<'a> {
    /// Without version.
    pub(crate) names: &'a [String],
    /// Only these are asked; empty: all enabled ones.
    pub(crate) repositories: &'a [String],
}

impl Kind for Packages<'_> {
    fn questions(&self) -> Questions {
        questions(self.names)
    }

    fn observe(&self, _root: &Root, tools: &Tools) -> Observed {
        missing(self.names, tools)
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        match observed {
            Observed::Missing(names) if names.is_empty() => None,
            Observed::Missing(names) => Found::plain(format!("install {}", names.join(" "))),
            _ => Found::of_another_kind(),
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Missing(names) = observed else {
            return Err(of_another_kind());
        };
        install(worker, names, self.repositories)
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        difference(was, now)
    }

    fn needs_first(&self) -> Option<Reaction> {
        Some(FIRST)
    }
}

/// What `rpm` must be asked for these.
pub(crate) fn questions(names: &[String]) -> Questions {
    Questions {
        packages: names.to_vec(),
        units: Vec::new(),
    }
}

/// Those that are not installed.
pub(crate) fn missing(names: &[String], tools: &Tools) -> Observed {
    let missing = names.iter().filter(|n| tools.package(n).is_none());
    Observed::Missing(missing.cloned().collect())
}

/// What was removed and installed since.
pub(crate) fn difference(was: &Observed, now: &Observed) -> Vec<String> {
    let (Observed::Missing(was), Observed::Missing(now)) = (was, now) else {
        return Vec::new();
    };
    let gone = now.iter().filter(|name| !was.contains(name));
    let back = was.iter().filter(|name| !now.contains(name));
    gone.map(|name| format!("{name} removed"))
        .chain(back.map(|name| format!("{name} installed")))
        .collect()
}

fn install(worker: &mut Worker<'_>, names: &[String], repositories: &[String]) -> Result<()> {
    let mut args = vec!["-y".to_owned()];
    if !repositories.is_empty() {
        args.push("--disablerepo=*".into());
        args.extend(repositories.iter().map(|r| format!("--enablerepo={r}")));
    }
    args.push("install".into());
    args.extend(names.iter().cloned());
    transaction(worker, &args, names)
}

/// Installs a group of which these packages are missing.
pub(crate) fn group(worker: &mut Worker<'_>, name: &str, missing: &[String]) -> Result<()> {
    let args = ["-y", "groupinstall", name].map(str::to_owned);
    transaction(worker, &args, missing)?;
    // yum calls a group that was once marked as installed done, whatever has been removed since.
    let absent = still_missing(missing);
    if absent.is_empty() {
        Ok(())
    } else {
        install(worker, &absent, &[])
    }
}

fn still_missing(names: &[String]) -> Vec<String> {
    let lacks = |name: &&String| !exec::run("rpm", &["-q", name], Duration::from_secs(60)).is_ok_and(|o| o.ok());
    names.iter().filter(lacks).cloned().collect()
}

/// `names`: what was missing before.
fn transaction(worker: &mut Worker<'_>, args: &[String], names: &[String]) -> Result<()> {
    let is_group = args.iter().any(|a| a == "groupinstall");
    let program = manager()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Before: a run that is killed meanwhile must not forget what it was about to install.
    worker.undo.add(&Undo::Installed {
        packages: names.to_vec(),
    })?;
    let before = rpm_erase::everything();
    let journal = &mut worker.journal;
    journal.log(&format!("{program} {}", args.join(" ")));
    let output = exec::run_lines(&program, &args, INSTALL, &mut |line| journal.log(line))?;
    if let (Some(before), Some(after)) = (before, rpm_erase::everything()) {
        let new = after.difference(&before).filter(|name| !names.contains(name));
        let packages: Vec<String> = new.cloned().collect();
        if !packages.is_empty() {
            worker.undo.add(&Undo::CameAlong { packages })?;
        }
    }
    if !output.ok() {
        return Err(explain(&program, &args.join(" "), &output, INSTALL));
    }
    let absent = if is_group { Vec::new() } else { still_missing(names) };
    if absent.is_empty() {
        return Ok(());
    }
    // yum 3 exits 0 when only some of the names were found.
    Err(no_such(&absent.join(" ")))
}

/// Packages that a transaction installed: they stay, unless `remove --packages` erases them.
pub(crate) struct InstalledUndo<'a>(pub(crate) Installed<'a>);

impl Undoing for InstalledUndo<'_> {
    fn capture(&self, _root: &Root, _undo: &mut Log) -> Result<()> {
        Ok(())
    }

    /// They are remembered by name.
    fn lost(&self) -> Option<String> {
        None
    }

    fn stays(&self, root: &Root) -> Option<String> {
        // Noted before they were installed: some may never have been.
        told(root, self.0.packages, |names| match self.0.why {
            Why::Wanted => {
                format!("packages stay installed ({names}); remove them by hand if they are not wanted")
            }
            Why::CameAlong => {
                format!("their dependencies stay installed ({names})")
            }
        })
    }

    fn installed(&self) -> Option<Installed<'_>> {
        Some(self.0)
    }
}

fn told(root: &Root, packages: &[String], words: impl Fn(String) -> String) -> Option<String> {
    let there = rpm_erase::installed(root, packages);
    (!there.is_empty()).then(|| words(there.join(" ")))
}
