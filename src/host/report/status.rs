//! The host at a glance, and what someone else changed since the last apply.

use crate::host::observe::facts::net;
use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::record::history;
use crate::host::report::drift;
use crate::host::report::elections::running;
use crate::host::report::engine_state::Word;
use crate::host::resource::observe::observe;
use crate::state::frame::Look;
use crate::state::resource::Resource;
use crate::state::{Drift, Engine, HostState, HostStatus, InstanceStatus};

/// How many transactions a status names.
const SHOWN: usize = 5;

/// What `Status` answers.
pub fn status(root: &Root, state: &HostState, look: Look, tools: &mut Tools) -> HostStatus {
    let units: Vec<String> = [Engine::Agent.unit(), Engine::Keepalived.unit(), "nginx.service"]
        .map(str::to_owned)
        .to_vec();
    tools.ask(root, &[], &units);
    let drift = match look {
        Look::Glance => Vec::new(),
        Look::Whole => drift_of(root, state, tools),
    };
    let runs = |engine: Engine| tools.unit(engine.unit()).is_active();
    let engine = state
        .engine
        .into_iter()
        .chain([Engine::Agent, Engine::Keepalived])
        .find(|e| runs(*e));
    let word = engine.map(|engine| Word::of(root, engine));
    let instances = state
        .instances
        .iter()
        .map(|instance| {
            let owns_vip = !net::owned(&instance.vips).is_empty();
            let (state, priority, held) = Word::of_any(word.as_ref(), instance, owns_vip);
            InstanceStatus {
                name: instance.name.clone(),
                state,
                priority,
                vips: instance.vips.clone(),
                owns_vip,
                held,
                raised: word.as_ref().and_then(|word| word.raised(&instance.name)),
            }
        })
        .collect();
    let disabled_checks = word.as_ref().map_or_else(Vec::new, |word| word.disabled_checks(root));
    let warnings = match &word {
        Some(Word::Agent(status)) => status.warnings.clone(),
        _ => Vec::new(),
    };
    let nginx = tools.unit("nginx.service");
    let nginx = match (nginx.exists(), nginx.is_active(), nginx.active.as_str()) {
        (false, ..) => "absent",
        (_, true, _) => "active",
        (_, _, "failed") => "failed",
        _ => "inactive",
    };
    HostStatus {
        host: state.host.clone(),
        engine,
        instances,
        running: running(root, word.as_ref()),
        disabled_checks,
        warnings,
        nginx: nginx.to_owned(),
        drift: drift.iter().map(|d| d.resource.clone()).collect(),
        drift_details: drift,
        transactions: match look {
            Look::Glance => Vec::new(),
            Look::Whole => history::last(root, SHOWN),
        },
    }
}

fn drift_of(root: &Root, state: &HostState, tools: &mut Tools) -> Vec<Drift> {
    let resources: Vec<&Resource> = state.resources.iter().collect();
    let observed = observe(root, &resources, tools);
    drift::drift(root, state, &resources, &observed, tools)
}
