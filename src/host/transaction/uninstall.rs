//! What is hapair's own on a host, and taking it off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::control::fault;
use crate::host::os::error::{Error, Result, at};
use crate::host::os::root::Root;
use crate::host::os::{files, systemd};
use crate::host::record::undo::{Log, Undo};
use crate::host::record::{exclusive, fingerprint, history};
use crate::host::transaction::archive::Archive;
use crate::state::{Engine, UnitAction};

/// Where the executors are.
const EXECUTORS: &str = "/usr/local/hapair";

/// History and everything else that hapair remembers.
const MEMORY: &str = "/var/lib/hapair";

/// What nobody but hapair puts there.
const FILES: [&str; 3] = [
    "/etc/systemd/system/hapair-agent.service",
    "/etc/systemd/system/keepalived.service.d/hapair.conf",
    "/usr/local/sbin/hapair-agent",
];

/// Something of hapair's besides executors is on the host.
pub(crate) fn is_installed(root: &Root) -> bool {
    root.path(MEMORY).exists() || FILES.iter().any(|path| root.path(path).exists())
}

/// Paths to take off, of those that are there in the end (`print`): hapair's own, and those that transactions long
/// forgotten created and nobody has changed since.
pub(crate) fn paths(root: &Root, forgotten: &Archive, print: impl Fn(&Path) -> String) -> BTreeSet<PathBuf> {
    let own = FILES.iter().map(|path| root.path(path));
    let created = forgotten.created.iter();
    let untouched = created.filter(|(path, left)| print(path) == **left);
    let mut all: BTreeSet<PathBuf> = own.chain(untouched.map(|(path, _)| path.clone())).collect();
    all.retain(|path| print(path) != fingerprint::missing());
    all
}

/// Removes hapair's own files; the undo log keeps them until the transaction has finished.
///
/// # Errors
/// One cannot be removed.
pub(crate) fn run(root: &Root, undo: &mut Log, forgotten: &Archive, log: &mut dyn FnMut(&str)) -> Result<()> {
    let all = paths(root, forgotten, fingerprint::fingerprint_of);
    if all.is_empty() {
        return Ok(());
    }
    let unit = Engine::Agent.unit();
    let agent = systemd::one(unit);
    if root.is_live() && agent.exists() {
        undo.add(&Undo::Unit {
            unit: unit.to_owned(),
            active: agent.is_active(),
            enabled: agent.enabled,
        })?;
        systemd::ctl(UnitAction::Stop, unit)?;
        systemd::quiet(UnitAction::Disable, unit);
    }
    // What is in a directory before the directory.
    for path in all.into_iter().rev() {
        undo.keep(&path)?;
        log(&format!("remove {}", path.display()));
        files::remove(&path)?;
        if path.parent().is_some_and(|p| p.ends_with("keepalived.service.d")) {
            files::remove(path.parent().unwrap_or(&path))?;
        }
    }
    if root.is_live() {
        systemd::daemon_reload()?;
    }
    Ok(())
}

/// How long a removal waits for a transaction that is about to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// The last step of a removal: faults, memory, locks, executors, the running one last. The caller holds the operator lock.
///
/// # Errors
/// A transaction is still in force or runs, a unit that a drill held down does not come up, or a file cannot be removed.
pub(crate) fn purge(root: &Root) -> Result<()> {
    if let Some(standing) = history::history(root)
        .iter()
        .find(|t| t.can_be_rolled_back() && t.changed > 0)
    {
        return Err(Error::new(format!("transaction {} is still in force", standing.id))
            .hint("`hapair remove` rolls it back first"));
    }
    if let Some(armed) = history::armed(root) {
        return Err(Error::new(format!(
            "transaction {armed} is waiting for a confirm on this host"
        )));
    }
    // Held to the end: a transaction that would start now finds no request.
    let Some(_exclusive) = exclusive::exclusive(root, PATIENCE) else {
        let running = exclusive::running(root).map(|id| format!(" {id}")).unwrap_or_default();
        return Err(Error::new(format!("transaction{running} runs on this host"))
            .hint("wait for it to end, then run the command again"));
    };
    fault::repair_all(root)?;
    for path in [MEMORY, "/run/hapair/fault"] {
        remove_tree(&root.path(path))?;
    }
    // The agent's own files; a machine that keeps twins has a directory of theirs there.
    let runtime = root.path("/run/hapair");
    for entry in std::fs::read_dir(&runtime).into_iter().flatten().flatten() {
        files::remove(&entry.path())?;
    }
    files::remove(&runtime)?;
    for path in ["/run/hapair-txn.lock", "/run/hapair.lock"] {
        files::remove(&root.path(path))?;
    }
    let running = std::env::current_exe().unwrap_or_default();
    let directory = root.path(EXECUTORS).join("sbin");
    for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
        if entry.path() != running {
            files::remove(&entry.path())?;
        }
    }
    if running.parent() == Some(directory.as_path()) {
        files::remove(&running)?;
    }
    files::remove(&directory)?;
    files::remove(&root.path(EXECUTORS))
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(at("remove", path)(e)),
        _ => Ok(()),
    }
}
