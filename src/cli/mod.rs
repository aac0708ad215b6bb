//! Arguments, one file a command, renderers.

mod args;
mod commands;
mod dispatch;
mod error;
mod exit;
mod runtime;
mod secrets;
mod session;
mod ui;

pub use dispatch::main;
pub use exit::Exit;
