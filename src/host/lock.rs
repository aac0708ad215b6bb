//! One operator at a time: a lock file under /run, held by the serving process for as long as it lives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result, at};
use super::facts::now_ms;
use super::root::Root;
use crate::state::frame::Operator;
use crate::state::time::Utc;

/// Where the lock is; /run is empty after a boot.
const PATH: &str = "/run/hapair.lock";

/// Who holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    operator: String,
    run: String,
    pid: u32,
    since_ms: u64,
}

/// The lock, held.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

/// Takes the lock.
///
/// # Errors
/// Somebody else holds it; the message names who and since when.
pub fn take(root: &Root, operator: &Operator) -> Result<Lock> {
    let path = root.path(PATH);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o644)
        .open(&path)
        .map_err(at("open", &path))?;
    let mut asked_to_end = None;
    let began = Instant::now();
    while !try_lock(&file) {
        match (holder(&mut file), asked_to_end) {
            (Some(holder), None) if holder.run == operator.run && holder.pid != std::process::id() => {
                end(holder.pid);
                asked_to_end = Some(holder.pid);
            }
            (_, Some(_)) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            (Some(holder), _) => {
                let since = Utc::since_epoch(Duration::from_millis(holder.since_ms));
                return Err(
                    Error::new(format!("the host is locked by {} since {since}", holder.operator))
                        .hint("wait until that run has ended; its lock goes with it")
                        .hint(format!(
                            "if its machine is gone for good: `kill {}` on the host",
                            holder.pid
                        )),
                );
            }
            (None, _) => {
                return Err(Error::new("the host is locked by another hapair").hint("wait until that run has ended"));
            }
        }
    }
    let holder = Holder {
        operator: operator.name.clone(),
        run: operator.run.clone(),
        pid: std::process::id(),
        since_ms: now_ms(),
    };
    let text = serde_json::to_string(&holder).unwrap_or_default();
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(text.as_bytes()))
        .map_err(at("write", &path))?;
    Ok(Lock { file })
}

/// How long an earlier connection of the same run may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

fn try_lock(file: &File) -> bool {
    // SAFETY: flock on a descriptor that is open for as long as `file` lives. The kernel gives the lock back when the
    // process dies, however it dies; children do not inherit it, as the descriptor is close-on-exec.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// Ends an earlier connection of this run. It holds the lock, so its number still means the same process.
fn end(pid: u32) {
    // SAFETY: sends a signal, touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_and_since_when() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let root = Root::at(dir.path());
        let who = |name: &str| Operator {
            name: name.into(),
            run: format!("run of {name}"),
        };
        let first = take(&root, &who("ann@desk")).unwrap();
        let error = take(&root, &who("bob@desk")).unwrap_err();
        assert!(error.message.contains("ann@desk since 20"), "{error}");
        drop(first);
        assert!(take(&root, &who("bob@desk")).is_ok());
    }
}
