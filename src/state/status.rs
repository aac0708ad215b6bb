//! A host's state at a glance.

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::system::Engine;
use super::transaction::Transaction;

/// One host, as `hapair status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Name in the inventory.
    pub host: String,
    /// Engine that runs; `None`: none does.
    pub engine: Option<Engine>,
    /// Every instance that the host is configured for.
    pub instances: Vec<InstanceStatus>,
    /// What is in election here now, whatever the inventory says: the engine's own instances, else those of the
    /// configuration in place. Who is owner and who standby comes from these.
    #[serde(default)]
    pub running: Vec<RunningInstance>,
    /// Checks that the running engine does not run, so that what they look at never moves the VIP.
    #[serde(default)]
    pub disabled_checks: Vec<DisabledCheck>,
    /// What the running agent finds wrong around it: other owners, refused neighbours, other clusters on its ids.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// nginx: `active`, `inactive`, `failed`, `absent`.
    pub nginx: String,
    /// Ids of resources that somebody else changed since the last apply.
    pub drift: Vec<String>,
    /// The same with who, when and a diff.
    #[serde(default)]
    pub drift_details: Vec<Drift>,
    /// The last transactions, newest first.
    #[serde(default)]
    pub transactions: Vec<Transaction>,
}

impl HostStatus {
    /// Some address of this instance is on this host's interface.
    pub fn owns(&self, instance: &str) -> bool {
        self.instances.iter().any(|i| i.name == instance && i.owns_vip)
    }
}

/// A `vrrp_script` that something tracks and that is not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledCheck {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for DisabledCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "check {} is disabled and counts for nothing: {}",
            self.name, self.reason
        )
    }
}

/// One instance on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `VI_1`.
    pub name: String,
    /// Observed state.
    pub state: InstanceState,
    /// Effective priority where the engine tells it, else the configured one.
    pub priority: u8,
    /// VIPs without prefix.
    pub vips: Vec<String>,
    /// At least one VIP is on the interface now.
    pub owns_vip: bool,
    /// It does not take the VIP from a living owner for the time being: after a crash, or on command.
    #[serde(default)]
    pub held: bool,
    /// It took the VIP over on command, and announces this in place of its priority, so that a preferred host does not take the
    /// VIP back.
    #[serde(default)]
    pub raised: Option<u8>,
}

/// One instance of the configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningInstance {
    /// `VI_1`.
    pub name: String,
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// VIPs without prefix.
    pub vips: Vec<String>,
    /// Observed state.
    pub state: InstanceState,
    /// Effective priority where the engine tells it, else the configured one.
    pub priority: u8,
    /// At least one of these VIPs is on the interface now.
    pub owns_vip: bool,
    /// It does not take the VIP from a living owner: `nopreempt`, or [`InstanceStatus::held`].
    pub waits: bool,
    /// See [`InstanceStatus::raised`].
    #[serde(default)]
    pub raised: Option<u8>,
    /// A check of it has not answered yet: until then it owns no VIP.
    #[serde(default)]
    pub pending: bool,
}

impl RunningInstance {
    /// Both stand for the same virtual router, whatever they are called: `virtual_router_id` and address family agree.
    pub fn is_same_router(&self, other: &RunningInstance) -> bool {
        let ipv6 = |i: &RunningInstance| i.vips.iter().any(|vip| vip.contains(':'));
        self.virtual_router_id == other.virtual_router_id && ipv6(self) == ipv6(other)
    }
}

/// What the agent's control socket says of itself, as far as the executor asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct AgentStatus {
    /// Every instance of its configuration.
    pub instances: Vec<AgentInstance>,
    /// Every script of its configuration.
    #[serde(default)]
    pub scripts: Vec<AgentScript>,
    /// What somebody should look at, a line each, the worst first.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One script, in the agent's own words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentScript {
    /// Its name.
    pub name: String,
    /// Why it is not run, if it is not. An older agent says only whether, and says so of scripts that nobody tracks, too.
    #[serde(default)]
    disabled: serde_json::Value,
}

impl AgentStatus {
    /// The scripts that it should run and does not.
    pub fn disabled_checks(&self) -> Vec<DisabledCheck> {
        let disabled = self.scripts.iter().filter_map(|s| {
            let reason = s.disabled.as_str()?.to_owned();
            Some(DisabledCheck {
                name: s.name.clone(),
                reason,
            })
        });
        disabled.collect()
    }
}

/// One instance, in the agent's own words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentInstance {
    /// `VI_1`.
    pub name: String,
    /// State of the election.
    pub state: InstanceState,
    /// Effective priority, 1 to 255.
    pub priority: u8,
    /// 1 to 255; 0: an agent that does not say.
    #[serde(default)]
    pub virtual_router_id: u8,
    /// VIPs without prefix.
    #[serde(default)]
    pub vips: Vec<String>,
    /// See [`InstanceStatus::held`].
    pub held: bool,
    /// See [`InstanceStatus::raised`].
    #[serde(default, rename = "raised_priority")]
    pub raised: Option<u8>,
    /// See [`RunningInstance::pending`].
    #[serde(default, rename = "waits_for_checks")]
    pub pending: bool,
}

/// VRRP state, in keepalived's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceState {
    /// Owns the VIPs.
    Master,
    /// Runs and does not own them.
    Backup,
    /// Runs, and is kept out of the election.
    Fault,
    /// No engine runs.
    Stopped,
}

impl std::fmt::Display for InstanceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            InstanceState::Master => "MASTER",
            InstanceState::Backup => "BACKUP",
            InstanceState::Fault => "FAULT",
            InstanceState::Stopped => "STOPPED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_before_says_nothing_of_disabled_checks_and_is_understood() {
        let old = r#"{"instances": [], "scripts": [{"name": "a", "good": true, "disabled": true}]}"#;
        let new = r#"{"instances": [], "scripts": [{"name": "a", "disabled": null}, {"name": "b", "disabled": "it is gone"}]}"#;
        let read = |text: &str| serde_json::from_str::<AgentStatus>(text).unwrap().disabled_checks();
        assert!(read(old).is_empty() && read(r#"{"instances": []}"#).is_empty());
        assert_eq!(read(new).len(), 1);
        assert_eq!(
            read(new)[0].to_string(),
            "check b is disabled and counts for nothing: it is gone"
        );
    }
}
