//! Rolls transactions back over the pair: standby first, what serves keeps serving, one owner at the end.

use std::time::{Duration, Instant};

use super::error::{RolloutError, RolloutErrorKind, both, unexpected, with_engine_restart};
use super::health::roles;
use super::health::roles::{Owners, is_living_pair};
use super::interrupt::Interrupt;
use super::order::standby_first;
use super::progress::Progress;
use super::reach::context::Context;
use super::reach::locate::AddressPlan;
use super::reach::member::Member;
use super::reach::pair::Pair;
use super::rollback_order::{self, EnginesRunning, RollbackOrder};
use super::run::{ApplyOptions, Run, StoppedEngine};
use super::selection::{Selection, select};
use super::takeover::{self, Moved};
use super::transact::ended;
use crate::inventory::Side;
use crate::state::UnitAction;
use crate::state::frame::Operator;
use crate::state::{
    Engine, Foreign, Goal, HostRollback, HostRollbackPlan, HostStatus, OutcomeKind, Reply, Request, Stage, Transaction,
    UnitState,
};

const POLL: Duration = Duration::from_millis(100);

/// How to roll back.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    /// Seconds until a host reverts an unconfirmed change that could cut SSH.
    pub confirm_timeout: u64,
    /// Who does it, for lock and journal.
    pub operator: Operator,
    /// How long a health gate waits.
    pub gate_timeout: Duration,
    /// An engine that an earlier failure left stopped: it is started again at the end.
    pub left_stopped: Option<StoppedEngine>,
}

/// What is to be rolled back, by host in the inventory's order.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// Which transactions; none: the host is not touched.
    pub backs: [HostRollback; 2],
    /// What that would change.
    pub plans: [HostRollbackPlan; 2],
    /// Something of hapair's own is on the host besides its executor.
    pub installed: [bool; 2],
}

impl Rollback {
    /// Nothing is to be done on this host.
    pub fn is_empty_on(&self, host: Side) -> bool {
        self.backs[host].transactions.is_empty() && self.plans[host].plan.changes.is_empty()
    }
}

/// What was rolled back.
#[derive(Debug, Clone, Default)]
pub struct RollbackReport {
    /// Changes, by host.
    pub changed: [usize; 2],
    /// What stays, by host.
    pub stays: [Vec<String>; 2],
}

/// Finds out which transactions are meant and what rolling them back would change. Read-only.
///
/// # Errors
/// There is no such transaction; a host refuses, because a later one is in force or somebody else changed files since.
pub async fn plan_rollback(
    pair: &mut Pair,
    which: &Selection,
    foreign: Foreign,
    goal: Goal,
) -> Result<Rollback, RolloutError> {
    let [a, b] = &mut pair.members;
    let (ra, rb) = tokio::join!(history(a), history(b));
    let [(first, one), (second, two)] = [ra?, rb?];
    let histories = [first, second];
    let chosen = select(&histories, which)?;
    let backs = chosen.map(|transactions| HostRollback {
        transactions,
        foreign,
        goal,
    });
    let [a, b] = &mut pair.members;
    let (ra, rb) = tokio::join!(plan(a, &backs[0]), plan(b, &backs[1]));
    let plans = match (ra, rb) {
        (Ok(a), Ok(b)) => [a, b],
        (a, b) => return Err(both(a.map(drop), b.map(drop)).expect_err("one failed")),
    };
    for (member, plan) in pair.members.iter_mut().zip(&plans) {
        member.plan = plan.plan.clone();
    }
    Ok(Rollback {
        backs,
        plans,
        installed: [one, two],
    })
}

async fn history(member: &mut Member) -> Result<(Vec<Transaction>, bool), RolloutError> {
    match member.ask(&Request::History).await? {
        Reply::History {
            transactions,
            installed,
        } => Ok((transactions, installed)),
        other => Err(unexpected(member.host(), &other)),
    }
}

async fn plan(member: &mut Member, back: &HostRollback) -> Result<HostRollbackPlan, RolloutError> {
    if back.transactions.is_empty() && back.goal == Goal::Rollback {
        return Ok(HostRollbackPlan::default());
    }
    let request = Request::PlanRollback { back: back.clone() };
    let host = member.host().to_owned();
    match member.ask(&request).await? {
        Reply::RollbackPlan { mut plan } => {
            plan.plan.host = host;
            Ok(plan)
        }
        other => Err(unexpected(&host, &other)),
    }
}

/// Rolls back what was planned. `report` is filled in also where it fails.
///
/// # Errors
/// The first failure ends it: that host is as it was before its own part of this.
pub async fn rollback(
    cx: &Context<'_>,
    pair: &mut Pair,
    what: &Rollback,
    options: &RollbackOptions,
    interrupt: Interrupt,
    report: &mut RollbackReport,
) -> Result<(), RolloutError> {
    let apply_options = ApplyOptions {
        limit: None,
        confirm_timeout: options.confirm_timeout,
        operator: options.operator.clone(),
        gate_timeout: options.gate_timeout,
    };
    let asked = interrupt.count();
    let mut back = Back {
        run: Run::new(cx, &apply_options, interrupt, AddressPlan::Back),
        what,
        report,
        done: [false; 2],
        asked,
    };
    pair.lock(cx.observer, &options.operator).await?;
    let result = back.pair(pair, options.left_stopped).await;
    let one_is_back = back.done.contains(&true);
    pair.unlock().await;
    result.map_err(|error| match one_is_back {
        true => error.hint(
            "what was rolled back stays rolled back; run the same command again to finish, or `hapair \
            apply` to go forward",
        ),
        false => error,
    })
}

/// The last step of a removal, on both hosts: history and executors go. The conversations are of no use afterwards.
///
/// # Errors
/// A host refuses, because something is still in force there, or another run holds its lock.
pub async fn purge(cx: &Context<'_>, pair: &mut Pair, operator: &Operator) -> Result<(), RolloutError> {
    pair.lock(cx.observer, operator).await?;
    let [a, b] = &mut pair.members;
    let (ra, rb) = tokio::join!(a.order(Request::Purge), b.order(Request::Purge));
    both(ra, rb)
}

struct Back<'a> {
    run: Run<'a>,
    what: &'a Rollback,
    report: &'a mut RollbackReport,
    /// By host.
    done: [bool; 2],
    /// How often the operator had asked to stop before this began.
    asked: u32,
}

impl Back<'_> {
    async fn pair(&mut self, pair: &mut Pair, left_stopped: Option<StoppedEngine>) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        let order = standby_first(self.run.cx.inventory, &statuses);
        let living = is_living_pair(&statuses);
        let running = match statuses.iter().any(|s| s.engine.is_some()) {
            _ if living => EnginesRunning::LivingPair,
            true => EnginesRunning::Some,
            false => EnginesRunning::None,
        };
        let critical = self.what.plans.each_ref().map(|plan| {
            let mut changes = plan.plan.changes.iter();
            // A stopped engine runs again afterwards: hapair stopped it, or it is started at boot.
            (plan.engine_runs_after || running == EnginesRunning::Some) && changes.any(|c| c.election_critical)
        });
        match rollback_order::order(running, critical, self.what.backs[0].goal, order[1]) {
            RollbackOrder::StandbyStopped => self.election_critical(pair, order, &statuses).await?,
            RollbackOrder::Refused(host) => return Err(self.one_sided(pair, host)),
            RollbackOrder::InTurn => {
                for host in order {
                    self.host(pair, host, living).await?;
                }
            }
        }
        if let Some(StoppedEngine { host, engine }) = left_stopped {
            self.restart_engine(pair, host, Some(engine)).await?;
        }
        if self.engines_after(&statuses).contains(&true) {
            let statuses = self.gate(pair, Owners::OfAll).await?;
            self.run.tell_owners(&statuses);
            self.warn_of_stopped_engines(pair, &statuses);
        }
        Ok(())
    }

    /// A run that failed may have left an engine stopped, and was another process: who goes back from it must not be left
    /// with a pair of one.
    fn warn_of_stopped_engines(&self, pair: &Pair, statuses: &[HostStatus; 2]) {
        for (member, status) in pair.members.iter().zip(statuses) {
            let units = &member.link.facts().units;
            let starts_at_boot = |engine: &Engine| units.get(engine.unit()).is_some_and(UnitState::is_enabled);
            let enabled = [Engine::Agent, Engine::Keepalived].into_iter().find(starts_at_boot);
            if let Some(engine) = enabled.filter(|_| status.engine.is_none()) {
                let unit = engine.unit();
                self.run.cx.observer.warn(
                    member.host(),
                    format!(
                        "{unit} is enabled but does not run: run `systemctl start {unit}` on the host, or \
                        `hapair apply`"
                    ),
                );
            }
        }
    }

    /// With only one host rolled back, each would reject the other's adverts.
    fn one_sided(&self, pair: &Pair, host: Side) -> RolloutError {
        let back = &self.what.backs[host];
        let run = back
            .transactions
            .first()
            .map(|t| t.stamp().to_owned())
            .unwrap_or_default();
        let message = "rolling back election settings on this host alone would give the VIP two owners";
        RolloutError::on(pair[host].host(), RolloutErrorKind::Usage, message).hint(format!(
            "roll back the whole run on both hosts: `hapair rollback {run}`"
        ))
    }

    /// One host, which hands the VIP over first where its network changes.
    async fn host(&mut self, pair: &mut Pair, host: Side, living: bool) -> Result<(), RolloutError> {
        if self.what.is_empty_on(host) {
            return Ok(());
        }
        let plan = &self.what.plans[host];
        let network = plan.plan.changes.iter().any(|c| c.stage == Stage::Network);
        let stopped_engine = if living && network && plan.engine_runs_after {
            self.hand_over(pair, host).await?
        } else {
            None
        };
        let result = self.transact(pair, host).await;
        let restarted = self
            .restart_engine(pair, host, stopped_engine.map(|(engine, _)| engine))
            .await;
        let mut done = with_engine_restart(pair[host].host(), result, restarted);
        if let Some((_, moved)) = stopped_engine {
            if done.is_ok() {
                // A host that is not healthy must not own the VIP again.
                done = self.gate(pair, Owners::Any).await.map(drop);
            }
            done = self.run.return_vips(pair, host, moved, done).await;
        }
        done?;
        if plan.engine_runs_after && living {
            self.gate(pair, Owners::Any).await?;
        }
        Ok(())
    }

    /// The standby's engine is stopped while the owner, which keeps the VIP through a reload, is rolled back to
    /// settings that the standby would reject.
    async fn election_critical(
        &mut self,
        pair: &mut Pair,
        [standby, owner]: [Side; 2],
        statuses: &[HostStatus; 2],
    ) -> Result<(), RolloutError> {
        let name = pair[standby].host().to_owned();
        self.run
            .cx
            .observer
            .fact(&name, "stopped while the owner's election settings are rolled back");
        let stopped_engine = statuses[standby].engine;
        if let Some(engine) = stopped_engine {
            self.run.order_engine(pair, standby, engine, UnitAction::Stop).await?;
        }
        if let Err(error) = self.transact(pair, owner).await {
            return Err(self.run.restart_standby(pair, standby, stopped_engine, error).await);
        }
        let rest = async {
            if self.what.plans[owner].engine_runs_after {
                self.gate(pair, Owners::Any).await?;
            }
            self.transact(pair, standby).await
        };
        rest.await.map_err(|e| {
            e.hint(format!(
                "VRRP on {name} is left stopped, because it could become a second owner"
            ))
            .hint("run the same command again, or `hapair apply` to go forward")
        })?;
        if self.what.plans[standby].engine_runs_after {
            self.restart_engine(pair, standby, stopped_engine).await?;
        }
        Ok(())
    }

    /// Starts the engine that was stopped, unless the rollback has started one.
    async fn restart_engine(&self, pair: &mut Pair, host: Side, engine: Option<Engine>) -> Result<(), RolloutError> {
        let Some(engine) = engine else { return Ok(()) };
        if pair[host].status().await?.engine.is_some() {
            return Ok(());
        }
        self.run.order_engine(pair, host, engine, UnitAction::Start).await
    }

    /// Stops VRRP on an owner once its peer has the VIP, or so that it gets it. Returns the engine to be started again, and how
    /// the VIP moved.
    async fn hand_over(&mut self, pair: &mut Pair, host: Side) -> Result<Option<(Engine, Moved)>, RolloutError> {
        let statuses = pair.statuses().await?;
        let Some(engine) = statuses[host].engine.filter(|_| roles::owned(&statuses[host]) > 0) else {
            return Ok(None);
        };
        let name = pair[host].host().to_owned();
        let peer = &statuses[host.other()];
        if let Some(lacking) = self.unfit(host, peer) {
            let message = format!("its network must change and its peer cannot take over the VIP: {lacking}");
            return Err(RolloutError::on(&name, RolloutErrorKind::Failed, message).hint("repair the peer first"));
        }
        self.run.cx.observer.wait(&name, "the peer to take over the VIP");
        let keep = Some(self.run.absence());
        let moved = takeover::take_over(self.run.cx, pair, host.other(), keep).await?;
        let stopped = async {
            self.run.order_engine(pair, host, engine, UnitAction::Stop).await?;
            let gone = self.gate(pair, Owners::Any).await.map(drop);
            match gone {
                Ok(()) => Ok(()),
                Err(error) => Err(match self.restart_engine(pair, host, Some(engine)).await {
                    Ok(()) => error.hint(format!("VRRP on {name} was restarted")),
                    Err(why) => error.hint(format!("VRRP could not be restarted: {why:#}")),
                }),
            }
        }
        .await;
        match stopped {
            Ok(()) => Ok(Some((engine, moved))),
            Err(error) => self.run.return_vips(pair, host, moved, Err(error)).await.map(|()| None),
        }
    }

    /// One transaction on one host, followed to its end over however many connections it takes.
    async fn transact(&mut self, pair: &mut Pair, host: Side) -> Result<(), RolloutError> {
        if self.what.is_empty_on(host) {
            return Ok(());
        }
        let member = &mut pair[host];
        let (back, plan) = (&self.what.backs[host], &self.what.plans[host]);
        let name = member.host().to_owned();
        let txn = self.run.next_transaction();
        self.run.cx.observer.tell(Progress::Phase {
            host: name.clone(),
            what: format!("roll back as {txn}"),
            changes: back.transactions.len(),
        });
        let request = Request::Rollback {
            txn: txn.clone(),
            fingerprint: plan.plan.fingerprint.clone(),
            back: back.clone(),
            confirm_timeout: self.run.options.confirm_timeout,
            operator: self.run.operator(),
        };
        let outcome = self.run.begin(member, (&txn, &request)).await?;
        match outcome.result {
            OutcomeKind::Done => {}
            OutcomeKind::Reverted => return Err(ended(&name, RolloutErrorKind::RolledBack, outcome)),
            OutcomeKind::Failed => return Err(ended(&name, RolloutErrorKind::Failed, outcome)),
        }
        self.report.changed[host] = outcome.changed;
        self.report.stays[host] = outcome.hints;
        self.done[host] = true;
        // From here on the host is asked about what it has now.
        if !plan.instances.is_empty() {
            member.state.instances = plan.instances.clone();
        }
        Ok(())
    }

    /// By host: an engine runs after the rollback, or now where nothing is rolled back.
    fn engines_after(&self, statuses: &[HostStatus; 2]) -> [bool; 2] {
        Side::BOTH.map(|host| {
            if self.what.is_empty_on(host) {
                statuses[host].engine.is_some()
            } else {
                self.what.plans[host].engine_runs_after
            }
        })
    }

    /// Waits until every host that was rolled back and still serves is fit, and every running instance has its owner.
    async fn gate(&self, pair: &mut Pair, owners: Owners) -> Result<[HostStatus; 2], RolloutError> {
        let began = Instant::now();
        let timeout = self.run.options.gate_timeout;
        loop {
            let statuses = pair.statuses().await?;
            let Some(lacking) = self.lacking(&statuses, owners) else {
                return Ok(statuses);
            };
            if self.run.interrupt.count() > self.asked {
                return Err(RolloutError::of(
                    RolloutErrorKind::Failed,
                    "interrupted while waiting for the pair to be healthy",
                )
                .hint("what was rolled back stays rolled back; run the same command again to finish"));
            }
            if began.elapsed() > timeout {
                let message = format!("health gate: after {} s {lacking}", timeout.as_secs());
                return Err(RolloutError::of(RolloutErrorKind::Failed, message)
                    .hint("check `hapair status` and the journals of both hosts"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn lacking(&self, statuses: &[HostStatus; 2], owners: Owners) -> Option<String> {
        let rolled_back = Side::BOTH
            .into_iter()
            .filter(|host| self.done[*host] && self.what.plans[*host].engine_runs_after);
        for host in rolled_back {
            let status = &statuses[host];
            if let Some(lacking) = self.unfit(host, status) {
                return Some(format!("on {} {lacking}", status.host));
            }
        }
        roles::ownership_problem(statuses, owners)
    }

    /// Why a host cannot own a VIP now, by its own word; what does not go on on `planned` is not asked for.
    fn unfit(&self, planned: Side, status: &HostStatus) -> Option<String> {
        let nginx_down = self.what.plans[planned].serves_after && status.nginx != "active";
        let nginx = nginx_down.then(|| format!("nginx is {}", status.nginx));
        nginx.or_else(|| roles::unfit(status))
    }
}
