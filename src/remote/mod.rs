//! SSH: connect, host keys, deliver the agent, exchange frames. Asks through a callback, never prints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::state::{Facts, Reply, Request, Secret};

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
#[derive(Debug, thiserror::Error)]
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

/// One open conversation with the executor of one host: one SSH connection, one exec.
pub struct Link {
    _private: (),
}

impl Link {
    /// Connects, checks the host key, authenticates, delivers the executor if it is missing, and reads its facts.
    ///
    /// # Errors
    /// Every failure ends within `connect_timeout` (plus the time for streaming the executor).
    pub async fn connect(target: &Target, ask: Arc<dyn Ask>) -> Result<Link, RemoteError> {
        let _ = (target, ask);
        unimplemented!()
    }

    /// The host's name in the inventory.
    pub fn host(&self) -> &str {
        unimplemented!()
    }

    /// What the executor said of the host when the conversation opened.
    pub fn facts(&self) -> &Facts {
        unimplemented!()
    }

    /// The host key that was accepted, in OpenSSH's `SHA256:…` form.
    pub fn host_key(&self) -> &str {
        unimplemented!()
    }

    /// Sends a request and does not wait. Works also while replies stream in.
    pub async fn send(&self, request: &Request) -> Result<(), RemoteError> {
        let _ = request;
        unimplemented!()
    }

    /// The next reply; a [`Reply::Error`] arrives as a reply, not as an error.
    pub async fn recv(&mut self) -> Result<Reply, RemoteError> {
        unimplemented!()
    }

    /// Sends a request and returns its one reply; [`Reply::Error`] becomes [`RemoteErrorKind::Refused`].
    pub async fn request(&mut self, request: &Request) -> Result<Reply, RemoteError> {
        let _ = request;
        unimplemented!()
    }

    /// Says goodbye and closes; never blocks longer than a second.
    pub async fn close(self) {
        unimplemented!()
    }
}
