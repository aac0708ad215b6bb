//! The daemon: event loop, sockets, netlink, scripts, notify, control socket.
//!
//! One thread reads packets and drives the state machines ([`daemon`]); log lines and control clients have threads of
//! their own, so that neither ever holds up an advert.

mod checks;
mod command;
pub mod config;
mod control;
pub mod daemon;
mod engine;
mod files;
mod log;
mod mail;
mod metrics;
pub mod netlink;
mod notify;
mod pacing;
pub mod plan;
mod processes;
mod release;
mod sys;
pub mod users;
mod vrrp_socket;

pub use command::{Invocation, USAGE, invoke};
pub use release::release;
