//! Validation before anything takes effect: the files of a stage together, a profile against its segment.

use std::path::PathBuf;

use crate::host::change::validate;
use crate::host::control::fault;
use crate::host::observe::tools::Tools;
use crate::host::os::error::Result;
use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::host::resource::converge::converge;
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::kinds;
use crate::host::resource::observe::observe;
use crate::host::resource::observed::Observed;
use crate::host::resource::staged::Staged;
use crate::host::resource::worker::Worker;
use crate::state::resource::{HostState, Resource, Stage, Validator};

/// Before the first file of a stage that shares a validator is placed, all of them are staged and validated together.
/// Where the host allows no private view of them, they are placed first and the failure reverts them.
///
/// # Errors
/// The validator's own words, or it cannot be run.
pub fn validate_group(worker: &mut Worker<'_>, resource: &Resource, stage: &[&Resource]) -> Result<()> {
    let Some(validator) = kinds::of(&resource.spec)
        .validator()
        .filter(|v| !worker.validated.contains(v))
    else {
        return Ok(());
    };
    worker.validated.insert(validator);
    if !worker.root.is_live() {
        return Ok(());
    }
    let mut tools = Tools::default();
    let context = Context {
        secrets: &worker.request.state.secrets,
        engine_active: false,
    };
    let Group { staged, pending } = group(worker.root, validator, stage, &context, &mut tools)?;
    // Scripts come before the file that names them.
    validate::scripts(validator, &staged)?;
    if validate::staged(validator, &staged, &worker.txn.file("stage"))? == validate::View::Private {
        return Ok(());
    }
    worker
        .journal
        .log("this host allows no private mount namespace: files are placed first, then validated");
    for (member, observed) in pending.iter().filter(|(m, _)| m.id != resource.id) {
        converge(worker, member, observed)?;
        worker.pending.extend(member.reactions.iter().cloned());
    }
    let own = observe(worker.root, &[resource], &mut tools).pop();
    if let Some(observed) = own.filter(|o| diff(resource, o, &context).is_some()) {
        converge(worker, resource, &observed)?;
    }
    validate::in_place(validator, &staged)
}

/// The files of one stage that share a validator and are not as desired.
struct Group<'a> {
    /// As they will be.
    staged: Vec<Staged>,
    /// As they are.
    pending: Vec<(&'a Resource, Observed)>,
}

fn group<'a>(
    root: &Root,
    validator: Validator,
    stage: &[&'a Resource],
    context: &Context<'_>,
    tools: &mut Tools,
) -> Result<Group<'a>> {
    let members: Vec<&Resource> = stage
        .iter()
        .copied()
        .filter(|r| kinds::of(&r.spec).validator() == Some(validator))
        .collect();
    let observed = observe(root, &members, tools);
    let mut group = Group {
        staged: Vec::new(),
        pending: Vec::new(),
    };
    for (member, observed) in members.into_iter().zip(observed) {
        if diff(member, &observed, context).is_some() {
            group.staged.extend(kinds::of(&member.spec).staged(root, &observed)?);
            group.pending.push((member, observed));
        }
    }
    Ok(group)
}

/// Validates the files of these stages as they will be, before any transaction: a pair whose second host would refuse
/// its files should find out while the first is untouched. The same for a network profile that the segment shows to be
/// wrong.
///
/// # Errors
/// The validator's own words, or what is wrong with the profile; or an engine of this host is held stopped on purpose.
pub fn validate_ahead(root: &Root, state: &HostState, stages: &[Stage]) -> Result<()> {
    let context = Context {
        secrets: &state.secrets,
        engine_active: false,
    };
    let mut tools = Tools::default();
    if state.engine.is_some() && stages.contains(&Stage::Vrrp) {
        fault::no_engine_held(root)?;
    }
    for stage in stages {
        let resources: Vec<&Resource> = state.resources.iter().filter(|r| r.stage == *stage).collect();
        preflight(root, &resources, &context, &mut tools)?;
        for (validator, program) in [
            (Validator::Nginx, Some("nginx")),
            (Validator::Keepalived, Some("keepalived")),
            (Validator::Agent, None),
        ] {
            let staged = group(root, validator, &resources, &context, &mut tools)?.staged;
            if staged.is_empty() {
                continue;
            }
            validate::own_check(validator, &staged)?;
            // keepalived also looks at the scripts that its configuration names; those that are still to come would
            // be missed.
            let named = matches!(validator, Validator::Keepalived | Validator::Agent);
            let alone = !named || scripts_in_place(root, &resources, &context, &mut tools);
            // A package may be still to come, too.
            if named && alone && root.is_live() && !stages.contains(&Stage::Packages) {
                validate::scripts(validator, &staged)?;
            }
            if alone && program.is_some_and(|name| exec::which(&[name]).is_some()) {
                let scratch = PathBuf::from(format!("/run/hapair-validate-{}", std::process::id()));
                validate::staged(validator, &staged, &scratch)?;
            }
        }
    }
    Ok(())
}

/// What changes about the network must fit the segment.
fn preflight(root: &Root, resources: &[&Resource], context: &Context<'_>, tools: &mut Tools) -> Result<()> {
    if !root.is_live() {
        return Ok(());
    }
    let concerned = resources.iter().copied();
    let concerned: Vec<&Resource> = concerned.filter(|r| kinds::of(&r.spec).concerns_segment()).collect();
    let observed = observe(root, &concerned, tools);
    for (resource, observed) in concerned.iter().zip(&observed) {
        if diff(resource, observed, context).is_some() {
            kinds::of(&resource.spec).preflight(root)?;
        }
    }
    Ok(())
}

/// No file without a validator of its own is missing or different in this stage.
fn scripts_in_place(root: &Root, resources: &[&Resource], context: &Context<'_>, tools: &mut Tools) -> bool {
    let files: Vec<&Resource> = resources
        .iter()
        .copied()
        .filter(|r| kinds::of(&r.spec).is_unchecked_file())
        .collect();
    let observed = observe(root, &files, tools);
    files
        .iter()
        .zip(&observed)
        .all(|(file, seen)| diff(file, seen, context).is_none())
}
