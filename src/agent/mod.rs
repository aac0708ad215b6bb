//! The daemon: event loop, sockets, netlink, scripts, notify, control socket.
//!
//! From the ground up: `os` asks and tells the machine, `net` has the packets and the interfaces, `track` watches what decides
//! about the priority, `tell` has notifications, mail, status and metrics. `plan` turns a configuration into settings and addresses,
//! `engine` drives the routers with all of these, and `daemon` drives the engine. `release` is the stop step after a crash.
//!
//! One thread reads packets and drives the state machines (`daemon`); log lines and control clients have threads of
//! their own, so that neither ever holds up an advert.

mod command;
pub mod config;
mod daemon;
mod engine;
#[cfg(test)]
#[path = "../../tests/left_out/mod.rs"]
mod left_out;
mod net;
mod notes;
mod os;
mod plan;
mod release;
mod tell;
mod track;

pub use command::{Invocation, StatusOptions, Wait, status, tell};
pub use daemon::{RunOptions, run};
pub use os::harden::Hardening;
pub use os::script;
pub use os::state_dir::STATE_DIR;
pub(crate) use os::sys;
pub use release::release;
pub use tell::control::ask;
