//! Proving over a fresh connection that a host is still there, so that it need not revert by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::remote::{Link, Target};
use crate::state::frame::Operator;
use crate::state::{Request, TxnId};

use super::pair::{Context, Member};
use super::reconnect::{ATTEMPT, redial};
use crate::rollout::error::{RolloutError, RolloutErrorKind};

/// Time left on the host's clock for a confirm that is already under way when we give up.
const MARGIN: Duration = Duration::from_secs(5);

/// A transaction that is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course<'a> {
    pub(crate) txn: &'a TxnId,
    /// What it was begun with.
    pub(crate) begin: &'a Request,
    /// The last event that was read; 0: none, so that it may never have begun.
    pub(crate) seen: u64,
}

impl Course<'_> {
    /// What goes on with it over another connection.
    fn resume(&self) -> Request {
        match self.seen {
            0 => self.begin.clone(),
            after => Request::Attach {
                txn: self.txn.clone(),
                after,
            },
        }
    }
}

/// Opens a fresh connection where the host should be now, checks that it is the same host, confirms, and follows the
/// transaction from there.
///
/// Returns `false` when the host was not reached in time: it reverts by itself.
pub(crate) async fn confirm(
    cx: &Context<'_>,
    member: &mut Member,
    operator: &Operator,
    targets: &[Target],
    course: Course<'_>,
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
        e.hint("the change was not confirmed; the host reverts by itself")
            .hint("cloned machines share host keys: make new ones with `ssh-keygen -A`, and a new /etc/machine-id")
    })?;
    member.go_on_over(link, target);
    let txn = course.txn.clone();
    member.order(Request::Confirm { txn }).await?;
    // After the confirm, which has its time; whoever broke the lock meanwhile waits for this transaction's end.
    member.lock_again(cx.observer, operator).await;
    cx.observer.fact(
        member.host(),
        format!("confirmed over a fresh connection to {}", member.target.address),
    );
    member.link.send(&course.resume()).await?;
    Ok(true)
}

/// A host on its way to another address.
#[derive(Debug)]
pub(crate) struct Move {
    /// Where it will be.
    pub(crate) to: Target,
    machine_id: String,
}

/// A connection to where a host moves, once it is there; never, where it does not move. The one to its old address would
/// say nothing for as long as its keep-alive lasts.
pub(crate) async fn arrival(cx: &Context<'_>, moving: Option<&Move>) -> Link {
    let Some(Move { to, machine_id }) = moving else {
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

/// Goes on with a host, and with its transaction, over another connection.
pub(crate) async fn take_over(
    cx: &Context<'_>,
    member: &mut Member,
    operator: &Operator,
    (link, target): (Link, &Target),
    course: Course<'_>,
) -> Result<(), RolloutError> {
    member.go_on_over(link, target);
    member.lock_again(cx.observer, operator).await;
    if course.seen == 0 {
        member.tell_state().await?;
    }
    member.link.send(&course.resume()).await?;
    Ok(())
}

/// Follows a transaction again after the connection was lost: at the present address or at the one before.
pub(crate) async fn reattach(
    cx: &Context<'_>,
    member: &mut Member,
    operator: &Operator,
    course: Course<'_>,
    deadline: Instant,
) -> Result<(), RolloutError> {
    cx.observer.warn(
        member.host(),
        "connection lost; the transaction goes on, trying to follow it again",
    );
    // A transaction that fails after a confirmed change of address goes back to the address before it.
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
            let taken = take_over(cx, member, operator, (link, target), course).await;
            if taken.is_ok() {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            let message = format!(
                "connection lost during transaction {} and not to be had again",
                course.txn
            );
            return Err(RolloutError::on(member.host(), RolloutErrorKind::Unreachable, message)
                .hint("the transaction goes on without us, and an unconfirmed one reverts by itself")
                .hint("run the same command again when the host answers"));
        }
    }
}

/// Where a host goes when its network changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading {
    /// To what the inventory says.
    Inventory,
    /// To what it was before, which only the host knows.
    Back,
}

impl Heading {
    /// Where to look for the host; `told` is its own word, empty: it has none.
    pub(crate) fn targets(self, member: &Member, told: &str) -> Vec<Target> {
        if self == Heading::Inventory {
            return member.at_each(&[member.settled()]);
        }
        let told = Some(told).filter(|told| member.can_move() && !told.is_empty());
        let mut addresses: Vec<&str> = told.into_iter().collect();
        addresses.extend([&member.target.address, member.first(), member.settled()]);
        member.at_each(&addresses)
    }

    /// Where a host that is about to change its network goes, if it can be told beforehand.
    pub(crate) fn moves(self, member: &Member) -> Option<Move> {
        let mut targets = self.targets(member, "").into_iter();
        let to = targets.find(|t| t.address != member.target.address)?;
        let machine_id = member.link.facts().machine_id.clone();
        Some(Move { to, machine_id })
    }
}
