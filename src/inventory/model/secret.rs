//! Where a secret comes from.

use std::path::PathBuf;

/// A secret as written: resolved when it is first needed, so that `render` and `check` need not ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the inventory.
    Literal(crate::state::Secret),
    /// `{env: NAME}`.
    Env(String),
    /// `{file: PATH}`, relative to the inventory; one trailing newline is dropped.
    File(PathBuf),
    /// `{prompt: TEXT}`.
    Prompt(String),
}
