//! SSH: connect, host keys, deliver the agent, exchange frames. Asks through a callback, never prints.
//!
//! Each host has a thread of its own that owns the ssh2 session; [`Link`] talks to it through channels. Where to look:
//! `config` (`ssh -G`), `dial` (TCP, jump hosts), `hostkey` and `knownhosts`, `auth` and `keyfile`, `escalate` (sudo),
//! `deliver` (the executor's way onto the host), `handshake` (up to the first frame), `framed` over a `wire` (bytes
//! to lines, poll(2)), `deadline` (the watchdog), `host_thread` (all of it in order).

mod ask;
mod auth;
mod config;
mod deadline;
mod deliver;
mod dial;
mod error;
mod escalate;
mod framed;
mod handshake;
mod host_thread;
mod hostkey;
mod keyfile;
mod knownhosts;
mod link;
mod tail;
mod target;
mod tuning;
mod wire;

pub use ask::Ask;
pub use deliver::Payload;
pub use error::{RemoteError, RemoteErrorKind, accepted};
pub use link::Link;
pub use target::{Escalate, Secrets, Target};
pub use tuning::Tuning;
