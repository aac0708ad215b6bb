//! SSH: connect, host keys, deliver the agent, exchange frames. Asks through a callback, never prints.
//!
//! Each host has a thread of its own that owns the ssh2 session; [`Link`] talks to it through channels. Where to look:
//! `config` (`ssh -G`), `dial` (TCP, jump hosts), `hostkey` and `knownhosts`, `auth` and `keyfile`, `escalate` (sudo),
//! `deliver` (the executor's way onto the host), `opening` (up to the first frame), `conversation` over a `wire` (bytes
//! to lines, poll(2)), `deadline` (the watchdog), `thread` (all of it in order).

mod auth;
mod config;
mod deadline;
mod deliver;
mod dial;
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
mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use deliver::Payload;
pub use link::Link;
pub use target::Secrets;

use crate::state::Secret;

/// How to reach one host; everything resolved, nothing left to look up but secrets that are asked for.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host's name in the inventory, for messages.
    pub host: String,
    /// Name or address to connect to.
    pub address: String,
    /// TCP port; `None`: from ssh_config, else 22.
    pub port: Option<u16>,
    /// Login; `None`: from ssh_config, else `root`.
    pub user: Option<String>,
    /// Key file to try before the agent's keys and ssh_config's; `~` expanded.
    pub identity_file: Option<PathBuf>,
    /// Password login, tried last.
    pub password: Option<Secret>,
    /// Become root with sudo.
    pub escalate: Escalate,
    /// Instead of ssh_config's and `~/.ssh/known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// `user@host:port`.
    pub proxy_jump: Option<String>,
    /// Read `~/.ssh/config` (through `ssh -G`) and ask the SSH agent; off in the lab.
    pub use_operator_config: bool,
    /// Store an unknown host key without asking.
    pub accept_new_host_keys: bool,
    /// Refuse any host key but this one (OpenSSH's `SHA256:…` form): the key seen before a change of address.
    pub pinned_host_key: Option<String>,
    /// TCP connect, handshake, authentication and the executor's first frame must be over within this.
    pub connect_timeout: Duration,
}

/// Becoming root.
#[derive(Debug, Clone)]
pub enum Escalate {
    /// The login is root.
    No,
    /// sudo, with its password where it asks for one.
    Sudo(Option<Secret>),
}

/// Questions only a person can answer. Called from the host's own thread; implementations serialise the terminal.
pub trait Ask: Send + Sync {
    /// An unknown host key: go on and store it?
    fn accept_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool;
    /// The passphrase of an encrypted key file, or a password; `None`: no answer is to be had.
    fn secret(&self, prompt: &str) -> Option<Secret>;
}

/// Why a host could not be used. `Display` says what and where; `hints` say what to do now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host}: {message}")]
pub struct RemoteError {
    /// The host's name in the inventory.
    pub host: String,
    /// Which kind of failure, for exit codes.
    pub kind: RemoteErrorKind,
    /// Lower case, no final period.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// Could not be reached, refused us, or is not who it was.
    Unreachable,
    /// The connection broke in mid-conversation; a transaction on the host goes on without us.
    Lost,
    /// The host answered that the request failed.
    Refused,
}

/// What tests and the lab may set differently from real life.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The executor to run.
    pub payload: Payload,
    /// Instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// Silence after which an open connection is asked for a sign of life.
    pub probe_after: Duration,
    /// Silence, in spite of that, after which it is lost. Catches a host whose kernel answers and whose sshd does not; a
    /// host that is gone altogether is noticed by TCP after 6 s.
    pub give_up_after: Duration,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            payload: Payload::default(),
            ssh_config: None,
            probe_after: Duration::from_secs(5),
            give_up_after: Duration::from_secs(30),
        }
    }
}
