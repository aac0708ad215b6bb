//! What the host and its segment are before any plan is made. Read-only.

pub mod election_critical;
pub mod facts;
pub mod links;
pub mod packet_filter;
pub mod processes;
pub mod segment;
pub mod sockets;
pub mod speakers;
pub mod static_addresses;
pub mod tools;
