//! The difference between a resource and what was observed. Pure.

use crate::host::observe::election_critical;
use crate::host::resource::kinds;
use crate::host::resource::observed::Observed;
use crate::host::resource::text_diff::unified;
use crate::state::redact::redact;
use crate::state::resource::Resource;
use crate::state::{Change, Secret};

/// What a diff needs to know beside the resource.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Masked wherever text is shown.
    pub secrets: &'a [Secret],
    /// An engine is in election on this host now: only then can a change be election-critical.
    pub engine_active: bool,
}

/// What must change; `None`: the resource is as desired, or does not apply.
pub fn diff(resource: &Resource, observed: &Observed, context: &Context<'_>) -> Option<Change> {
    let kind = kinds::of(&resource.spec);
    let found = kind.diff(observed)?;
    let critical = resource.election_critical
        && context.engine_active
        && found
            .text
            .as_ref()
            .is_some_and(|(old, new)| election_critical::differs(old, new));
    Some(Change {
        resource: resource.id.clone(),
        stage: resource.stage,
        summary: redact(&found.summary, context.secrets),
        diff: found
            .text
            .filter(|_| found.shown)
            .and_then(|(old, new)| unified(kind.path(), &old, &new, context.secrets)),
        cuts_ssh: resource.cuts_ssh,
        election_critical: critical,
    })
}
