//! From secrets as the inventory writes them to their values.

use std::path::Path;

use super::error::Failure;
use super::exit::Exit;
use crate::desired::Secrets;
use crate::inventory::{Inventory, SecretSource, check_auth_pass, check_hmac_key};
use crate::state::Secret;

/// How a question is put to the operator; `None`: nobody is there to answer.
pub(crate) type Prompt<'a> = &'a mut dyn FnMut(&str) -> Option<Secret>;

/// Resolves one secret; files are looked for beside the inventory.
pub(crate) fn resolve(inventory: &Inventory, source: &SecretSource, prompt: Prompt<'_>) -> Result<Secret, Failure> {
    let base = inventory.path.parent().unwrap_or(Path::new("."));
    let secret = source.resolve(base, prompt).map_err(|e| e.with_kind(Exit::Usage));
    Ok(secret?)
}

/// The VRRP passwords and keys that the inventory names; those it leaves out come from the hosts.
pub(crate) fn vrrp(inventory: &Inventory, prompt: Prompt<'_>) -> Result<Secrets, Failure> {
    let mut secrets = Secrets::new();
    for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
        for key in instance.auth_hmac.iter().flat_map(|auth| &auth.keys) {
            let Some(source) = &key.key else { continue };
            let secret = resolve(inventory, source, prompt)?;
            check_hmac_key(&secret).map_err(|why| {
                let (path, name) = (inventory.path.display(), &instance.name);
                Failure::usage(format!("{path}: key {} of {name} {why}", key.id))
            })?;
            secrets.set_hmac_key(&instance.name, key.id, secret);
        }
        let Some(source) = &instance.auth_pass else { continue };
        let secret = resolve(inventory, source, prompt)?;
        check_auth_pass(&secret).map_err(|why| {
            Failure::usage(format!(
                "{}: the auth_pass of {} {why}",
                inventory.path.display(),
                instance.name
            ))
        })?;
        secrets.set_auth_pass(&instance.name, secret);
    }
    Ok(secrets)
}
