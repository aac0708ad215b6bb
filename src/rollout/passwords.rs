//! VRRP passwords that the inventory leaves to us: generated once, then read back from the hosts.

use std::io::Read;

use crate::desired::Secrets;
use crate::inventory::Inventory;
use crate::state::{Facts, Secret};

use super::error::{RolloutError, RolloutErrorKind};

/// Letters and digits that cannot be taken for one another; the length is the protocol's (RFC 2338: 8 bytes).
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 8;

/// Fills in the passwords that are missing: what the preferred host has, else what its peer has, else a new one.
pub(super) fn complete(secrets: &mut Secrets, inventory: &Inventory, facts: [&Facts; 2]) -> Result<(), RolloutError> {
    let instances = inventory.vrrp.iter().flat_map(|v| &v.instances);
    for instance in instances.filter(|i| i.version == 2) {
        if secrets.auth_pass(&instance.name).is_some() {
            continue;
        }
        let preferred = usize::from(inventory.hosts[0].name != instance.preferred());
        let known = [preferred, 1 - preferred]
            .into_iter()
            .find_map(|i| facts[i].auth_pass.get(&instance.name));
        let secret = match known {
            Some(secret) => secret.clone(),
            None => generate().map_err(|e| {
                RolloutError::pair(
                    RolloutErrorKind::Failed,
                    format!("cannot generate a VRRP password: {e}"),
                )
            })?,
        };
        secrets.set_auth_pass(&instance.name, secret);
    }
    Ok(())
}

fn generate() -> std::io::Result<Secret> {
    let mut bytes = [0u8; LENGTH];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_fit_the_protocol_and_differ() {
        let (a, b) = (generate().expect("random"), generate().expect("random"));
        assert_eq!(a.reveal().len(), 8);
        assert!(a.reveal().bytes().all(|c| ALPHABET.contains(&c)));
        assert_ne!(a, b);
    }
}
