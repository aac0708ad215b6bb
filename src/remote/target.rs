//! From the inventory to a target.

use std::path::PathBuf;
use std::time::Duration;

use crate::inventory::Inventory;
use crate::state::Secret;

/// What a host on the same network needs many times over; long enough for a reverse lookup that times out in sshd.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The inventory's secrets, resolved.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// `ssh.password`.
    pub password: Option<Secret>,
    /// `ssh.become.password`.
    pub become_password: Option<Secret>,
}

impl Target {
    /// The host of that name as the inventory describes it, with the operator's ssh configuration, at
    /// [`crate::inventory::Host::ssh_address`]; `None`: there is no such host.
    pub fn from_inventory(inventory: &Inventory, host: &str, secrets: &Secrets) -> Option<Target> {
        let described = inventory.host(host)?;
        let ssh = &inventory.ssh;
        Some(Target {
            host: described.name.clone(),
            address: described.ssh_address(),
            port: ssh.port,
            user: ssh.user.clone(),
            identity_file: ssh.identity_file.clone(),
            password: secrets.password.clone(),
            escalate: match ssh.r#become {
                Some(_) => Escalate::Sudo(secrets.become_password.clone()),
                None => Escalate::No,
            },
            known_hosts: ssh.known_hosts.clone(),
            proxy_jump: ssh.proxy_jump.clone(),
            use_operator_config: true,
            accept_new_host_keys: false,
            pinned_host_key: None,
            connect_timeout: CONNECT_TIMEOUT,
        })
    }
}

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
