//! VRRP passwords and keys that the inventory leaves to us: generated once, then read back from the hosts.

use std::io::Read;

use crate::desired::Secrets;
use crate::inventory::{Inventory, Side};
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::state::hex::hex;
use crate::state::{Facts, Secret};

/// Letters and digits that cannot be taken for one another; the length is the protocol's (RFC 2338: 8 bytes).
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 8;

/// Fills in the passwords that are missing: what the preferred host has, else what its peer has, else a new one.
pub(crate) fn complete(secrets: &mut Secrets, inventory: &Inventory, facts: [&Facts; 2]) -> Result<(), RolloutError> {
    for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
        let first = inventory.hosts[Side::First].name == instance.preferred();
        let preferred = Side::first_if(first);
        let order = [preferred, preferred.other()];
        for key in instance.auth_hmac.iter().flat_map(|auth| &auth.keys) {
            if secrets.hmac_key(&instance.name, key.id).is_some() {
                continue;
            }
            let kept = |i: Side| facts[i].auth_hmac.get(&instance.name)?.key(key.id);
            let secret = match order.into_iter().find_map(kept) {
                Some(secret) => secret.clone(),
                None => generate_key().map_err(|e| {
                    RolloutError::of(RolloutErrorKind::Failed, "cannot generate a key for auth_hmac").because(e)
                })?,
            };
            secrets.set_hmac_key(&instance.name, key.id, secret);
        }
        if !instance.has_password() || secrets.auth_pass(&instance.name).is_some() {
            continue;
        }
        let known = order.into_iter().find_map(|i| facts[i].auth_pass.get(&instance.name));
        let secret = match known {
            Some(secret) => secret.clone(),
            None => generate().map_err(|e| {
                RolloutError::of(RolloutErrorKind::Failed, "cannot generate a VRRP password").because(e)
            })?,
        };
        secrets.set_auth_pass(&instance.name, secret);
    }
    Ok(())
}

/// 32 bytes, as `openssl rand -hex 32` prints them.
fn generate_key() -> std::io::Result<Secret> {
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Secret::new(format!("hex:{}", hex(&bytes))))
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
    use std::path::Path;

    use super::*;
    use crate::inventory::check_hmac_key;
    use crate::state::facts::{HmacDemand, HmacInPlace};

    #[test]
    fn a_generated_key_is_kept_and_comes_from_the_preferred_host() {
        let text = include_str!("../../../inventory.example.yaml").replace(
            "auth_pass: \"1111\"",
            "auth_hmac: {keys: [{id: 1}, {id: 2}], active_key: 1}",
        );
        let inventory = Inventory::parse(&text, Path::new("inventory.yaml")).expect("valid");
        let mut first = Secrets::new();
        complete(&mut first, &inventory, [&Facts::default(), &Facts::default()]).expect("random");
        let key = |secrets: &Secrets, id| secrets.hmac_key("VI_1", id).cloned().expect("a key");
        assert_ne!(key(&first, 1), key(&first, 2));
        assert_eq!(check_hmac_key(&key(&first, 1)), Ok(()));
        assert!(first.auth_pass("VI_1").is_none(), "a password beside it");
        let has = |id: u8, secret: Secret| Facts {
            auth_hmac: [(
                "VI_1".to_owned(),
                HmacInPlace {
                    keys: [(id, secret)].into(),
                    mode: HmacDemand::Enforce,
                    window: Some(5),
                },
            )]
            .into(),
            ..Facts::default()
        };
        // The first host is the preferred one; the peer knows the other key, and an older first one is not looked at.
        let mut again = Secrets::new();
        let mut peer = has(2, key(&first, 2));
        peer.auth_hmac
            .get_mut("VI_1")
            .expect("in place")
            .keys
            .push((1, Secret::new("old")));
        complete(&mut again, &inventory, [&has(1, key(&first, 1)), &peer]).expect("random");
        assert_eq!(again, first);
    }

    #[test]
    fn generated_passwords_fit_the_protocol_and_differ() {
        let (a, b) = (generate().expect("random"), generate().expect("random"));
        assert_eq!(a.reveal().len(), 8);
        assert!(a.reveal().bytes().all(|c| ALPHABET.contains(&c)));
        assert_ne!(a, b);
    }
}
