//! One transaction on one host, followed to its end over however many connections it takes.

use std::time::{Duration, Instant};

use super::error::{RolloutError, RolloutErrorKind, unexpected};
use super::interrupt::unless_leaving;
use super::order::changes_in;
use super::progress::Progress;
use super::reach::confirm::confirm;
use super::reach::context::Context;
use super::reach::locate::AddressChange;
use super::reach::member::{Member, same_run};
use super::reach::pair::Pair;
use super::reach::reattach::{InFlight, connect_at_new_address, reattach, take_over};
use super::run::Run;
use crate::inventory::Side;
use crate::remote::{RemoteErrorKind, accepted};
use crate::state::frame::Operator;
use crate::state::{EventKind, Outcome, OutcomeKind, Reply, Request, Stage, TxnId};

impl Run<'_> {
    pub(super) async fn transact(&mut self, pair: &mut Pair, host: Side, stages: &[Stage]) -> Result<(), RolloutError> {
        self.transact_member(&mut pair[host], host, stages).await
    }

    /// One transaction on one host, followed to its end over however many connections it takes.
    pub(super) async fn transact_member(
        &mut self,
        member: &mut Member,
        side: Side,
        stages: &[Stage],
    ) -> Result<(), RolloutError> {
        let changes = changes_in(&member.plan, stages);
        if changes == 0 || !self.includes(member.host()) {
            return Ok(());
        }
        self.stop_if_interrupted()?;
        let txn = self.next_transaction();
        let host = member.host().to_owned();
        let what: Vec<&str> = stages
            .iter()
            .filter(|s| changes_in(&member.plan, &[**s]) > 0)
            .map(|s| s.name())
            .collect();
        self.cx.observer.tell(Progress::Phase {
            host: host.clone(),
            what: what.join(", "),
            changes,
        });
        let request = Request::Apply {
            txn: txn.clone(),
            fingerprint: member.plan.fingerprint.clone(),
            stages: stages.to_vec(),
            confirm_timeout: self.options.confirm_timeout,
            operator: self.operator(),
        };
        let outcome = self.begin(member, (&txn, &request)).await?;
        if outcome.result == OutcomeKind::Done {
            self.report.changed[side] += outcome.changed;
        }
        match outcome.result {
            OutcomeKind::Done => {}
            OutcomeKind::Reverted => return Err(ended(&host, RolloutErrorKind::RolledBack, outcome)),
            OutcomeKind::Failed => return Err(ended(&host, RolloutErrorKind::Failed, outcome)),
        }
        // What was just done moved the host; later phases need a plan that knows it.
        member.replan().await
    }

    /// Begins a transaction and follows it to its end.
    ///
    /// One function, because every turn of the loop may change what the next one waits for: how far the events were read,
    /// until when the host must be confirmed, where it moves, and how often the operator asked to stop.
    pub(super) async fn begin(
        &mut self,
        member: &mut Member,
        (txn, begin): (&TxnId, &Request),
    ) -> Result<Outcome, RolloutError> {
        member.ensure_connected().await?;
        if member.take_reconnected() {
            let address = &member.target.address;
            let message = format!("the connection was lost between transactions; reconnected at {address}");
            self.cx.observer.warn(member.host(), message);
        }
        member.link.send(begin).await?;
        let operator = self.options.operator.clone();
        let mut in_flight = InFlight {
            txn,
            operator: &operator,
            begin,
            seen: 0,
        };
        let mut deadline = Instant::now() + Duration::from_secs(self.options.confirm_timeout);
        let mut interrupts = self.interrupt.count();
        let mut moving: Option<AddressChange> = None;
        loop {
            let reply = tokio::select! {
                reply = member.link.recv() => reply,
                link = connect_at_new_address(self.cx, moving.as_ref()) => {
                    let to = moving.take().map_or_else(|| member.target.clone(), |m| m.to);
                    let done = take_over(self.cx, member, (link, &to), in_flight).await;
                    // Lost once more meanwhile: the next look at it says so, and begins anew.
                    done.or_else(|e| if e.kind == RolloutErrorKind::Unreachable { Ok(()) } else { Err(e) })?;
                    continue;
                }
                () = self.interrupt.more_than(interrupts) => {
                    interrupts = self.interrupt.count();
                    self.interrupted(member, txn, interrupts).await?;
                    continue;
                }
            };
            match reply.and_then(|reply| accepted(member.host(), reply)) {
                Ok(Reply::Event { txn: of, event }) if of == *txn => {
                    in_flight.seen = event.seq;
                    let kind = event.kind.clone();
                    self.cx.observer.tell(Progress::Event {
                        host: member.host().to_owned(),
                        event,
                    });
                    match kind {
                        EventKind::Armed { seconds } => {
                            deadline = Instant::now() + Duration::from_secs(seconds);
                            moving = self.address_plan.moves(member);
                        }
                        EventKind::AwaitConfirm { address } => {
                            moving = None;
                            let cx = self.cx;
                            let targets = self.address_plan.targets(member, &address);
                            let confirmed = async {
                                if confirm(cx, member, &targets, in_flight, deadline).await? {
                                    return Ok(());
                                }
                                await_revert(cx, member, in_flight, deadline).await
                            };
                            unless_leaving(&self.interrupt, txn, confirmed).await?;
                        }
                        EventKind::Finished { outcome } => return Ok(outcome),
                        EventKind::StageStarted { .. }
                        | EventKind::ResourceStarted { .. }
                        | EventKind::ResourceDone { .. }
                        | EventKind::Log { .. }
                        | EventKind::Confirmed => {}
                    }
                }
                Ok(Reply::Ack | Reply::Event { .. }) => {}
                Ok(other) => return Err(unexpected(member.host(), &other)),
                Err(e) if e.kind == RemoteErrorKind::Lost => {
                    let patience = deadline.max(Instant::now()) + Duration::from_secs(15);
                    let attached = reattach(self.cx, member, in_flight, patience);
                    unless_leaving(&self.interrupt, txn, attached).await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    async fn interrupted(&self, member: &mut Member, txn: &TxnId, times: u32) -> Result<(), RolloutError> {
        if times > 1 {
            let message = format!("interrupted again: left transaction {txn} running");
            return Err(RolloutError::on(member.host(), RolloutErrorKind::Failed, message)
                .hint("the transaction continues on the host, and reverts automatically unless it is confirmed")
                .hint("run the same command again to see the result and finish"));
        }
        self.cx.observer.warn(
            member.host(),
            "interrupted; reverting this transaction (interrupt again to leave at once)",
        );
        member.link.send(&Request::Cancel { txn: txn.clone() }).await?;
        Ok(())
    }

    /// The operator, for requests after the lock was taken: only the first request may break another run's lock.
    pub(super) fn operator(&self) -> Operator {
        same_run(&self.options.operator)
    }

    /// The host is as it was when its plan was made.
    pub(super) async fn unmoved(&self, member: &mut Member) -> Result<(), RolloutError> {
        let planned = member.plan.fingerprint.clone();
        member.replan().await?;
        if member.plan.fingerprint == planned {
            return Ok(());
        }
        let message = "the host has changed since the plan was made";
        Err(RolloutError::on(member.host(), RolloutErrorKind::Failed, message)
            .hint("run `hapair plan`, review it, then apply"))
    }

    pub(super) fn stop_if_interrupted(&self) -> Result<(), RolloutError> {
        if self.interrupt.count() == 0 {
            return Ok(());
        }
        Err(
            RolloutError::of(RolloutErrorKind::Failed, "interrupted between two transactions")
                .hint("completed changes remain; run the same command again to finish"),
        )
    }
}

/// The host was not reached in time: it reverts, and answers at the address it had before.
async fn await_revert(
    cx: &Context<'_>,
    member: &mut Member,
    in_flight: InFlight<'_>,
    deadline: Instant,
) -> Result<(), RolloutError> {
    cx.observer.warn(
        member.host(),
        "the host cannot be reached after the change; waiting for it to revert",
    );
    tokio::time::sleep_until((deadline + Duration::from_secs(1)).into()).await;
    reattach(cx, member, in_flight, deadline + Duration::from_secs(30)).await
}

pub(super) fn ended(host: &str, kind: RolloutErrorKind, outcome: Outcome) -> RolloutError {
    let message = match kind {
        RolloutErrorKind::RolledBack => format!("{}; this transaction was reverted", outcome.error),
        // It may never have begun, or the revert failed too: the host's message says which.
        _ => outcome.error,
    };
    RolloutError::on(host, kind, message).with_hints(outcome.hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_never_began_is_not_called_reverted() {
        let outcome = |error: &str| Outcome {
            result: OutcomeKind::Failed,
            changed: 0,
            error: error.into(),
            hints: vec!["wait".into()],
            reboot_needed: false,
        };
        let busy = ended(
            "web1",
            RolloutErrorKind::Failed,
            outcome("another transaction runs on this host"),
        );
        assert_eq!(busy.in_full(), "web1: another transaction runs on this host");
        assert_eq!(busy.hints, ["wait"]);
        let reverted = ended("web1", RolloutErrorKind::RolledBack, outcome("no space left"));
        assert_eq!(reverted.in_full(), "web1: no space left; this transaction was reverted");
    }
}
