//! Asking and telling the operating system: processes, users, signals to systemd, descriptors, the log.

pub(super) mod deadline_stream;
pub(super) mod epoll_registered;
pub(super) mod harden;
pub(super) mod log;
pub(super) mod run_marker;
pub mod script;
pub(super) mod spawn;
pub(super) mod state_dir;
pub(crate) mod sys;
pub(super) mod systemd;
pub(super) mod users;
