//! Secrets, resolved.

use std::collections::BTreeMap;

use crate::inventory::Inventory;
use crate::state::Secret;
use crate::state::secret::MASK;

/// The secrets that land in a host's files, resolved by the caller (asked for, read, or generated and kept).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    auth_pass: BTreeMap<String, Secret>,
    hmac_keys: BTreeMap<String, BTreeMap<u8, Secret>>,
}

impl Secrets {
    /// None yet.
    pub fn new() -> Secrets {
        Secrets::default()
    }

    /// Stand-ins of eight asterisks, for showing a desired state without resolving anything.
    pub fn masked(inventory: &Inventory) -> Secrets {
        let mut secrets = Secrets::new();
        for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
            if instance.has_password() {
                secrets.set_auth_pass(&instance.name, Secret::new(MASK));
            }
            for key in instance.auth_hmac.iter().flat_map(|auth| &auth.keys) {
                secrets.set_hmac_key(&instance.name, key.id, Secret::new(MASK));
            }
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

    /// Sets the key of an instance's `auth_hmac` with this id.
    pub fn set_hmac_key(&mut self, instance: &str, id: u8, secret: Secret) {
        let keys = self.hmac_keys.entry(instance.to_owned()).or_default();
        keys.insert(id, secret);
    }

    /// The key of an instance's `auth_hmac` with this id.
    pub fn hmac_key(&self, instance: &str, id: u8) -> Option<&Secret> {
        self.hmac_keys.get(instance)?.get(&id)
    }

    /// Every secret, once.
    pub fn all(&self) -> Vec<Secret> {
        let keys = self.hmac_keys.values().flat_map(BTreeMap::values);
        distinct(self.auth_pass.values().chain(keys).cloned())
    }
}

/// Every secret of a list, without duplicates.
pub(super) fn distinct(secrets: impl Iterator<Item = Secret>) -> Vec<Secret> {
    let mut out: Vec<Secret> = Vec::new();
    for secret in secrets {
        if !out.contains(&secret) {
            out.push(secret);
        }
    }
    out
}
