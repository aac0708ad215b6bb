//! What the host and its segment are before any plan is made. Read-only.

pub mod election_critical;
pub mod facts;
pub mod segment;
pub mod tools;
