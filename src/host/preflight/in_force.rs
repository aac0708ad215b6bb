//! Instances that an engine on this host runs already: strangers need not be looked for again.

use crate::host::observe::election_critical;
use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::state::resource::InstanceRef;
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{Engine, HostState};

/// Instances of the desired state that no engine runs here with this `virtual_router_id`, interface and VIPs.
pub(crate) fn new_instances(root: &Root, state: &HostState, tools: &Tools) -> Vec<String> {
    let active = [Engine::Agent, Engine::Keepalived]
        .iter()
        .any(|engine| tools.unit(engine.unit()).is_active());
    let running = match active {
        true => election_critical::instances(&root.read(KEEPALIVED_CONF).unwrap_or_default()),
        false => Vec::new(),
    };
    let new = state.instances.iter().filter(|wanted| !is_among(wanted, &running));
    new.map(|wanted| wanted.name.clone()).collect()
}

/// The name is only a label.
fn is_among(wanted: &InstanceRef, running: &[InstanceRef]) -> bool {
    let same = |i: &InstanceRef| {
        i.virtual_router_id == wanted.virtual_router_id
            && i.interface == wanted.interface
            && wanted.vips.iter().all(|vip| i.vips.contains(vip))
    };
    running.iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, id: u8, interface: &str, vips: &[&str]) -> InstanceRef {
        InstanceRef {
            name: name.to_owned(),
            interface: interface.to_owned(),
            virtual_router_id: id,
            priority: 100,
            vips: vips.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    #[test]
    fn another_id_interface_or_vip_is_new_and_another_name_is_not() {
        let running = [instance("VI_1", 51, "eth0", &["192.168.0.200", "192.168.0.201"])];
        assert!(is_among(&instance("VI_web", 51, "eth0", &["192.168.0.200"]), &running));
        for new in [
            instance("VI_1", 52, "eth0", &["192.168.0.200"]),
            instance("VI_1", 51, "eth1", &["192.168.0.200"]),
            instance("VI_1", 51, "eth0", &["192.168.0.200", "192.168.0.77"]),
        ] {
            assert!(!is_among(&new, &running), "{new:?}");
        }
        assert!(!is_among(&running[0], &[]));
    }

    #[test]
    fn without_an_engine_everything_is_new() {
        let state = HostState {
            instances: vec![instance("VI_1", 51, "eth0", &[])],
            ..HostState::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(new_instances(&root, &state, &Tools::default()), ["VI_1"]);
    }
}
