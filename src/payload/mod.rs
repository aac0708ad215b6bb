//! The agent's bytes, as the controller installs them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::state::hex::hex;

/// The static `hapair-agent` that this CLI was built with.
pub static AGENT: &[u8] = include_bytes!(env!("HAPAIR_AGENT"));

/// The Rust target that it was built for: `x86_64-unknown-linux-musl`, or `-gnu` where that could not be had.
pub const AGENT_TARGET: &str = env!("HAPAIR_AGENT_BUILT_FOR");

/// First 16 hexadecimal digits of the agent's SHA-256: part of the executor's file name.
pub fn agent_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| hex(&Sha256::digest(AGENT)[..8]));
    &HASH
}

/// Where the executor lives on a host: a path that SELinux policy labels `bin_t`.
pub fn executor_path() -> String {
    format!("/usr/local/hapair/sbin/hapair-agent-{}", agent_hash())
}
