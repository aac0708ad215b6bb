//! The daemon: event loop, sockets, netlink, scripts, notify, control socket.
//!
//! One thread reads packets and drives the state machines ([`daemon`]); log lines and control clients have threads of
//! their own, so that neither ever holds up an advert.

mod checks;
mod command;
pub mod config;
mod control;
pub mod daemon;
mod debounce;
mod duplicate;
mod engine;
mod fifo;
mod files;
mod harden;
#[cfg(test)]
#[path = "../../tests/left_out/mod.rs"]
mod left_out;
mod log;
mod mail;
mod mark;
mod metrics;
mod metrics_http;
mod neighbours;
pub mod netlink;
mod notes;
mod notify;
mod pacing;
mod patience;
pub mod plan;
mod processes;
mod release;
pub mod script;
mod signing;
mod spawn;
mod status;
mod sys;
mod systemd;
pub mod users;
mod vrrp_socket;
mod watched;

pub use command::{Invocation, USAGE, invoke};
pub use control::ask;
pub use daemon::STATE_DIR;
pub use harden::Hardening;
pub use release::release;
