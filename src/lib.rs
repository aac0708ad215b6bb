//! hapair: two bare CentOS hosts become a verified nginx high-availability pair.
//!
//! One package, two binaries: `hapair` (feature `cli`) runs where the operator sits, `hapair-agent` (feature `agent`)
//! on the hosts. Arrows between the rooms go one way; `tests/rooms.rs` enforces it.

pub mod keepalived;
pub mod state;
pub mod vrrp;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
pub mod host;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod desired;
#[cfg(feature = "cli")]
pub mod drill;
#[cfg(feature = "cli")]
pub mod inventory;
#[cfg(feature = "cli")]
pub mod lab;
#[cfg(feature = "cli")]
pub mod payload;
#[cfg(feature = "cli")]
pub mod probe;
#[cfg(feature = "cli")]
pub mod remote;
#[cfg(feature = "cli")]
pub mod rollout;
