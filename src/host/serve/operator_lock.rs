//! One operator at a time: a lock file under /run, held by the serving process for as long as it lives.
//!
//! The file is locked with flock(2), so that a holder who dies, however he dies, holds it no longer, and tells who holds
//! it. Breaking it puts another file in its place: the former holder still holds the old one, which counts for nothing,
//! and is named in the new one as a run that must not go on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::host::os::clock::now_ms;
use crate::host::os::error::{Error, Result, at};
use crate::host::os::root::Root;
use crate::state::frame::{IfHeld, Operator, TakenOver};
use crate::state::time::Utc;

/// Where the lock is; /run is empty after a boot.
const PATH: &str = "/run/hapair.lock";

/// How long an earlier connection of the same run may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many runs that lost the lock are remembered. Each is one that somebody broke by hand since the last boot.
const REMEMBERED: usize = 16;

/// What the file says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Who holds it; what a dead holder left counts for nothing.
    holder: Option<Holder>,
    /// Runs that lost it, oldest first.
    #[serde(default)]
    broken: Vec<Broken>,
}

/// Who holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Holder {
    operator: String,
    run: String,
    pid: u32,
    since_ms: u64,
}

/// A run whose lock was broken.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Broken {
    run: String,
    by: String,
    at_ms: u64,
}

/// The lock, held.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    run: String,
}

impl Lock {
    /// It is still in force.
    ///
    /// # Errors
    /// Another run took it over; the message names who and when.
    pub fn check(&self) -> Result<()> {
        let record = read_at(&self.path);
        refuse_broken(&record, &self.run)?;
        if is_at(&self.file, &self.path) {
            return Ok(());
        }
        Err(match record.holder {
            Some(holder) => taken_over(&holder.operator, holder.since_ms),
            None => Error::new("the operator lock is gone: hapair was removed from this host during this run")
                .hint("check `hapair status` before anything else"),
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Runs that lost it stay known.
        let record = Record {
            holder: None,
            broken: read(&mut self.file).unwrap_or_default().broken,
        };
        let _ = write(&mut self.file, &record);
    }
}

/// Takes the lock. Returns whose lock was broken for it, which only happens on request ([`IfHeld::Break`]).
///
/// # Errors
/// Somebody else holds it, or took it over from this run; the message names who and since when.
pub fn take(root: &Root, operator: &Operator) -> Result<(Lock, Option<TakenOver>)> {
    let path = root.path(PATH);
    let mut asked_to_end = false;
    let began = Instant::now();
    loop {
        let mut file = open(&path)?;
        if try_lock(&file) {
            // A lock on a file that was put aside meanwhile holds nothing.
            if !is_at(&file, &path) {
                continue;
            }
            let record = read(&mut file).unwrap_or_default();
            refuse_broken(&record, &operator.run)?;
            let record = Record {
                holder: Some(holder(operator)),
                broken: record.broken,
            };
            write(&mut file, &record).map_err(at("write", &path))?;
            return Ok((lock(file, path, operator), None));
        }
        let record = read_at(&path);
        refuse_broken(&record, &operator.run)?;
        let own = std::process::id();
        match &record.holder {
            Some(holder) if holder.run == operator.run && holder.pid != own && !asked_to_end => {
                end(holder.pid);
                asked_to_end = true;
            }
            // It ends, or writes its name at this moment.
            Some(_) if asked_to_end && began.elapsed() < PATIENCE => pause(),
            None if began.elapsed() < PATIENCE => pause(),
            Some(former) if operator.if_held == IfHeld::Break && former.run != operator.run => {
                return replace(&path, operator, &record, former.clone());
            }
            Some(holder) => return Err(held(holder)),
            None => {
                return Err(Error::new("the host is locked by another hapair").hint("wait until that run has ended"));
            }
        }
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn lock(file: File, path: PathBuf, operator: &Operator) -> Lock {
    Lock {
        file,
        path,
        run: operator.run.clone(),
    }
}

fn holder(operator: &Operator) -> Holder {
    Holder {
        operator: operator.name.clone(),
        run: operator.run.clone(),
        pid: std::process::id(),
        since_ms: now_ms(),
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(at("open", path))?;
    // An earlier version made it readable for all.
    if file.metadata().is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o600));
    }
    Ok(file)
}

/// Puts a lock of our own in the place of one that another run holds. Of two who do so at once the later one has it,
/// and the earlier one is told at its next step.
fn replace(path: &Path, operator: &Operator, record: &Record, former: Holder) -> Result<(Lock, Option<TakenOver>)> {
    let temporary = path.with_extension(format!("lock.{}", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let mut file = open(&temporary)?;
    let new = holder(operator);
    let mut broken = record.broken.clone();
    broken.push(Broken {
        run: former.run,
        by: operator.name.clone(),
        at_ms: new.since_ms,
    });
    broken.drain(..broken.len().saturating_sub(REMEMBERED));
    let record = Record {
        holder: Some(new),
        broken,
    };
    // Nobody else knows this file yet, so nobody else holds it.
    let locked = try_lock(&file);
    let placed = write(&mut file, &record).and_then(|()| std::fs::rename(&temporary, path));
    if placed.is_err() || !locked {
        let _ = std::fs::remove_file(&temporary);
    }
    placed.map_err(at("replace", path))?;
    let from = TakenOver {
        operator: former.operator,
        since_ms: former.since_ms,
    };
    Ok((lock(file, path.to_owned(), operator), Some(from)))
}

/// A run that lost the lock does not get it again: what it planned may be undone or done by now.
fn refuse_broken(record: &Record, run: &str) -> Result<()> {
    match record.broken.iter().find(|b| b.run == run) {
        Some(broken) => Err(taken_over(&broken.by, broken.at_ms)),
        None => Ok(()),
    }
}

fn taken_over(by: &str, at_ms: u64) -> Error {
    let at = Utc::since_epoch(Duration::from_millis(at_ms));
    Error::new(format!("the operator lock was taken over by {by} at {at}"))
        .hint("this run has to stop here; the changes it made so far remain")
        .hint(format!("ask {by}, check `hapair status`, then run the command again"))
}

fn held(holder: &Holder) -> Error {
    let since = Utc::since_epoch(Duration::from_millis(holder.since_ms));
    Error::new(format!("the host is locked by {} since {since}", holder.operator))
        .hint("wait for that run to end; it releases the lock then")
        .hint("`--break-lock` takes the lock anyway; that run then cannot continue")
}

/// The open file is the one that has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |m: std::fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => id(open) == id(named),
        _ => false,
    }
}

fn try_lock(file: &File) -> bool {
    // SAFETY: flock on a descriptor that is open for as long as `file` lives. The kernel gives the lock back when the
    // process dies, however it dies; children do not inherit it, as the descriptor is close-on-exec.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

fn read(file: &mut File) -> Option<Record> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .ok()?;
    serde_json::from_str(&text).ok()
}

fn read_at(path: &Path) -> Record {
    File::open(path)
        .ok()
        .and_then(|mut file| read(&mut file))
        .unwrap_or_default()
}

fn write(file: &mut File, record: &Record) -> std::io::Result<()> {
    let text = serde_json::to_string(record).unwrap_or_default();
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

/// Ends an earlier connection of this run. It holds the lock, so its number still means the same process.
fn end(pid: u32) {
    // SAFETY: sends a signal, touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn who(name: &str, if_held: IfHeld) -> Operator {
        Operator {
            name: name.into(),
            run: format!("run of {name}"),
            if_held,
        }
    }

    #[test]
    fn the_second_is_told_who_and_since_when() {
        let (_dir, root) = host();
        let (first, broke) = take(&root, &who("ann@desk", IfHeld::Refuse)).unwrap();
        assert!(broke.is_none());
        let error = take(&root, &who("bob@desk", IfHeld::Refuse)).unwrap_err();
        assert!(error.message.contains("ann@desk since 20"), "{error}");
        assert!(
            error.hints.iter().any(|h| h.contains("--break-lock")),
            "{:?}",
            error.hints
        );
        drop(first);
        assert!(take(&root, &who("bob@desk", IfHeld::Refuse)).is_ok());
    }

    #[test]
    fn only_root_reads_it_also_where_an_earlier_version_made_it() {
        let (_dir, root) = host();
        let path = root.path(PATH);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let _lock = take(&root, &who("ann@desk", IfHeld::Refuse)).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let _broke = take(&root, &who("bob@desk", IfHeld::Break)).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_run_that_lost_the_lock_stops_even_when_it_is_free_again() {
        let (_dir, root) = host();
        let ann = who("ann@desk", IfHeld::Refuse);
        let (hers, _) = take(&root, &ann).unwrap();
        hers.check().unwrap();
        let (his, broke) = take(&root, &who("bob@desk", IfHeld::Break)).unwrap();
        assert_eq!(broke.map(|b| b.operator).as_deref(), Some("ann@desk"));
        his.check().unwrap();
        let lost = |error: Error| assert!(error.message.contains("taken over by bob@desk at 20"), "{error}");
        lost(hers.check().unwrap_err());
        lost(take(&root, &ann).unwrap_err());
        // Giving back what one does not hold takes nothing from who does.
        drop(hers);
        his.check().unwrap();
        assert!(take(&root, &who("carl@desk", IfHeld::Refuse)).is_err());
        drop(his);
        lost(take(&root, &ann).unwrap_err());
        let next = Operator {
            run: "her next run".into(),
            ..ann
        };
        assert!(take(&root, &next).is_ok());
    }

    #[test]
    fn breaking_a_lock_that_nobody_holds_breaks_nothing() {
        let (_dir, root) = host();
        let (lock, broke) = take(&root, &who("ann@desk", IfHeld::Break)).unwrap();
        assert!(broke.is_none());
        drop(lock);
        let (_lock, broke) = take(&root, &who("bob@desk", IfHeld::Break)).unwrap();
        assert!(broke.is_none());
    }
}
