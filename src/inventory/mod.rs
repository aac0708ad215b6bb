//! `inventory.yaml` to a validated [`Inventory`]; every error points at a line.
//!
//! The way through: [`node`] turns YAML into a tree that remembers where everything was written, [`table`] reads keys
//! out of it and reports what is unknown or of the wrong kind, `grammar` says what a string may contain so that it
//! cannot break out of the file it is rendered into, and `validate` checks what the values mean together. Problems
//! are collected, not thrown: one run shows them all.

mod context;
mod error;
mod grammar;
mod mask;
mod model;
mod node;
mod secret;
mod source;
mod suggest;
mod table;
mod timing;
mod validate;

use std::path::Path;

pub use error::{InventoryErrors, Problem, Snippet};
pub use model::*;
pub use secret::{AUTH_PASS_MAX, SecretError, check_auth_pass, check_hmac_key};
pub use timing::{COMMAND_DEFAULT_TIMEOUT, RESTART_START_SECONDS, minimum_timeout};

impl Inventory {
    /// Reads and validates the inventory at `path`.
    ///
    /// Nothing is asked and nothing is connected to; the only other files read are those that `nginx.extra_files`
    /// names. Secrets stay [`SecretSource`]s until they are needed.
    ///
    /// # Errors
    ///
    /// Every problem found, in the order of writing. Where the text is not YAML at all, only that.
    pub fn load(path: &Path) -> Result<Inventory, InventoryErrors> {
        let bytes = std::fs::read(path).map_err(|e| InventoryErrors::unreadable(path, &e))?;
        let text = String::from_utf8(bytes).map_err(|e| InventoryErrors::not_utf8(path, &e))?;
        Inventory::parse(&text, path)
    }

    /// Validates `text` as if it had been read from `path`: relative paths in it start at that file's directory.
    ///
    /// # Errors
    ///
    /// As [`Inventory::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Inventory, InventoryErrors> {
        validate::inventory(text, path)
    }
}
