//! What is in election on this host now, whatever the inventory wants: an inventory whose VIPs are all new knows
//! nothing of who owns the old ones.

use std::sync::Arc;

use crate::agent::config::Files;
use crate::host::observe::election_critical;
use crate::host::observe::facts::net;
use crate::host::os::root::Root;
use crate::host::report::engine_state::Word;
use crate::keepalived::{Instance, NoFiles, Options, Resolver, parse};
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{AgentInstance, RunningInstance};

/// The engine's own instances; where it does not tell, or none runs, those of the configuration in place.
pub(crate) fn running(root: &Root, word: Option<&Word>) -> Vec<RunningInstance> {
    let configured = configured(root);
    match word {
        // What it runs, also where a newer file waits for its reload.
        Some(Word::Agent(status)) if status.instances.iter().any(|i| i.virtual_router_id > 0) => status
            .instances
            .iter()
            .map(|told| by_agent(told, &configured))
            .collect(),
        _ => configured.iter().map(|i| by_file(i, word)).collect(),
    }
}

fn by_agent(told: &AgentInstance, configured: &[Arc<Instance>]) -> RunningInstance {
    let waits = configured.iter().any(|i| i.name == told.name && waits(i));
    RunningInstance {
        name: told.name.clone(),
        virtual_router_id: told.virtual_router_id,
        state: told.state,
        priority: told.priority,
        owns_vip: !net::owned(&told.vips).is_empty(),
        vips: told.vips.clone(),
        waits: told.held || waits,
        raised: told.raised,
        pending: told.pending,
    }
}

fn by_file(instance: &Instance, word: Option<&Word>) -> RunningInstance {
    let known = election_critical::reference(instance);
    let owns_vip = !net::owned(&known.vips).is_empty();
    let (state, priority, held) = Word::of_any(word, &known, owns_vip);
    RunningInstance {
        name: known.name,
        virtual_router_id: known.virtual_router_id,
        state,
        priority,
        owns_vip,
        vips: known.vips,
        waits: held || waits(instance),
        raised: None,
        pending: false,
    }
}

/// It leaves a living owner the VIP, for good or for longer than anybody should wait for it.
fn waits(instance: &Instance) -> bool {
    instance.nopreempt || !instance.preempt_delay.is_zero()
}

fn configured(root: &Root) -> Vec<Arc<Instance>> {
    let Some(text) = root.read(KEEPALIVED_CONF) else {
        return Vec::new();
    };
    let name = root.line("/proc/sys/kernel/hostname");
    let resolver: &dyn Resolver = if root.is_live() { &Files } else { &NoFiles };
    let options = Options {
        path: KEEPALIVED_CONF,
        config_id: name.split('.').next().unwrap_or_default(),
        instance: &name,
        resolver,
    };
    parse(&text, &options).0.instances
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::observe::tools::Tools;
    use crate::host::report::status::status;
    use crate::state::frame::Look;
    use crate::state::resource::InstanceRef;
    use crate::state::{AgentStatus, HostState, InstanceState};

    const TEXT: &str = "vrrp_instance VI_1 {\n interface lo\n virtual_router_id 51\n priority 101\n nopreempt\n \
        virtual_ipaddress {\n 127.0.0.1\n }\n}\n";

    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/keepalived")).unwrap();
        std::fs::write(dir.path().join("etc/keepalived/keepalived.conf"), TEXT).unwrap();
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn an_owner_is_one_also_where_the_inventory_has_other_vips() {
        let (_dir, root) = host();
        let state = HostState {
            instances: vec![InstanceRef {
                name: "VI_new".into(),
                interface: "lo".into(),
                virtual_router_id: 77,
                priority: 250,
                vips: vec!["192.0.2.7".into()],
            }],
            ..HostState::default()
        };
        let status = status(&root, &state, Look::Glance, &mut Tools::default());
        assert!(!status.instances[0].owns_vip);
        let [running] = &status.running[..] else {
            panic!("{:?}", status.running)
        };
        assert_eq!((running.name.as_str(), running.virtual_router_id), ("VI_1", 51));
        assert!(running.owns_vip && running.waits, "{running:?}");
    }

    #[test]
    fn the_agents_own_instances_count_more_than_a_file_that_waits_for_a_reload() {
        let (_dir, root) = host();
        let told = AgentInstance {
            name: "VI_0".into(),
            state: InstanceState::Master,
            priority: 200,
            virtual_router_id: 50,
            vips: vec!["127.0.0.1".into()],
            held: false,
            raised: None,
            pending: false,
        };
        let word = Word::Agent(AgentStatus {
            instances: vec![told],
            ..AgentStatus::default()
        });
        let running = running(&root, Some(&word));
        assert_eq!(
            (running[0].name.as_str(), running[0].state),
            ("VI_0", InstanceState::Master)
        );
        assert!(running[0].owns_vip && !running[0].waits);
        // While it starts it says nothing.
        let word = Word::Agent(AgentStatus::default());
        assert_eq!(super::running(&root, Some(&word))[0].state, InstanceState::Stopped);
    }
}
