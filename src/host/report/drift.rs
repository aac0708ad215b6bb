//! Drift: what differs from how hapair left it, with a diff. `attribution` finds out who changed it.

use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::report::attribution;
use crate::host::report::baseline::{self, Left};
use crate::host::resource::diff::{self, Context};
use crate::host::resource::kind::{Kind, Trace};
use crate::host::resource::kinds;
use crate::host::resource::node::{self, DIFF_LIMIT, Kept, Node};
use crate::host::resource::observed::Observed;
use crate::host::resource::text_diff::titled;
use crate::state::redact::redact;
use crate::state::resource::{HostState, Resource};
use crate::state::{Drift, Remedy};

/// Every resource of the desired state that differs from how hapair last left it. Read-only; asks `rpm` and `systemctl`
/// only about what differs.
pub fn drift(
    root: &Root,
    state: &HostState,
    resources: &[&Resource],
    observed: &[Observed],
    tools: &Tools,
) -> Vec<Drift> {
    let memory = baseline::read(root);
    let pairs = resources.iter().zip(observed);
    let differs = pairs.filter_map(|(resource, observed)| {
        let left = memory.get(&resource.id)?;
        let now = left.same_form(root, &resource.spec, observed);
        (now != left.observed).then(|| account(root, state, resource, left, (observed, &now), tools))
    });
    differs.collect()
}

fn account(
    root: &Root,
    state: &HostState,
    resource: &Resource,
    left: &Left,
    (observed, now): (&Observed, &Observed),
    tools: &Tools,
) -> Drift {
    let context = Context {
        secrets: &state.secrets,
        engine_active: false,
    };
    let remedy = if diff::diff(resource, observed, &context).is_some() {
        Remedy::PutsRight
    } else {
        Remedy::Keeps
    };
    let kind = kinds::of(&resource.spec);
    let hand = match kind.trace(root, &left.observed, now) {
        Trace::Path(path) => attribution::of_path(root, &path, left),
        Trace::Unit(unit) => attribution::of_unit(root, &unit, &left.observed, now, tools),
        Trace::Nowhere => attribution::Attribution::default(),
    };
    Drift {
        resource: resource.id.clone(),
        what: redact(&difference(&*kind, left, now), &state.secrets),
        since_ms: left.at_ms,
        transaction: left.transaction.clone(),
        by: hand.by,
        when: hand.when,
        package: hand.package,
        beside: hand.beside,
        diff: text_diff(state, &*kind, left, now),
        remedy,
    }
}

/// What is different, in words.
fn difference(kind: &dyn Kind, left: &Left, now: &Observed) -> String {
    let mut words = Vec::new();
    if let (Some(was), Some(now)) = (left.observed.node(), now.node()) {
        words.extend(node::difference(was, now, left.kept));
    }
    words.extend(kind.difference(&left.observed, now));
    if words.is_empty() {
        "changed".to_owned()
    } else {
        words.join(", ")
    }
}

fn text_diff(state: &HostState, kind: &dyn Kind, left: &Left, now: &Observed) -> Option<String> {
    if kind.is_opaque() || left.kept == Kept::Hash {
        return None;
    }
    let text = |node: &Node| match node {
        Node::File { content, .. } if content.len() <= DIFF_LIMIT => String::from_utf8(content.clone()).ok(),
        Node::Missing => Some(String::new()),
        _ => None,
    };
    let (was, now) = (text(left.observed.node()?)?, text(now.node()?)?);
    titled(kind.path(), ("as hapair left it", &was), ("now", &now), &state.secrets)
}
