//! What changed resources set off at the end of their stage.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::host::change::staging::Worker;
use crate::host::os::error::{Error, Result};
use crate::host::os::{exec, systemd};
use crate::host::record::undo::Undo;
use crate::state::Reaction;

/// How long a package manager may take to fetch metadata.
const METADATA: Duration = Duration::from_secs(15 * 60);

/// Where both nginx packages log.
const NGINX_LOG: &str = "/var/log/nginx/error.log";

/// Runs every pending reaction once: daemon-reload, metadata, restarts, reloads.
///
/// # Errors
/// The first that fails.
pub fn all(worker: &mut Worker<'_>) -> Result<()> {
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
        one(worker, reaction)?;
    }
    Ok(())
}

/// Runs a reaction now if it is pending: a unit file must be known before its service starts, metadata be fresh
/// before packages are installed.
///
/// # Errors
/// It fails.
pub fn now(worker: &mut Worker<'_>, reaction: &Reaction) -> Result<()> {
    if worker.pending.remove(reaction) {
        one(worker, reaction)
    } else {
        Ok(())
    }
}

fn one(worker: &mut Worker<'_>, reaction: &Reaction) -> Result<()> {
    worker.undo.add(&Undo::Reaction {
        reaction: reaction.clone(),
    })?;
    match reaction {
        Reaction::DaemonReload => systemd::daemon_reload(),
        Reaction::MakeCache => make_cache(worker),
        Reaction::Restart { unit } if systemd::one(unit).is_active() => {
            worker.journal.log(&format!("restart {unit}"));
            systemd::ctl("restart", unit)?;
            still_runs(unit)
        }
        Reaction::Reload { unit } if systemd::one(unit).is_active() => {
            worker.journal.log(&format!("reload {unit}"));
            if unit == "nginx.service" {
                reload_nginx(worker)?;
            } else {
                systemd::ctl("reload", unit)?;
            }
            still_runs(unit)
        }
        Reaction::Restart { .. } | Reaction::Reload { .. } => Ok(()),
    }
}

fn make_cache(worker: &mut Worker<'_>) -> Result<()> {
    let program = crate::host::resource::packages::manager()?;
    // dnf serves old metadata of a changed repository until told otherwise.
    exec::must(&program, &["clean", "expire-cache"], METADATA)?;
    let journal = &mut worker.journal;
    let output = exec::run_lines(&program, &["-y", "makecache"], METADATA, &mut |line| journal.log(line))?;
    if output.ok() {
        return Ok(());
    }
    Err(crate::host::resource::packages::explain(
        &program,
        "makecache",
        &output,
        METADATA,
    ))
}

/// A reload that kills is an error, with the unit's own words.
fn still_runs(unit: &str) -> Result<()> {
    // A daemon that gives up over its configuration does so at once; systemd notices within moments.
    std::thread::sleep(Duration::from_millis(100));
    if systemd::one(unit).is_active() {
        return Ok(());
    }
    Err(
        Error::new(format!("{unit} does not run any more: {}", systemd::journal(unit, 10)))
            .hint(format!("see `journalctl -u {unit}` on the host")),
    )
}

/// nginx.org's reload is only a signal and succeeds whatever comes of it: wait until the workers are new, and read what
/// the master had to say.
fn reload_nginx(worker: &mut Worker<'_>) -> Result<()> {
    let unit = "nginx.service";
    let master = systemd::one(unit).main_pid;
    let before = children(master);
    let log_size = std::fs::metadata(NGINX_LOG).map_or(0, |m| m.len());
    systemd::ctl("reload", unit)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(line) = emergency(log_size) {
            return Err(
                Error::new(format!("nginx refused the new configuration while running: {line}"))
                    .hint("`nginx -t` cannot see this; usually a port or address that is taken or not on this host"),
            );
        }
        let now = children(master);
        // The old workers take requests until the master tells them to go, a moment after the new ones run.
        let fresh = now.iter().any(|pid| !before.contains(pid));
        if before.is_empty() || (fresh && before.iter().all(|pid| is_leaving(*pid))) {
            return Ok(());
        }
        if Instant::now() > deadline {
            worker
                .journal
                .log("nginx has not started new workers within 5 s of its reload");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A worker that is gone, or finishes the requests it has (nginx says so in its title).
fn is_leaving(pid: u32) -> bool {
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.is_empty() || String::from_utf8_lossy(&title).contains("shutting down")
}

/// The first `[emerg]` line that nginx logged after that size.
fn emergency(from: u64) -> Option<String> {
    let mut file = File::open(NGINX_LOG).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().find(|l| l.contains("[emerg]")).map(str::to_owned)
}

/// Child processes, from the fourth field of `/proc/PID/stat` (the name before it may hold blanks and brackets).
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        after.split_whitespace().nth(1).and_then(|p| p.parse::<u32>().ok()) == Some(parent)
    })
    .collect()
}
