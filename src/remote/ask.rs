//! Questions that only a person can answer.

use crate::state::Secret;

/// Questions only a person can answer. Called from the host's own thread; implementations serialise the terminal.
pub trait Ask: Send + Sync {
    /// An unknown host key: go on and store it?
    fn accept_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool;
    /// The passphrase of an encrypted key file, or a password; `None`: no answer is to be had.
    fn secret(&self, prompt: &str) -> Option<Secret>;
}
