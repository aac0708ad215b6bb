//! Proving over a fresh connection that a host is still there, so that it does not revert.

use std::time::{Duration, Instant};

use super::context::Context;
use super::member::Member;
use super::reattach::InFlight;
use super::redial::redial;
use crate::remote::Target;
use crate::rollout::error::RolloutError;
use crate::state::Request;

/// Time left on the host's clock for a confirm that is already under way when we give up.
const MARGIN: Duration = Duration::from_secs(5);

/// Opens a fresh connection where the host should be now, checks that it is the same host, confirms, and follows the
/// transaction from there.
///
/// Returns `false` when the host was not reached in time: then the host reverts.
pub(crate) async fn confirm(
    cx: &Context<'_>,
    member: &mut Member,
    targets: &[Target],
    in_flight: InFlight<'_>,
    deadline: Instant,
) -> Result<bool, RolloutError> {
    let addresses: Vec<&str> = targets.iter().map(|t| t.address.as_str()).collect();
    cx.observer.wait(
        member.host(),
        format!("a fresh connection to {}", addresses.join(" or ")),
    );
    let Some((link, target)) = redial(&cx.ask, targets, deadline - MARGIN.min(deadline - Instant::now())).await else {
        return Ok(false);
    };
    member.no_other_machine(&link, target).map_err(|e| {
        e.hint("the change was not confirmed; the host will revert it automatically")
            .hint("cloned machines share host keys: make new keys with `ssh-keygen -A`, and a new /etc/machine-id")
    })?;
    member.continue_over(link, target);
    let txn = in_flight.txn.clone();
    member.order(Request::Confirm { txn }).await?;
    // After the confirm, which has a deadline; a run that broke the lock meanwhile waits for this transaction to
    // finish.
    member.lock_again(cx.observer, in_flight.operator).await;
    cx.observer.fact(
        member.host(),
        format!("confirmed over a fresh connection to {}", member.target.address),
    );
    member.link.send(&in_flight.resume()).await?;
    Ok(true)
}
