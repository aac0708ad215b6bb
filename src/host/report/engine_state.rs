//! What the engine that runs says of its instances.

use std::path::Path;
use std::time::Duration;

use crate::agent;
use crate::host::change::check_config;
use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::state::resource::InstanceRef;
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{AgentStatus, DisabledCheck, Engine, InstanceState};

/// What the engine that runs says of its instances.
pub(crate) enum Word {
    /// The agent's own account; empty while it starts.
    Agent(AgentStatus),
    /// keepalived's last lines in the journal: it tells its state nowhere else without writing a file.
    Keepalived(String),
}

impl Word {
    pub(crate) fn of(root: &Root, engine: Engine) -> Word {
        match engine {
            Engine::Agent => Word::Agent(agent_status().unwrap_or_default()),
            Engine::Keepalived => Word::Keepalived(journal(root, engine)),
        }
    }

    /// The same where perhaps no engine runs.
    pub(crate) fn of_any(word: Option<&Word>, instance: &InstanceRef, owns_vip: bool) -> (InstanceState, u8, bool) {
        let told = word.map(|word| word.on(instance, owns_vip));
        told.unwrap_or((InstanceState::Stopped, instance.priority, false))
    }

    /// What the instance announces in place of its priority since a takeover on command.
    pub(crate) fn raised(&self, instance: &str) -> Option<u8> {
        match self {
            Word::Agent(status) => status.instances.iter().find(|i| i.name == instance)?.raised,
            Word::Keepalived(_) => None,
        }
    }

    /// Checks that are not run: the agent tells of them, keepalived's configuration shows them.
    pub(crate) fn disabled_checks(&self, root: &Root) -> Vec<DisabledCheck> {
        match self {
            Word::Agent(status) => status.disabled_checks(),
            Word::Keepalived(_) => check_config::disabled(&root.path(KEEPALIVED_CONF)),
        }
    }

    /// State, effective priority, and whether it holds back.
    fn on(&self, instance: &InstanceRef, owns_vip: bool) -> (InstanceState, u8, bool) {
        match self {
            Word::Agent(status) => match status.instances.iter().find(|i| i.name == instance.name) {
                Some(told) => (told.state, told.priority, told.held),
                // Not configured on this host yet, or the agent does not answer yet.
                None => (InstanceState::Stopped, instance.priority, false),
            },
            Word::Keepalived(log) => {
                let state = match owns_vip {
                    true => InstanceState::Master,
                    false if is_fault(log, &instance.name) => InstanceState::Fault,
                    false => InstanceState::Backup,
                };
                (state, instance.priority, false)
            }
        }
    }
}

fn agent_status() -> Option<AgentStatus> {
    let answer = agent::ask(Path::new(agent::STATE_DIR), "status").ok()?;
    serde_json::from_str(&answer).ok()
}

pub(crate) fn journal(root: &Root, engine: Engine) -> String {
    if !root.is_live() {
        return String::new();
    }
    let args = ["-q", "--no-pager", "-o", "cat", "-n", "200", "-u", engine.unit()];
    exec::run("journalctl", &args, Duration::from_secs(5))
        .map(|o| o.stdout)
        .unwrap_or_default()
}

/// The last state that the log names for this instance is FAULT: `(VI_1) Entering FAULT STATE` (2.x),
/// `VRRP_Instance(VI_1) Now in FAULT state` (1.3).
fn is_fault(log: &str, instance: &str) -> bool {
    let marked = format!("({instance})");
    let states = log.lines().rev().filter(|l| l.contains(&marked)).find_map(|l| {
        ["FAULT", "BACKUP", "MASTER"]
            .into_iter()
            .find(|state| l.to_ascii_uppercase().contains(&format!("{state} STATE")))
    });
    states == Some("FAULT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_the_right_instance_counts() {
        let new = "(VI_1) Entering BACKUP STATE\n(VI_2) Entering FAULT STATE\nVRRP_Script(chk) failed";
        assert!(!is_fault(new, "VI_1"));
        assert!(is_fault(new, "VI_2"));
        let old = "VRRP_Instance(VI_1) Now in FAULT state\nVRRP_Instance(VI_1) Entering BACKUP STATE";
        assert!(!is_fault(old, "VI_1"));
        assert!(is_fault(old.lines().next().unwrap(), "VI_1"));
    }
}
