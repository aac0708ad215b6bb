//! One resource on its way: observed anew, validated, changed, and looked at again.

use std::time::Instant;

use crate::host::change::{reactions, staging};
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::observe::observe;
use crate::host::resource::worker::Worker;
use crate::host::resource::{converge, kinds};
use crate::state::EventKind;
use crate::state::resource::{Resource, Stage};

/// Observes one resource anew, and if it is not as desired, converges it and looks again. `announced`: the journal knows
/// of the stage already. `arm` is called before something that can cut the connection.
///
/// # Errors
/// What failed, or the resource is not as desired even then.
pub(crate) fn step(
    worker: &mut Worker<'_>,
    resource: &Resource,
    stage_resources: &[&Resource],
    stage: Stage,
    announced: &mut bool,
    arm: fn(&mut Worker<'_>) -> Result<()>,
) -> Result<()> {
    let named = |error: Error| error.context(resource.id.as_str());
    let request = worker.request;
    worker.tools = Tools::default();
    let Some(observed) = observe(worker.root, &[resource], &mut worker.tools).pop() else {
        return Ok(());
    };
    let context = Context {
        secrets: &request.state.secrets,
        engine_active: false,
    };
    let Some(change) = diff(resource, &observed, &context) else {
        return Ok(());
    };
    if !*announced {
        *announced = true;
        worker.journal.write(EventKind::StageStarted { stage })?;
    }
    if resource.cuts_ssh && !worker.armed && worker.root.is_live() {
        arm(worker).map_err(named)?;
    }
    let started = Instant::now();
    worker.journal.write(EventKind::ResourceStarted {
        resource: resource.id.clone(),
        summary: change.summary,
    })?;
    staging::validate_group(worker, resource, stage_resources).map_err(named)?;
    if let Some(reaction) = kinds::of(&resource.spec).needs_first() {
        reactions::run_if_pending(worker, &reaction).map_err(named)?;
    }
    converge::converge(worker, resource, &observed).map_err(named)?;
    worker.undo.step_done();
    worker.tools = Tools::default();
    let after = observe(worker.root, &[resource], &mut worker.tools).pop();
    if let Some(left) = after.and_then(|o| diff(resource, &o, &context)) {
        return Err(named(
            Error::new(format!("still not as desired after the change: {}", left.summary))
                .hint("something else on the host keeps changing it; find out what"),
        ));
    }
    worker.pending.extend(resource.reactions.iter().cloned());
    worker.changed += 1;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    worker.journal.write(EventKind::ResourceDone {
        resource: resource.id.clone(),
        took_ms,
    })
}
