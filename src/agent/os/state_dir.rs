//! The directory of a running daemon: what is in it, and under which names.

use std::path::{Path, PathBuf};

/// Where the daemon as installed keeps its socket and the mark of a run.
pub const STATE_DIR: &str = "/run/hapair";

/// The control socket.
pub(crate) fn socket_in(dir: &Path) -> PathBuf {
    dir.join("agent.sock")
}

/// Locked while the daemon lives, and for the moments of a start and of the stop step. It stays.
pub(super) fn lock_in(dir: &Path) -> PathBuf {
    dir.join("agent.lock")
}

/// There while the daemon runs.
pub(super) fn running_in(dir: &Path) -> PathBuf {
    dir.join("agent.running")
}

/// There after a crash that has been cleaned up after, until the next start.
pub(super) fn crashed_in(dir: &Path) -> PathBuf {
    dir.join("agent.crashed")
}

/// The notes of a run for its stop step.
pub(crate) fn addresses_in(state_dir: &Path) -> PathBuf {
    state_dir.join("agent.addresses")
}
