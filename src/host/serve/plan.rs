//! Comparing a host with what it should be.

use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::preflight::preflight;
use crate::host::report::drift;
use crate::host::resource::boot;
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::kind::Config;
use crate::host::resource::observe::observe;
use crate::host::resource::observed::fingerprint;
use crate::host::transaction::interrupted;
use crate::state::resource::Resource;
use crate::state::{HostState, Plan, Stage};

/// Compares a host with what it should be. Read-only.
pub fn plan(root: &Root, state: &HostState, tools: &mut Tools, engine_active: bool) -> Plan {
    let resources: Vec<&Resource> = state.resources.iter().collect();
    let observed = observe(root, &resources, tools);
    let context = Context {
        secrets: &state.secrets,
        engine_active,
    };
    let mut changes = interrupted::changes(root, engine_active);
    let pairs = resources.iter().zip(&observed);
    changes.extend(pairs.filter_map(|(resource, seen)| diff(resource, seen, &context)));
    let drift = drift::drift(root, state, &resources, &observed, tools);
    let config = match changes.iter().any(|c| c.stage == Stage::Selinux) {
        true => Config::ToBeWritten,
        false => Config::InPlace,
    };
    let mut notes = state.notes.clone();
    notes.extend(boot::in_vain(&resources, &observed, config));
    Plan {
        host: state.host.clone(),
        fingerprint: fingerprint(state, &observed),
        notes,
        reboot_needed: boot::needed(&resources, &observed, config),
        changes,
        drift,
        preflight: Some(preflight(root, state, tools)),
    }
}
