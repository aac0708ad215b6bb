//! A plan in a file: what was looked at is what is applied, or nothing is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::desired::Secrets;
use crate::inventory::Inventory;
use crate::payload;
use crate::state::hex::hex;
use crate::state::time::Utc;
use crate::state::{Change, HostState, Secret};

use super::error::{RolloutError, RolloutErrorKind};
use super::reach::pair::Pair;

/// Version of the file's form.
const FORMAT: u32 = 1;

/// What `plan --out` writes. It may hold passwords that were generated for the plan: for its owner's eyes only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// [`FORMAT`].
    format: u32,
    /// When it was made, UTC.
    pub made: String,
    /// The inventory it was made of.
    pub inventory: PathBuf,
    /// Both hosts, in the inventory's order.
    hosts: Vec<SavedHost>,
    /// Passwords that neither inventory nor hosts had, by instance.
    auth_pass: BTreeMap<String, Secret>,
    /// Keys of `auth_hmac` that neither inventory nor hosts had, by instance and id.
    #[serde(default)]
    hmac_keys: BTreeMap<String, BTreeMap<u8, Secret>>,
}

/// One host's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedHost {
    host: String,
    /// Which machine that was.
    machine_id: String,
    /// Hash of what the host should be, the agent included.
    desired: String,
    /// Hash of what the host was.
    fingerprint: String,
    /// For people who read the file.
    changes: Vec<Change>,
}

impl SavedPlan {
    /// From a planned pair. `written` are the passwords that the inventory names, `all` those that the plan was made with.
    pub fn new(inventory: &Inventory, pair: &Pair, written: &Secrets, all: &Secrets) -> SavedPlan {
        let facts = pair.members.each_ref().map(|m| &m.link.facts().auth_pass);
        let instances = inventory.vrrp.iter().flat_map(|v| &v.instances).map(|i| &i.name);
        let generated = instances.filter(|name| {
            written.auth_pass(name).is_none() && facts.iter().all(|known| !known.contains_key(name.as_str()))
        });
        let in_place = pair.members.each_ref().map(|m| &m.link.facts().auth_hmac);
        let kept = |name: &str, id: u8| {
            in_place
                .iter()
                .any(|k| k.get(name).is_some_and(|h| h.key(id).is_some()))
        };
        let mut hmac_keys: BTreeMap<String, BTreeMap<u8, Secret>> = BTreeMap::new();
        for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
            let name = &instance.name;
            for id in instance.auth_hmac.iter().flat_map(|auth| &auth.keys).map(|key| key.id) {
                if let (None, false, Some(key)) = (written.hmac_key(name, id), kept(name, id), all.hmac_key(name, id)) {
                    hmac_keys.entry(name.clone()).or_default().insert(id, key.clone());
                }
            }
        }
        SavedPlan {
            format: FORMAT,
            made: Utc::of(SystemTime::now()).rfc3339(),
            inventory: std::path::absolute(&inventory.path).unwrap_or_else(|_| inventory.path.clone()),
            hosts: pair
                .members
                .iter()
                .map(|member| SavedHost {
                    host: member.host().to_owned(),
                    machine_id: member.link.facts().machine_id.clone(),
                    desired: digest(&member.state),
                    fingerprint: member.plan.fingerprint.clone(),
                    changes: member.plan.changes.clone(),
                })
                .collect(),
            auth_pass: generated
                .filter_map(|name| Some((name.clone(), all.auth_pass(name)?.clone())))
                .collect(),
            hmac_keys,
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// It is not a plan, or a plan of another version of hapair.
    pub fn parse(text: &str) -> Result<SavedPlan, RolloutError> {
        let plan: SavedPlan = serde_json::from_str(text).map_err(|e| {
            RolloutError::of(RolloutErrorKind::Usage, "not a saved plan")
                .because(e)
                .hint("write one with `hapair plan --out FILE`")
        })?;
        if plan.format != FORMAT || plan.hosts.len() != 2 {
            let message = format!("the plan has form {} and this hapair reads form {FORMAT}", plan.format);
            return Err(RolloutError::of(RolloutErrorKind::Usage, message)
                .hint("run `hapair plan --out FILE` again with this version"));
        }
        Ok(plan)
    }

    /// Gives the plan's generated passwords to those that the inventory names.
    pub fn complete(&self, secrets: &mut Secrets) {
        for (instance, secret) in &self.auth_pass {
            if secrets.auth_pass(instance).is_none() {
                secrets.set_auth_pass(instance, secret.clone());
            }
        }
        for (instance, keys) in &self.hmac_keys {
            for (id, secret) in keys {
                if secrets.hmac_key(instance, *id).is_none() {
                    secrets.set_hmac_key(instance, *id, secret.clone());
                }
            }
        }
    }

    /// Whether a pair that was planned again is still as it was.
    ///
    /// # Errors
    /// Inventory, templates or hapair, or a host, moved since.
    pub fn check(&self, pair: &Pair) -> Result<(), RolloutError> {
        for (saved, member) in self.hosts.iter().zip(&pair.members) {
            let host = member.host();
            let moved = if saved.host != host || saved.desired != digest(&member.state) {
                "the desired state has changed since the plan was made: the inventory, a template, or hapair itself"
            } else if saved.machine_id != member.link.facts().machine_id {
                "the machine that answers is not the one the plan was made for"
            } else if saved.fingerprint != member.plan.fingerprint {
                "the host has changed since the plan was made"
            } else {
                continue;
            };
            return Err(RolloutError::on(host, RolloutErrorKind::Failed, moved)
                .hint(format!("the plan is for {}; nothing was applied", self.made))
                .hint("run `hapair plan`, review it, then apply"));
        }
        Ok(())
    }
}

/// Hash of a desired state. Notes and the like are told, not applied.
fn digest(state: &HostState) -> String {
    let mut hash = Sha256::new();
    hash.update(payload::agent_hash());
    hash.update(serde_json::to_vec(&state.resources).unwrap_or_default());
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_a_plan_is_named() {
        assert!(
            SavedPlan::parse("name: edge")
                .unwrap_err()
                .message
                .contains("not a saved plan")
        );
        let other = r#"{"format":2,"made":"","inventory":"","hosts":[],"auth_pass":{}}"#;
        assert!(SavedPlan::parse(other).unwrap_err().message.contains("form 2"));
    }

    #[test]
    fn another_desired_state_has_another_digest() {
        let state = |name: &str| HostState {
            resources: vec![crate::state::Resource {
                id: "hostname".to_owned(),
                stage: crate::state::Stage::Hostname,
                spec: crate::state::Spec::Hostname { name: name.to_owned() },
                reactions: Vec::new(),
                cuts_ssh: false,
                election_critical: false,
            }],
            ..HostState::default()
        };
        assert_eq!(digest(&state("a")), digest(&state("a")));
        assert_ne!(digest(&state("a")), digest(&state("b")));
    }
}
