//! From the inventory to a target.

use std::time::Duration;

use super::{Escalate, Target};
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
