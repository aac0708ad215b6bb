//! On the target: facts, observe, diff, converge, journal, revert, fault injection.
//!
//! `hapair-agent serve` speaks frames ([`crate::state::frame`]) over the one exec of a host. It changes nothing itself:
//! an apply is stored ([`record`]) and run by PID 1, and `serve` only follows its journal. Everything is static and
//! NSS-free, and asks of the host only what CentOS 7 has.

pub mod change;
pub mod command;
pub mod control;
pub mod observe;
pub mod os;
pub mod record;
pub mod report;
pub mod resource;
pub mod serve;
pub mod transaction;

pub use command::main;
