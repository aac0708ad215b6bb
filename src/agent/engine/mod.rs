//! Routers and everything they act on: sockets, addresses, scripts, notifications.

mod drive;
mod install;
mod kernel;
mod outputs;
mod reports;
mod stray_checks;
mod strays;
mod tracking;
mod undone;
mod units;

pub(super) use drive::{Engine, FLOOD, Tokens};
