//! `inventory.yaml` to a validated [`Inventory`]; every error points at a line.
//!
//! The way through: [`node`] turns YAML into a tree that remembers where everything was written, [`table`] reads keys
//! out of it and reports what is unknown or of the wrong kind, `grammar` says what a string may contain so that it
//! cannot break out of the file it is rendered into, and `validate` checks what the values mean together. Problems
//! are collected, not thrown: one run shows them all.

mod context;
mod error;
mod grammar;
mod host_port;
mod load;
mod mask;
mod model;
mod node;
mod secret;
mod side;
mod source;
mod suggest;
mod table;
mod timing;
mod validate;

pub use error::{InventoryErrors, Problem, Snippet};
pub use model::*;
pub use secret::{AUTH_PASS_MAX, check_auth_pass, check_hmac_key};
pub use side::Side;
pub use timing::{COMMAND_DEFAULT_TIMEOUT, RESTART_START_SECONDS, minimum_timeout};
