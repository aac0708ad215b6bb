//! Arguments, one file a command, renderers.

mod args;
mod commands;
mod dispatch;
mod error;
mod exit;
mod findings;
mod runtime;
mod secrets;
mod session;
mod ui;
mod whole_file;

pub use dispatch::main;
pub use exit::Exit;
