//! The agent's bytes, for whoever installs them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// The static `hapair-agent` that this CLI was built with.
pub static AGENT: &[u8] = include_bytes!(env!("HAPAIR_AGENT"));

/// First 16 hexadecimal digits of the agent's SHA-256: part of the executor's file name.
pub fn agent_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let digest = Sha256::digest(AGENT);
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    });
    &HASH
}

/// Where the executor lives on a host: a path that SELinux policy labels `bin_t`.
pub fn executor_path() -> String {
    format!("/usr/local/hapair/sbin/hapair-agent-{}", agent_hash())
}
