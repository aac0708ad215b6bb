//! The agent on real interfaces, beside the real keepalived and beside itself, in network namespaces of the tests' own.
//!
//! Needs root, ip(8) and, where it says so, keepalived or strace; without them it says so and does nothing else (in CI it
//! fails). Asserted are causes, counters, and the order and number of packets, never how long something takes.

mod addresses;
mod beside_keepalived;
mod capture;
mod election;
mod farewell;
mod forger;
mod giving_up;
mod hmac;
mod hmac_replay;
mod neighbours;
mod net;
#[path = "../netns/mod.rs"]
mod netns;
mod packets;
mod strangers;
mod takeover;
mod waits;
