//! One transaction at a time.

use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use crate::host::os::root::Root;
use crate::host::record::txn::{Txn, all};
use crate::state::TxnId;

/// Between fork and exec a child still holds its parent's flock; this allows for that.
pub(crate) const MOMENT: Duration = Duration::from_secs(1);

/// One transaction at a time: the lock lives as long as this process. Waits for another one, but not longer than that.
pub(crate) fn exclusive(root: &Root, patience: Duration) -> Option<std::fs::File> {
    let until = Instant::now() + patience;
    loop {
        let lock = try_exclusive(root);
        if lock.is_some() || Instant::now() > until {
            return lock;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The transaction that runs on this host, or waits for its confirm.
pub fn running(root: &Root) -> Option<TxnId> {
    let open = |txn: &Txn| !txn.is_finished() && txn.has("request.json");
    let newest = || all(root).into_iter().rev();
    if let Some(armed) = newest().find(|txn| txn.has("armed")) {
        return Some(armed.id);
    }
    if try_exclusive(root).is_some() {
        return None;
    }
    // One that has just finished holds the lock a moment longer.
    newest().find(open).map(|txn| txn.id)
}

/// No transaction runs; one that is about to end gets a moment.
pub fn idle(root: &Root) -> bool {
    exclusive(root, MOMENT).is_some()
}

fn try_exclusive(root: &Root) -> Option<std::fs::File> {
    let path = root.path("/run/hapair-txn.lock");
    if let Some(parent) = path.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .ok()?;
    // SAFETY: flock on a descriptor that is open for as long as `file` lives.
    let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    (taken == 0).then_some(file)
}
