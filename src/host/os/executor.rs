//! The running executor: where it is, and what it is.

use crate::state::hex::hex;
use sha2::{Digest, Sha256};

/// SHA-256 of the running binary, in hex; from its own name where it was delivered under its hash.
pub(crate) fn executor_hash() -> String {
    let Ok(path) = std::env::current_exe() else {
        return String::new();
    };
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if let Some(hash) = name.strip_prefix("hapair-agent-")
        && hash.len() >= 8
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return hash.to_owned();
    }
    std::fs::read("/proc/self/exe")
        .map(|bytes| hex(&Sha256::digest(&bytes)))
        .unwrap_or_default()
}

/// The running executor's own path, as PID 1 must call it.
pub fn executor() -> String {
    std::env::current_exe()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "/proc/self/exe".to_owned())
}
