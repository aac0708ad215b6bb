//! Converging the pair: standby first, gate, then the owner, and a proof at the end.

use std::time::{Duration, Instant, SystemTime};

use crate::remote::RemoteErrorKind;
use crate::state::frame::UnitAction;
use crate::state::{EventKind, HostStatus, InstanceState, Outcome, OutcomeKind, Reply, Request, Stage, TxnId};

use super::confirm::{confirm, reattach};
use super::connect::{Context, Pair, unexpected};
use super::error::{RolloutError, RolloutErrorKind};
use super::gate::Gate;
use super::order::{Phase, changes_in, is_living_pair, standby_first};
use super::progress::Progress;
use super::verify::{Verification, verify};

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Only this host.
    pub limit: Option<String>,
    /// Seconds until a host reverts an unconfirmed change that could cut SSH.
    pub confirm_timeout: u64,
    /// `user@machine`, for lock and journal.
    pub operator: String,
    /// How long a health gate waits.
    pub gate_timeout: Duration,
}

/// Number of times the operator asked to stop. Once: put the running transaction back; twice: leave at once.
pub type Interrupt = tokio::sync::watch::Receiver<u32>;

/// What an apply did.
#[derive(Debug, Clone, Default)]
pub struct ApplyReport {
    /// Resources changed, by host in the inventory's order.
    pub changed: [usize; 2],
    /// Hosts that need a reboot for a change to take full effect.
    pub reboot_needed: Vec<String>,
    /// VIPs that were seen to answer.
    pub verified: Vec<Verification>,
}

/// Converges a planned pair and proves that it works.
///
/// # Errors
/// The first failure ends the run: what the failing host's transaction had replaced is put back by that host.
pub async fn apply(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &ApplyOptions,
    interrupt: Interrupt,
) -> Result<ApplyReport, RolloutError> {
    let mut run = Run {
        cx,
        options,
        interrupt,
        report: ApplyReport::default(),
        parts: 0,
        stamp: stamp(),
    };
    run.check_limit(pair)?;
    if pair.members.iter().any(|m| !m.plan.is_empty()) {
        run.lock(pair).await?;
        let result = run.converge(pair).await;
        run.unlock(pair).await;
        result?;
    }
    if options.limit.is_none() {
        run.report.verified = verify(cx, pair, options.gate_timeout, run.interrupt.clone()).await?;
    }
    Ok(run.report)
}

struct Run<'a> {
    cx: &'a Context<'a>,
    options: &'a ApplyOptions,
    interrupt: Interrupt,
    report: ApplyReport,
    /// Transactions so far; their ids share the stamp and sort by this number.
    parts: u32,
    stamp: String,
}

impl Run<'_> {
    fn check_limit(&self, pair: &Pair) -> Result<(), RolloutError> {
        let Some(limit) = &self.options.limit else {
            return Ok(());
        };
        if !pair.members.iter().any(|m| m.host() == limit) {
            return Err(RolloutError::pair(
                RolloutErrorKind::Usage,
                format!("no host `{limit}` in the inventory"),
            ));
        }
        if pair
            .members
            .iter()
            .any(|m| m.plan.changes.iter().any(|c| c.election_critical))
        {
            let message = "--limit cannot be used for this change: with one host changed, each would reject the \
                           other's adverts and both would own the VIP";
            return Err(RolloutError::pair(RolloutErrorKind::Usage, message).hint("apply to both hosts at once"));
        }
        Ok(())
    }

    fn includes(&self, host: &str) -> bool {
        self.options.limit.as_deref().is_none_or(|limit| limit == host)
    }

    async fn lock(&self, pair: &mut Pair) -> Result<(), RolloutError> {
        for member in &mut pair.members {
            member
                .order(Request::Lock {
                    operator: Some(self.options.operator.clone()),
                })
                .await?;
        }
        Ok(())
    }

    /// The locks also end with the conversations, so a failure here is no failure of the apply.
    async fn unlock(&self, pair: &mut Pair) {
        for member in &mut pair.members {
            let _ = member.order(Request::Lock { operator: None }).await;
        }
    }

    async fn converge(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        let living = is_living_pair(&statuses);
        let order = standby_first(self.cx.inventory, &statuses);
        self.validate(pair).await?;
        for host in order {
            self.foundation(pair, host, living).await?;
        }
        self.software(pair).await?;
        let critical = pair
            .members
            .iter()
            .any(|m| m.plan.changes.iter().any(|c| c.election_critical));
        if living && critical {
            self.services_election_critical(pair, order).await
        } else {
            self.services(pair, order).await
        }
    }

    /// Both hosts look at their new files before either is touched.
    async fn validate(&self, pair: &mut Pair) -> Result<(), RolloutError> {
        let request = Request::Validate {
            stages: Phase::Service.stages().to_vec(),
        };
        let [a, b] = &mut pair.members;
        let (ra, rb) = tokio::join!(a.order(request.clone()), b.order(request));
        ra.and(rb).map_err(|e| e.hint("neither host was changed"))
    }

    /// Network, SELinux, firewall, host name. An owner whose network changes hands the VIP over first.
    async fn foundation(&mut self, pair: &mut Pair, host: usize, living: bool) -> Result<(), RolloutError> {
        let drops_vip = living && changes_in(&pair.members[host].plan, &[Stage::Network]) > 0;
        let handed_over = drops_vip && self.hand_over(pair, host).await?;
        let result = self.transact(pair, host, Phase::Foundation.stages()).await;
        if handed_over {
            self.engine(pair, host, UnitAction::Start).await?;
            self.gate().host(&mut pair.members[host]).await?;
            self.gate().one_owner(pair, true).await?;
        }
        result
    }

    /// Repositories and packages, on both hosts at once: nothing here is active before the next phase.
    async fn software(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        // Two transactions at once need two halves of `self`; each half reports on its own and is merged after.
        let (mut first, mut second) = (self.half(), self.half());
        let [a, b] = &mut pair.members;
        let stages = Phase::Software.stages();
        let (ra, rb) = tokio::join!(
            first.transact_member(a, 0, stages),
            second.transact_member(b, 1, stages)
        );
        let reports = [first.report, second.report];
        for report in reports {
            self.report.changed[0] += report.changed[0];
            self.report.changed[1] += report.changed[1];
            self.report.reboot_needed.extend(report.reboot_needed);
        }
        self.parts += 1;
        ra.and(rb)
    }

    /// nginx and VRRP, one host after the other.
    async fn services(&mut self, pair: &mut Pair, order: [usize; 2]) -> Result<(), RolloutError> {
        for host in order {
            if changes_in(&pair.members[host].plan, Phase::Service.stages()) == 0 {
                continue;
            }
            self.transact(pair, host, Phase::Service.stages()).await?;
            self.gate().host(&mut pair.members[host]).await?;
            if self.cx.inventory.vrrp.is_some() && self.options.limit.is_none() {
                // At bootstrap the first host owns the VIP alone; from the second one on the election decides.
                let settled = host == order[1];
                let statuses = self.gate().one_owner(pair, settled).await?;
                self.tell_owners(&statuses);
            }
        }
        Ok(())
    }

    /// With one host changed and the other not, each would reject the other's adverts and both would own the VIP.
    /// So the standby is silent while the owner, which keeps the VIP through a reload, changes.
    async fn services_election_critical(
        &mut self,
        pair: &mut Pair,
        [standby, owner]: [usize; 2],
    ) -> Result<(), RolloutError> {
        for host in [standby, owner] {
            if changes_in(&pair.members[host].plan, &[Stage::Nginx]) > 0 {
                self.transact(pair, host, &[Stage::Nginx]).await?;
                self.gate().host(&mut pair.members[host]).await?;
            }
        }
        self.cx.observer.fact(
            pair.members[standby].host(),
            "silent while the owner changes what decides the election",
        );
        self.engine(pair, standby, UnitAction::Stop).await?;
        let changed = async {
            self.transact(pair, owner, &[Stage::Vrrp]).await?;
            self.gate().host(&mut pair.members[owner]).await?;
            pair.members[standby].replan().await?;
            self.transact(pair, standby, &[Stage::Vrrp]).await
        }
        .await;
        if changed.is_err() {
            // The owner was put back by its own transaction; the standby still has the configuration that fits it.
            self.engine(pair, standby, UnitAction::Start).await?;
        }
        changed?;
        self.gate().host(&mut pair.members[standby]).await?;
        let statuses = self.gate().one_owner(pair, true).await?;
        self.tell_owners(&statuses);
        Ok(())
    }

    /// Stops VRRP on an owner whose peer can take over, and waits until it has. `false`: it owns nothing.
    async fn hand_over(&mut self, pair: &mut Pair, host: usize) -> Result<bool, RolloutError> {
        let statuses = pair.statuses().await?;
        let mine: Vec<&str> = statuses[host]
            .instances
            .iter()
            .filter(|i| i.owns_vip)
            .map(|i| i.name.as_str())
            .collect();
        if mine.is_empty() {
            return Ok(false);
        }
        let peer = 1 - host;
        let fit = statuses[peer].instances.iter().all(|i| i.state != InstanceState::Fault);
        if !fit {
            let message = "its network must change and its peer is not fit to take the VIP over";
            return Err(
                RolloutError::on(pair.members[host].host(), RolloutErrorKind::Failed, message)
                    .hint(format!("repair {} first: `hapair status`", pair.members[peer].host())),
            );
        }
        self.cx
            .observer
            .wait(pair.members[host].host(), "the peer takes over the VIP");
        self.engine(pair, host, UnitAction::Stop).await?;
        self.gate().one_owner(pair, false).await?;
        Ok(true)
    }

    async fn engine(&self, pair: &mut Pair, host: usize, action: UnitAction) -> Result<(), RolloutError> {
        let member = &mut pair.members[host];
        let Some(engine) = member.state.engine else {
            return Ok(());
        };
        member
            .order(Request::Unit {
                unit: engine.unit().to_owned(),
                action,
            })
            .await
    }

    fn gate(&self) -> Gate<'_> {
        Gate {
            inventory: self.cx.inventory,
            observer: self.cx.observer,
            timeout: self.options.gate_timeout,
            interrupt: self.interrupt.clone(),
        }
    }

    fn tell_owners(&self, statuses: &[HostStatus; 2]) {
        for status in statuses {
            for instance in &status.instances {
                self.cx
                    .observer
                    .fact(&status.host, format!("{} is {}", instance.name, instance.state));
            }
        }
    }

    fn half(&self) -> Run<'_> {
        Run {
            cx: self.cx,
            options: self.options,
            interrupt: self.interrupt.clone(),
            report: ApplyReport::default(),
            parts: self.parts,
            stamp: self.stamp.clone(),
        }
    }

    async fn transact(&mut self, pair: &mut Pair, host: usize, stages: &[Stage]) -> Result<(), RolloutError> {
        self.transact_member(&mut pair.members[host], host, stages).await
    }

    /// One transaction on one host, followed to its end over however many connections it takes.
    async fn transact_member(
        &mut self,
        member: &mut super::Member,
        index: usize,
        stages: &[Stage],
    ) -> Result<(), RolloutError> {
        let changes = changes_in(&member.plan, stages);
        if changes == 0 || !self.includes(member.host()) {
            return Ok(());
        }
        self.stop_if_interrupted()?;
        self.parts += 1;
        let txn = TxnId::new(&format!("{}-{}", self.stamp, self.parts)).expect("letters, digits and dashes");
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
            operator: self.options.operator.clone(),
        };
        member.link.send(&request).await?;
        let outcome = self.follow(member, &txn).await?;
        self.report.changed[index] += outcome.changed;
        if outcome.reboot_needed && !self.report.reboot_needed.contains(&host) {
            self.report.reboot_needed.push(host.clone());
        }
        match outcome.result {
            OutcomeKind::Done => {}
            OutcomeKind::Reverted => return Err(ended(&host, RolloutErrorKind::RolledBack, outcome)),
            OutcomeKind::Failed => return Err(ended(&host, RolloutErrorKind::Failed, outcome)),
        }
        // What was just done moved the host; later phases need a plan that knows it.
        member.replan().await
    }

    async fn follow(&mut self, member: &mut super::Member, txn: &TxnId) -> Result<Outcome, RolloutError> {
        let mut seen = 0;
        let mut deadline = Instant::now() + Duration::from_secs(self.options.confirm_timeout);
        let mut interrupts = *self.interrupt.borrow_and_update();
        loop {
            let reply = tokio::select! {
                reply = member.link.recv() => reply,
                () = more_than(&mut self.interrupt, interrupts) => {
                    interrupts = *self.interrupt.borrow_and_update();
                    self.interrupted(member, txn, interrupts).await?;
                    continue;
                }
            };
            match reply {
                Ok(Reply::Event { txn: of, event }) if of == *txn => {
                    seen = event.seq;
                    let kind = event.kind.clone();
                    self.cx.observer.tell(Progress::Event {
                        host: member.host().to_owned(),
                        event,
                    });
                    match kind {
                        EventKind::Armed { seconds } => deadline = Instant::now() + Duration::from_secs(seconds),
                        EventKind::AwaitConfirm { .. } => {
                            if !confirm(self.cx, member, txn, seen, deadline).await? {
                                self.await_revert(member, txn, seen, deadline).await?;
                            }
                        }
                        EventKind::Finished { outcome } => return Ok(outcome),
                        _ => {}
                    }
                }
                Ok(Reply::Ack | Reply::Event { .. }) => {}
                Ok(Reply::Error { message, hints }) => {
                    let mut error = RolloutError::on(member.host(), RolloutErrorKind::Failed, message);
                    error.hints = hints;
                    return Err(error);
                }
                Ok(other) => return Err(unexpected(member.host(), &other)),
                Err(e) if e.kind == RemoteErrorKind::Lost => {
                    let patience = deadline.max(Instant::now()) + Duration::from_secs(15);
                    reattach(self.cx, member, txn, seen, patience).await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The host was not reached in time: it puts itself back, at the address it had before.
    async fn await_revert(
        &self,
        member: &mut super::Member,
        txn: &TxnId,
        seen: u64,
        deadline: Instant,
    ) -> Result<(), RolloutError> {
        self.cx.observer.warn(
            member.host(),
            "not reached after the change; waiting for the host to put itself back",
        );
        tokio::time::sleep_until((deadline + Duration::from_secs(1)).into()).await;
        reattach(self.cx, member, txn, seen, deadline + Duration::from_secs(30)).await
    }

    async fn interrupted(&self, member: &mut super::Member, txn: &TxnId, times: u32) -> Result<(), RolloutError> {
        if times > 1 {
            let message = format!("left on request while transaction {txn} runs");
            return Err(RolloutError::on(member.host(), RolloutErrorKind::Failed, message)
                .hint("the transaction goes on by itself, and an unconfirmed one reverts by itself")
                .hint("run `hapair apply` again to see and finish the rest"));
        }
        self.cx.observer.warn(
            member.host(),
            "interrupted; putting back what this transaction replaced (again: leave at once)",
        );
        member.link.send(&Request::Cancel { txn: txn.clone() }).await?;
        Ok(())
    }

    fn stop_if_interrupted(&self) -> Result<(), RolloutError> {
        if *self.interrupt.borrow() == 0 {
            return Ok(());
        }
        Err(
            RolloutError::pair(RolloutErrorKind::RolledBack, "interrupted between two transactions")
                .hint("what is done stays done; run `hapair apply` again to do the rest"),
        )
    }
}

/// Completes when the operator asked more often than `times`.
async fn more_than(interrupt: &mut Interrupt, times: u32) {
    if interrupt.wait_for(|now| *now > times).await.is_err() {
        std::future::pending().await
    }
}

fn ended(host: &str, kind: RolloutErrorKind, outcome: Outcome) -> RolloutError {
    let after = match kind {
        RolloutErrorKind::RolledBack => "everything this transaction replaced was put back",
        _ => "putting back what this transaction replaced failed too",
    };
    let mut error = RolloutError::on(host, kind, format!("{}; {after}", outcome.error));
    error.hints = outcome.hints;
    error
}

/// UTC time to the second and four digits that tell two runs of one second apart.
fn stamp() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, seconds) = ((now.as_secs() / 86_400) as i64, now.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}{month:02}{day:02}T{h:02}{m:02}{s:02}Z-{:04x}",
        (now.subsec_nanos() ^ std::process::id()) & 0xffff
    )
}

/// Days since 1970-01-01 to year, month, day (the usual era arithmetic over 400-year cycles starting in March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
    }

    #[test]
    fn a_stamp_makes_a_transaction_id() {
        assert!(TxnId::new(&format!("{}-1", stamp())).is_some());
    }
}
