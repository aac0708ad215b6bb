//! The host at a glance, and what other hands changed since the last apply.

use std::collections::BTreeMap;

use super::facts::{self, Tools};
use super::observe::{digest, observe};
use super::root::Root;
use super::txn::LAST;
use crate::state::resource::Resource;
use crate::state::{Engine, HostState, HostStatus, InstanceState, InstanceStatus};

/// What `Status` answers.
pub fn status(root: &Root, state: &HostState, tools: &mut Tools) -> HostStatus {
    let units: Vec<String> = [Engine::Agent.unit(), Engine::Keepalived.unit(), "nginx.service"]
        .map(str::to_owned)
        .to_vec();
    tools.ask(root, &[], &units);
    let resources: Vec<&Resource> = state.resources.iter().collect();
    let observed = observe(root, &resources, tools);
    let runs = |engine: Engine| tools.unit(engine.unit()).is_active();
    let engine = state
        .engine
        .into_iter()
        .chain([Engine::Agent, Engine::Keepalived])
        .find(|e| runs(*e));
    let instances = state
        .instances
        .iter()
        .map(|instance| {
            let owns_vip = !facts::owned(&instance.vips).is_empty();
            let state = match (engine, owns_vip) {
                (None, _) => InstanceState::Stopped,
                (_, true) => InstanceState::Master,
                (_, false) => InstanceState::Backup,
            };
            InstanceStatus {
                name: instance.name.clone(),
                state,
                priority: instance.priority,
                vips: instance.vips.clone(),
                owns_vip,
            }
        })
        .collect();
    let nginx = tools.unit("nginx.service");
    let nginx = match (nginx.exists(), nginx.is_active(), nginx.active.as_str()) {
        (false, ..) => "absent",
        (_, true, _) => "active",
        (_, _, "failed") => "failed",
        _ => "inactive",
    };
    let last: BTreeMap<String, String> = root
        .read(LAST)
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let drift = resources
        .iter()
        .zip(&observed)
        .filter(|(r, o)| last.get(&r.id).is_some_and(|before| *before != digest(o)))
        .map(|(r, _)| r.id.clone())
        .collect();
    HostStatus {
        host: state.host.clone(),
        engine,
        instances,
        nginx: nginx.to_owned(),
        drift,
    }
}
