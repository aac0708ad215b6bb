//! What changed resources set off at the end of their stage.

use std::time::Duration;

use crate::host::change::nginx_reload::reload_nginx;
use crate::host::os::error::{Error, Result};
use crate::host::os::{exec, package_manager, systemd};
use crate::host::record::undo::Undo;
use crate::host::resource::worker::Worker;
use crate::state::{Reaction, UnitAction};

/// How long a package manager may take to fetch metadata.
const METADATA: Duration = Duration::from_secs(15 * 60);

/// Runs every pending reaction once: daemon-reload, metadata, restarts, reloads.
///
/// # Errors
/// The first that fails.
pub fn run_pending(worker: &mut Worker<'_>) -> Result<()> {
    let mut pending: Vec<Reaction> = std::mem::take(&mut worker.pending).into_iter().collect();
    if !worker.root.is_live() {
        return Ok(());
    }
    let rank = |r: &Reaction| match r {
        Reaction::DaemonReload => 0,
        Reaction::MakeCache => 1,
        Reaction::Restart { .. } => 2,
        Reaction::Reload { .. } => 3,
    };
    pending.sort_by_key(rank);
    let restarts: Vec<String> = pending
        .iter()
        .filter_map(|r| {
            if let Reaction::Restart { unit } = r {
                Some(unit.clone())
            } else {
                None
            }
        })
        .collect();
    pending.retain(|r| !matches!(r, Reaction::Reload { unit } if restarts.contains(unit)));
    for reaction in &pending {
        run(worker, reaction)?;
    }
    Ok(())
}

/// Runs a reaction now if it is pending: a unit file must be known before its service starts, metadata be fresh
/// before packages are installed.
///
/// # Errors
/// It fails.
pub fn run_if_pending(worker: &mut Worker<'_>, reaction: &Reaction) -> Result<()> {
    if worker.pending.remove(reaction) {
        run(worker, reaction)
    } else {
        Ok(())
    }
}

pub(crate) fn run(worker: &mut Worker<'_>, reaction: &Reaction) -> Result<()> {
    worker.undo.add(&Undo::Reaction {
        reaction: reaction.clone(),
    })?;
    match reaction {
        Reaction::DaemonReload => systemd::daemon_reload(),
        Reaction::MakeCache => make_cache(worker),
        Reaction::Restart { unit } if systemd::one(unit).is_active() => {
            worker.journal.log(&format!("restart {unit}"));
            systemd::ctl(UnitAction::Restart, unit)?;
            still_runs(unit)
        }
        Reaction::Reload { unit } if systemd::one(unit).is_active() => {
            worker.journal.log(&format!("reload {unit}"));
            if unit == "nginx.service" {
                reload_nginx(worker)?;
            } else {
                systemd::ctl(UnitAction::Reload, unit)?;
            }
            still_runs(unit)
        }
        Reaction::Restart { .. } | Reaction::Reload { .. } => Ok(()),
    }
}

fn make_cache(worker: &mut Worker<'_>) -> Result<()> {
    let program = package_manager::manager()?;
    // dnf serves old metadata of a changed repository until told otherwise.
    exec::must(&program, &["clean", "expire-cache"], METADATA)?;
    let journal = &mut worker.journal;
    let output = exec::run_lines(&program, &["-y", "makecache"], METADATA, &mut |line| journal.log(line))?;
    if output.ok() {
        return Ok(());
    }
    Err(package_manager::explain(&program, "makecache", &output, METADATA))
}

/// A reload that kills is an error, with the unit's own words.
fn still_runs(unit: &str) -> Result<()> {
    // A daemon that gives up over its configuration does so at once; systemd notices within moments.
    std::thread::sleep(Duration::from_millis(100));
    if systemd::one(unit).is_active() {
        return Ok(());
    }
    Err(
        Error::new(format!("{unit} stopped running: {}", systemd::journal(unit, 10)))
            .hint(format!("see `journalctl -u {unit}` on the host")),
    )
}
