//! Secrets, resolved.

use std::collections::BTreeMap;

use crate::inventory::Inventory;
use crate::state::Secret;
use crate::state::secret::MASK;

/// The secrets that land in a host's files, resolved by the caller (asked for, read, or generated and kept).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    auth_pass: BTreeMap<String, Secret>,
}

impl Secrets {
    /// None yet.
    pub fn new() -> Secrets {
        Secrets::default()
    }

    /// Stand-ins of eight asterisks, for showing a desired state without resolving anything.
    pub fn masked(inventory: &Inventory) -> Secrets {
        let mut secrets = Secrets::new();
        for instance in inventory
            .vrrp
            .iter()
            .flat_map(|v| &v.instances)
            .filter(|i| i.version == 2)
        {
            secrets.set_auth_pass(&instance.name, Secret::new(MASK));
        }
        secrets
    }

    /// Sets an instance's `auth_pass`.
    pub fn set_auth_pass(&mut self, instance: &str, secret: Secret) {
        self.auth_pass.insert(instance.to_owned(), secret);
    }

    /// An instance's `auth_pass`.
    pub fn auth_pass(&self, instance: &str) -> Option<&Secret> {
        self.auth_pass.get(instance)
    }

    /// Every secret, once.
    pub fn all(&self) -> Vec<Secret> {
        super::distinct(self.auth_pass.values().cloned())
    }
}
