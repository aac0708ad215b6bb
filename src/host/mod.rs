//! On the target: `hapair-agent serve` and what it starts.
//!
//! It speaks frames ([`crate::state::frame`]) over the one exec of a host. It changes nothing itself: an apply is stored
//! ([`record`]) and run by PID 1 ([`transaction`]), and `serve` only follows its journal. Everything is static and
//! NSS-free, and asks of the host only what CentOS 7 has.
//!
//! Ten rooms, each of which imports only those before it:
//!
//! * [`os`]: ask the machine and tell it,
//! * [`record`]: one transaction on disk,
//! * [`observe`]: facts, and the segment,
//! * [`resource`]: one file a kind of resource,
//! * [`control`]: units, reboots, faults and holds on request,
//! * [`change`]: validation before a change, reactions after it,
//! * [`report`]: status and drift,
//! * [`preflight`]: what else lives on the host and the segment, as findings,
//! * [`transaction`]: run, confirm, revert, roll back,
//! * [`serve`]: the conversation with the controller.

mod arguments;
pub mod change;
pub mod command;
pub mod control;
pub mod observe;
pub mod os;
pub mod preflight;
pub mod record;
pub mod report;
pub mod resource;
pub mod serve;
pub mod transaction;

pub use command::main;
