//! What both hosts and their segment show before anything is changed, as findings.
//!
//! Each host says with its plan what it found by itself. The segment takes seconds to ask, so it is asked only about
//! instances that are not in force yet: an apply that is repeated asks nothing.

mod pair;
mod strangers;

use crate::inventory::Side;
use crate::state::{Finding, Request, Segment};

use super::error::{RolloutError, unexpected};
use super::progress::Progress;
use super::reach::context::Context;
use super::reach::member::Member;
use super::reach::pair::Pair;
use crate::state::{Reply, finding};

/// Everything that was found on a planned pair, the worst first. Read-only.
///
/// # Errors
/// A host is lost.
pub async fn preflight(cx: &Context<'_>, pair: &mut Pair) -> Result<Vec<Finding>, RolloutError> {
    let mut findings = Vec::new();
    for member in &pair.members {
        let host = member.host();
        let own = member.surroundings.told.findings.iter();
        findings.extend(own.map(|found| found.clone().on(host)));
    }
    findings.extend(pair::findings(pair));
    let new = pair
        .members
        .iter()
        .any(|m| !m.surroundings.told.new_instances.is_empty());
    if new {
        cx.observer.tell(Progress::Wait {
            host: None,
            what: "strangers with these VIPs or virtual_router_ids to show up on the segment (3 s)".to_owned(),
        });
        let [a, b] = &mut pair.members;
        let (a, b) = tokio::join!(ask(a), ask(b));
        let seen = [a?, b?];
        let known = strangers::Known::of(cx.inventory, pair);
        for side in Side::BOTH {
            findings.extend(strangers::findings(&pair[side].state, &seen[side], &known));
        }
    }
    finding::sort(&mut findings);
    Ok(findings)
}

/// What a host's segment shows of its new instances; nothing where it has none.
async fn ask(member: &mut Member) -> Result<Segment, RolloutError> {
    let instances = member.surroundings.told.new_instances.clone();
    if instances.is_empty() {
        return Ok(Segment::default());
    }
    match member.ask(&Request::Segment { instances }).await? {
        Reply::Segment { seen } => Ok(seen),
        other => Err(unexpected(member.host(), &other)),
    }
}
