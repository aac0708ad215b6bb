//! Converging the pair: standby first, gate, then the owner, and a proof at the end.

use std::time::{Duration, SystemTime};

use crate::state::frame::{IfHeld, Operator, UnitAction};
use crate::state::resource::Spec;
use crate::state::time::Utc;
use crate::state::{Engine, HostStatus, Reaction, Request, Stage, TxnId};

use super::clocks;
use super::error::{RolloutError, RolloutErrorKind};
use super::health::gate::Gate;
use super::health::roles;
use super::health::roles::{Owners, is_living_pair};
use super::health::verify::{Verification, verify};
use super::order::{Phase, changes_in, standby_first};
use super::reach::confirm::Heading;
use super::reach::pair::{Context, Member, Pair};
use super::reboot::waiting_for_reboot;
use super::takeover::{self, Moved};

/// What serves through the VIP.
const NGINX: &str = "nginx.service";

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Only this host.
    pub limit: Option<String>,
    /// Seconds until a host reverts an unconfirmed change that could cut SSH.
    pub confirm_timeout: u64,
    /// Who applies, for lock and journal.
    pub operator: Operator,
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
    /// Hosts that need a reboot for everything to take effect.
    pub reboot_needed: Vec<String>,
    /// Hosts that were rebooted.
    pub rebooted: Vec<String>,
    /// VIPs that were seen to answer.
    pub verified: Vec<Verification>,
    /// What the transactions of this run share, once one of them changed something: `rollback` takes it.
    pub stamp: Option<String>,
    /// How many transactions there were with it.
    pub(super) parts: u32,
    /// A host whose engine a failure left stopped.
    pub silent: Option<(usize, Engine)>,
}

/// Converges a planned pair and proves that it works. `report` is filled in also where it fails.
///
/// # Errors
/// The first failure ends the run: what the failing host's transaction had replaced is put back by that host.
pub async fn apply(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &ApplyOptions,
    interrupt: Interrupt,
    report: &mut ApplyReport,
) -> Result<(), RolloutError> {
    let mut run = Run::new(cx, options, interrupt, Heading::Inventory);
    run.check_limit(pair)?;
    if pair.members.iter().any(|m| !m.plan.is_empty()) {
        pair.lock(cx.observer, &options.operator).await?;
        let result = run.locked(pair).await;
        pair.unlock().await;
        *report = run.report;
        report.stamp = report.changed.iter().any(|n| *n > 0).then_some(run.stamp);
        report.parts = run.parts;
        result?;
    }
    report.reboot_needed = waiting_for_reboot(pair, options);
    if options.limit.is_none() {
        report.verified = verify(cx, pair, options.gate_timeout, run.interrupt).await?;
    }
    Ok(())
}

/// A rollout under way; what one transaction takes is in `follow`.
pub(super) struct Run<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) options: &'a ApplyOptions,
    pub(super) interrupt: Interrupt,
    pub(super) report: ApplyReport,
    /// Transactions so far; their ids share the stamp and sort by this number.
    pub(super) parts: u32,
    pub(super) stamp: String,
    /// Where a host is to be found after its network changed.
    pub(super) heading: Heading,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        cx: &'a Context<'a>,
        options: &'a ApplyOptions,
        interrupt: Interrupt,
        heading: Heading,
    ) -> Run<'a> {
        Run {
            cx,
            options,
            interrupt,
            report: ApplyReport::default(),
            parts: 0,
            stamp: stamp(),
            heading,
        }
    }
}

impl Run<'_> {
    /// Identifier of the next transaction.
    pub(super) fn next_transaction(&mut self) -> TxnId {
        self.parts += 1;
        TxnId::new(&format!("{}-{}", self.stamp, self.parts)).expect("letters, digits and dashes")
    }

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

    pub(super) fn includes(&self, host: &str) -> bool {
        self.options.limit.as_deref().is_none_or(|limit| limit == host)
    }

    async fn locked(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        if self.options.operator.if_held == IfHeld::Break {
            // Whose lock was broken may have changed something to the last.
            for member in &mut pair.members {
                self.unmoved(member).await?;
            }
        }
        self.converge(pair).await
    }

    async fn converge(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        let living = is_living_pair(&statuses);
        let order = standby_first(self.cx.inventory, &statuses);
        let critical = pair
            .members
            .iter()
            .any(|m| m.plan.changes.iter().any(|c| c.election_critical));
        if let Some(vrrp) = &self.cx.inventory.vrrp {
            clocks::check(pair, &vrrp.instances).await?;
        }
        self.validate(pair).await?;
        let on_the_way = match critical {
            true => self.on_the_way(pair, &statuses).await?,
            false => None,
        };
        for host in order {
            self.foundation(pair, host, living).await?;
        }
        self.software(pair).await?;
        // A hand-over for a change of the network may have moved the VIP for good.
        let order = match living {
            true => standby_first(self.cx.inventory, &pair.statuses().await?),
            false => order,
        };
        // Also where the standby is stopped: started with the new configuration beside an owner with the old one, it would
        // be a second owner.
        if critical {
            self.agree(pair, order, on_the_way).await
        } else {
            self.services(pair, order).await
        }
    }

    /// Both hosts look at their new files, and at the segment for a new network, before either is touched.
    pub(super) async fn validate(&self, pair: &mut Pair) -> Result<(), RolloutError> {
        let requests = pair.members.each_ref().map(|member| {
            let mut stages = Phase::Service.stages().to_vec();
            // Asks the segment, which takes a moment.
            if self.includes(member.host()) && changes_in(&member.plan, &[Stage::Network]) > 0 {
                stages.insert(0, Stage::Network);
            }
            Request::Validate { stages }
        });
        let ([a, b], [ask_a, ask_b]) = (&mut pair.members, requests);
        let (ra, rb) = tokio::join!(a.order(ask_a), b.order(ask_b));
        ra.and(rb).map_err(|e| e.hint("neither host was changed"))
    }

    /// Network, SELinux, firewall, host name. An owner whose network changes hands the VIP over first.
    async fn foundation(&mut self, pair: &mut Pair, host: usize, living: bool) -> Result<(), RolloutError> {
        let untouched = changes_in(&pair.members[host].plan, Phase::Foundation.stages()) == 0;
        if untouched || !self.includes(pair.members[host].host()) {
            return Ok(());
        }
        let drops_vip = living && changes_in(&pair.members[host].plan, &[Stage::Network]) > 0;
        let silenced = if drops_vip {
            self.hand_over(pair, host).await?
        } else {
            None
        };
        let result = async {
            if silenced.is_some() {
                // The host was moved by our own hand: a plan that knows it.
                pair.members[host].replan().await?;
            }
            self.transact(pair, host, Phase::Foundation.stages()).await
        }
        .await;
        // Whatever became of it, the host is in election again; its own error comes first.
        if let Some((engine, moved)) = silenced {
            let back = async {
                let started = self.order_engine(pair, host, engine, UnitAction::Start).await;
                if started.is_err() {
                    self.report.silent = Some((host, engine));
                }
                spoken_for(pair.members[host].host(), result, started)?;
                pair.members[host].replan().await?;
                self.gate().as_before(&mut pair.members[host]).await
            }
            .await;
            self.give_back(pair, host, moved, back).await?;
            self.gate().one_owner_now(pair, Owners::Best).await?;
        } else {
            result?;
            if living && self.options.limit.is_none() {
                self.gate().one_owner_now(pair, Owners::Any).await?;
            }
        }
        Ok(())
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
        }
        self.parts += 1;
        both(ra, rb)
    }

    /// nginx and VRRP, one host after the other.
    pub(super) async fn services(&mut self, pair: &mut Pair, order: [usize; 2]) -> Result<(), RolloutError> {
        for host in order {
            let untouched = changes_in(&pair.members[host].plan, Phase::Service.stages()) == 0;
            if untouched || !self.includes(pair.members[host].host()) {
                continue;
            }
            let moved = self.before_restart(pair, host).await?;
            let done = async {
                self.transact(pair, host, Phase::Service.stages()).await?;
                self.gate().host(&mut pair.members[host]).await
            }
            .await;
            self.give_back(pair, host, moved, done).await?;
            if self.cx.inventory.vrrp.is_some() && self.options.limit.is_none() {
                // At bootstrap the first host owns the VIP alone; from the second one on the election decides.
                let settled = host == order[1];
                let statuses = self.gate().one_owner(pair, settled).await?;
                self.tell_owners(&statuses);
            }
        }
        Ok(())
    }

    /// For so long a standby may have to stand in for a host that is worked on.
    pub(super) fn absence(&self) -> Duration {
        Duration::from_secs(self.options.confirm_timeout) + 2 * self.options.gate_timeout
    }

    /// The VIP goes to the standby before the owner's engine restarts or is exchanged, if the standby can take it over.
    async fn before_restart(&self, pair: &mut Pair, host: usize) -> Result<Moved, RolloutError> {
        if self.options.limit.is_some() || !self.restarts_engine(&pair.members[host]) {
            return Ok(Moved::NotYet);
        }
        let statuses = pair.statuses().await?;
        let owns = is_living_pair(&statuses) && roles::owned(&statuses[host]) > 0;
        if !owns || self.gate().unfit_beside(&statuses[1 - host], &statuses[host]).is_some() {
            return Ok(Moved::NotYet);
        }
        self.stop_if_interrupted()?;
        let (name, peer) = (pair.members[host].host(), 1 - host);
        self.cx.observer.wait(name, "the peer takes over the VIP");
        takeover::take_over(self.cx, pair, peer, Some(self.absence())).await
    }

    /// Its next transaction starts an engine anew, or another one.
    fn restarts_engine(&self, member: &Member) -> bool {
        let restarts = |reaction: &Reaction| matches!(reaction, Reaction::Restart { .. });
        let units = [Engine::Agent, Engine::Keepalived].map(Engine::unit);
        let mut changed = member.state.resources.iter().filter(|resource| {
            let mut changes = member.plan.changes.iter();
            resource.stage == Stage::Vrrp && changes.any(|c| c.resource == resource.id)
        });
        changed.any(|resource| {
            let service = matches!(&resource.spec, Spec::Service { unit, .. } if units.contains(&unit.as_str()));
            service || resource.reactions.iter().any(restarts)
        })
    }

    /// Work on a host for which its peer may stand in is over, well or not: the peer's raised priority ends, and a host that is
    /// well again takes back at once what it is preferred for.
    pub(super) async fn give_back(
        &self,
        pair: &mut Pair,
        host: usize,
        moved: Moved,
        done: Result<(), RolloutError>,
    ) -> Result<(), RolloutError> {
        let hint = match moved {
            Moved::AtOnce => takeover::end_raise(pair, 1 - host, self.absence()).await,
            Moved::NotYet => None,
        };
        if let Err(error) = done {
            return Err(hint.into_iter().fold(error, RolloutError::hint));
        }
        if let Some(hint) = hint {
            self.cx.observer.warn(pair.members[1 - host].host(), hint);
        }
        if self.cx.inventory.vrrp.is_some() && self.options.limit.is_none() {
            takeover::take_back(self.cx, pair, host).await?;
        }
        Ok(())
    }

    /// Stops VRRP on an owner once its peer has the VIP, or so that it gets it. Returns the engine to be started again, and how
    /// the VIP moved; `None`: the host owns nothing.
    async fn hand_over(&mut self, pair: &mut Pair, host: usize) -> Result<Option<(Engine, Moved)>, RolloutError> {
        let mut statuses = pair.statuses().await?;
        let Some(engine) = statuses[host].engine.filter(|_| roles::owned(&statuses[host]) > 0) else {
            return Ok(None);
        };
        let peer = 1 - host;
        if statuses[peer].nginx != "active" && self.will_serve(&pair.members[peer]) {
            self.start_early(&mut pair.members[peer]).await?;
            statuses[peer] = pair.members[peer].status().await?;
        }
        if let Some(lacking) = self.gate().unfit_beside(&statuses[peer], &statuses[host]) {
            let message = format!("its network must change and its peer cannot take the VIP over: {lacking}");
            return Err(
                RolloutError::on(pair.members[host].host(), RolloutErrorKind::Failed, message)
                    .hint(format!("repair {} first: `hapair status`", pair.members[peer].host())),
            );
        }
        self.cx
            .observer
            .wait(pair.members[host].host(), "the peer takes over the VIP");
        let moved = takeover::take_over(self.cx, pair, peer, Some(self.absence())).await?;
        let stopped = async {
            self.order_engine(pair, host, engine, UnitAction::Stop).await?;
            let gone = self.gate().one_owner_now(pair, Owners::Any).await.map(drop);
            match gone {
                Ok(()) => Ok(()),
                Err(error) => Err(match self.order_engine(pair, host, engine, UnitAction::Start).await {
                    Ok(()) => error.hint(format!("VRRP on {} was started again", pair.members[host].host())),
                    Err(why) => error.hint(format!("VRRP could not be started again: {why}")),
                }),
            }
        }
        .await;
        match stopped {
            Ok(()) => Ok(Some((engine, moved))),
            Err(error) => self.give_back(pair, host, moved, Err(error)).await.map(|()| None),
        }
    }

    /// The plan starts its nginx anyway.
    fn will_serve(&self, member: &Member) -> bool {
        let mut resources = member.state.resources.iter();
        let service = resources.find(|r| matches!(&r.spec, Spec::Service { unit, .. } if unit == NGINX));
        service.is_some_and(|s| member.plan.changes.iter().any(|c| c.resource == s.id)) && self.includes(member.host())
    }

    /// Starts nginx as it is configured before its turn: a standby that lost it (at a boot, say) could never take over, so
    /// that its owner could never change.
    async fn start_early(&self, member: &mut Member) -> Result<(), RolloutError> {
        self.cx.observer.fact(
            member.host(),
            "nginx is started first, so that it can take the VIP over",
        );
        let start = Request::Unit {
            unit: NGINX.to_owned(),
            action: UnitAction::Start,
        };
        // That it cannot take over is what ends the run, where it does.
        if let Err(error) = member.order(start).await {
            self.cx
                .observer
                .warn(member.host(), format!("nginx does not start: {error}"));
        }
        // The host was moved by our own hand.
        member.replan().await
    }

    /// Starts or stops an engine that runs, or ran a moment ago; the wanted one may be another.
    pub(super) async fn order_engine(
        &self,
        pair: &mut Pair,
        host: usize,
        engine: Engine,
        action: UnitAction,
    ) -> Result<(), RolloutError> {
        let unit = engine.unit().to_owned();
        pair.members[host].order(Request::Unit { unit, action }).await
    }

    pub(super) fn gate(&self) -> Gate<'_> {
        Gate {
            inventory: self.cx.inventory,
            observer: self.cx.observer,
            timeout: self.options.gate_timeout,
            interrupt: self.interrupt.clone(),
        }
    }

    pub(super) fn tell_owners(&self, statuses: &[HostStatus; 2]) {
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
            heading: self.heading,
        }
    }
}

/// Two hosts worked at once: both errors are told, and the worse one decides.
pub(super) fn both(a: Result<(), RolloutError>, b: Result<(), RolloutError>) -> Result<(), RolloutError> {
    match (a, b) {
        (Err(mut a), Err(b)) => {
            if b.kind != RolloutErrorKind::RolledBack {
                a.kind = b.kind;
            }
            a.message = format!("{}\n{}", a.message, b.message);
            a.hints.extend(b.hints);
            a.hints.dedup();
            Err(a)
        }
        (a, b) => a.and(b),
    }
}

/// How work on a host ended whose engine was stopped for it and is to run again: neither failure hides the other.
pub(super) fn spoken_for(
    host: &str,
    work: Result<(), RolloutError>,
    started: Result<(), RolloutError>,
) -> Result<(), RolloutError> {
    match (work, started) {
        (Err(error), Err(why)) => Err(error.hint(format!("VRRP on {host} could not be started again: {why}"))),
        (work, started) => work.and(started),
    }
}

/// UTC time to the second and four digits that tell two runs of one second apart.
fn stamp() -> String {
    let now = SystemTime::now();
    let nanos = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    format!(
        "{}-{:04x}",
        Utc::of(now).compact(),
        (nanos ^ std::process::id()) & 0xffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_makes_a_transaction_id() {
        assert!(TxnId::new(&format!("{}-1", stamp())).is_some());
    }

    #[test]
    fn a_lost_link_does_not_hide_that_vrrp_stays_stopped() {
        let failed = |what: &str| RolloutError::on("web1", RolloutErrorKind::Unreachable, what);
        let error = spoken_for("web1", Err(failed("connection lost")), Err(failed("no link"))).expect_err("failed");
        assert_eq!(error.message, "web1: connection lost");
        assert_eq!(error.hints, ["VRRP on web1 could not be started again: web1: no link"]);
        assert!(spoken_for("web1", Ok(()), Err(failed("no link"))).is_err());
        assert!(spoken_for("web1", Ok(()), Ok(())).is_ok());
    }
}
