//! What the daemon does beside VRRP: mail, metrics, FIFOs, delays, hardening, scripts. In a network namespace of each test's own.
//!
//! Needs root and ip(8); without them it says so and does nothing else (in CI it fails).
#![cfg(feature = "agent")]

mod host;
mod interfaces;
#[path = "../netns/mod.rs"]
mod netns;
mod processes;
mod strangers;
mod tellings;
