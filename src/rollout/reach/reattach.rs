//! Following a transaction over another connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Context;
use super::locate::AddressChange;
use super::member::Member;
use super::redial::{ATTEMPT, redial};
use crate::remote::{Link, Target};
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::state::frame::Operator;
use crate::state::{Request, TxnId};

/// A transaction that is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight<'a> {
    pub(crate) txn: &'a TxnId,
    /// Who runs it, and so holds the operator lock.
    pub(crate) operator: &'a Operator,
    /// What it was begun with.
    pub(crate) begin: &'a Request,
    /// The last event that was read; 0: none, so that it may never have begun.
    pub(crate) seen: u64,
}

impl InFlight<'_> {
    /// What follows it over another connection.
    pub(crate) fn resume(&self) -> Request {
        match self.seen {
            0 => self.begin.clone(),
            after => Request::Attach {
                txn: self.txn.clone(),
                after,
            },
        }
    }
}

/// A connection to where a host moves, once it is there; never, where it does not move. The one to its old address would
/// say nothing for as long as its keep-alive lasts.
pub(crate) async fn connect_at_new_address(cx: &Context<'_>, moving: Option<&AddressChange>) -> Link {
    let Some(AddressChange { to, machine_id }) = moving else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match Link::connect(to, Arc::clone(&cx.ask)).await {
            Ok(link) if link.facts().machine_id == *machine_id => return link,
            // Nobody yet, or somebody else: the confirm tells.
            _ => {}
        }
    }
}

/// Continues with a host and its transaction over another connection.
pub(crate) async fn take_over(
    cx: &Context<'_>,
    member: &mut Member,
    (link, target): (Link, &Target),
    in_flight: InFlight<'_>,
) -> Result<(), RolloutError> {
    member.continue_over(link, target);
    member.lock_again(cx.observer, in_flight.operator).await;
    if in_flight.seen == 0 {
        member.tell_state().await?;
    }
    member.link.send(&in_flight.resume()).await?;
    Ok(())
}

/// Follows a transaction again after the connection was lost: at the present address or at the one before.
pub(crate) async fn reattach(
    cx: &Context<'_>,
    member: &mut Member,
    in_flight: InFlight<'_>,
    deadline: Instant,
) -> Result<(), RolloutError> {
    cx.observer.warn(
        member.host(),
        "lost the connection; the transaction continues, and hapair tries to reconnect",
    );
    // A transaction that fails after a confirmed change of address restores the former address.
    let targets = member.at_each(&[member.settled(), &member.target.address, member.first()]);
    loop {
        for target in &targets {
            let patience = deadline.min(Instant::now() + ATTEMPT);
            let Some((link, _)) = redial(&cx.ask, std::slice::from_ref(target), patience).await else {
                continue;
            };
            if member.no_other_machine(&link, target).is_err() {
                continue;
            }
            // Lost once more meanwhile: there is time to try again.
            let taken = take_over(cx, member, (link, target), in_flight).await;
            if taken.is_ok() {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            let message = format!(
                "lost the connection during transaction {} and could not reconnect",
                in_flight.txn
            );
            return Err(RolloutError::on(member.host(), RolloutErrorKind::Unreachable, message)
                .hint("the transaction continues on the host, and reverts automatically unless it is confirmed")
                .hint("run the same command again when the host answers"));
        }
    }
}
