//! On the target: facts, observe, diff, converge, journal, revert, fault injection.
//!
//! `hapair-agent serve` speaks frames ([`crate::state::frame`]) over the one exec of a host. It changes nothing itself:
//! an apply is stored ([`txn`]) and run by PID 1, and `serve` only follows its journal. Everything is static and
//! NSS-free, and asks of the host only what CentOS 7 has.

pub mod check_config;
pub mod command;
pub mod converge;
pub(crate) mod critical;
pub mod diff;
pub mod drift;
pub mod engine;
pub mod facts;
pub mod fault;
pub mod firewall;
pub(crate) mod following;
pub mod lock;
pub mod memory;
pub mod observe;
pub mod os;
pub mod output;
pub(crate) mod own_stop;
pub mod react;
pub mod reboot;
pub mod record;
pub(crate) mod running;
pub mod segment;
pub mod serve;
pub mod status;
pub mod transaction;
pub mod validate;
pub mod watch;

pub use command::main;
