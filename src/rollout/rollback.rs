//! Putting transactions back over the pair: standby first, what serves goes on serving, one owner at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::state::frame::{Operator, UnitAction};
use crate::state::{
    Engine, Foreign, Goal, HostStatus, InstanceState, OutcomeKind, PutBack, PutBackPlan, Reply, Request, Stage,
    Transaction,
};

use super::apply::{ApplyOptions, Interrupt, Run, both};
use super::confirm::Heading;
use super::connect::{Context, Member, Pair, unexpected};
use super::error::{RolloutError, RolloutErrorKind};
use super::follow::ended;
use super::order::{is_living_pair, standby_first};
use super::progress::Progress;
use super::which::{Which, choose};

const POLL: Duration = Duration::from_millis(100);

/// How to put back.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    /// Seconds until a host takes an unconfirmed change back that could cut SSH.
    pub confirm_timeout: u64,
    /// Who does it, for lock and journal.
    pub operator: Operator,
    /// How long a health gate waits.
    pub gate_timeout: Duration,
}

/// What is to be put back, by host in the inventory's order.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// Which transactions; none: the host is not touched.
    pub backs: [PutBack; 2],
    /// What that would change.
    pub plans: [PutBackPlan; 2],
    /// Something of hapair's own is on the host besides its executor.
    pub installed: [bool; 2],
}

impl Rollback {
    /// Nothing is to be done on this host.
    pub fn is_empty_on(&self, host: usize) -> bool {
        self.backs[host].transactions.is_empty() && self.plans[host].plan.changes.is_empty()
    }
}

/// What was put back.
#[derive(Debug, Clone, Default)]
pub struct RollbackReport {
    /// Changes, by host.
    pub changed: [usize; 2],
    /// What stays, by host.
    pub stays: [Vec<String>; 2],
}

/// Finds out which transactions are meant and what putting them back would change. Read-only.
///
/// # Errors
/// There is no such transaction; a host refuses, because a later one is in force or other hands changed files since.
pub async fn plan_rollback(
    pair: &mut Pair,
    which: &Which,
    foreign: Foreign,
    goal: Goal,
) -> Result<Rollback, RolloutError> {
    let [a, b] = &mut pair.members;
    let (ra, rb) = tokio::join!(history(a), history(b));
    let [(first, one), (second, two)] = [ra?, rb?];
    let histories = [first, second];
    let chosen = choose(&histories, which)?;
    let backs = chosen.map(|transactions| PutBack {
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
    match member.link.request(&Request::History).await? {
        Reply::History {
            transactions,
            installed,
        } => Ok((transactions, installed)),
        other => Err(unexpected(member.host(), &other)),
    }
}

async fn plan(member: &mut Member, back: &PutBack) -> Result<PutBackPlan, RolloutError> {
    if back.transactions.is_empty() && back.goal == Goal::Rollback {
        return Ok(PutBackPlan::default());
    }
    let request = Request::PlanPutBack { back: back.clone() };
    let host = member.host().to_owned();
    match member.link.request(&request).await {
        Ok(Reply::PutBackPlan { mut plan }) => {
            plan.plan.host = host;
            Ok(plan)
        }
        Ok(other) => Err(unexpected(&host, &other)),
        Err(error) => Err(error.into()),
    }
}

/// Puts back what was planned. `report` is filled in also where it fails.
///
/// `silent` is an engine that an earlier failure left stopped: it is started again at the end.
///
/// # Errors
/// The first failure ends it: that host is as it was before its own part of this.
pub async fn rollback(
    cx: &Context<'_>,
    pair: &mut Pair,
    what: &Rollback,
    silent: Option<(usize, Engine)>,
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
    let asked = *interrupt.borrow();
    let mut back = Back {
        run: Run::new(cx, &apply_options, interrupt, Heading::Back),
        what,
        report,
        done: [false; 2],
        asked,
    };
    pair.lock(cx.observer, &options.operator).await?;
    let result = back.pair(pair, silent).await;
    let one_is_back = back.done.contains(&true);
    pair.unlock().await;
    result.map_err(|error| match one_is_back {
        true => error.hint("what was put back stays so: the same command does the rest, `hapair apply` goes forward"),
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
    async fn pair(&mut self, pair: &mut Pair, silent: Option<(usize, Engine)>) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        let order = standby_first(self.run.cx.inventory, &statuses);
        let living = is_living_pair(&statuses);
        let critical = self.what.plans.each_ref().map(|plan| {
            let mut changes = plan.plan.changes.iter();
            plan.serves && changes.any(|c| c.election_critical)
        });
        match critical {
            [true, true] if living => self.election_critical(pair, order, &statuses).await?,
            [true, false] | [false, true] if living => return Err(self.one_sided(pair, critical)),
            _ => {
                for host in order {
                    self.host(pair, host, living).await?;
                }
            }
        }
        if let Some((host, engine)) = silent {
            self.speak(pair, host, Some(engine)).await?;
        }
        if self.serving(&statuses).contains(&true) {
            let all = instances(pair, Known::Either);
            let statuses = self.gate(pair, &all).await?;
            self.run.tell_owners(&statuses);
        }
        Ok(())
    }

    /// With one host put back and the other not, each would reject the other's adverts.
    fn one_sided(&self, pair: &Pair, critical: [bool; 2]) -> RolloutError {
        let host = usize::from(critical[1]);
        let back = &self.what.backs[host];
        let run = back
            .transactions
            .first()
            .map(|t| t.stamp().to_owned())
            .unwrap_or_default();
        let message = "putting back what decides the election on this host alone would make two owners of the VIP";
        RolloutError::on(pair.members[host].host(), RolloutErrorKind::Usage, message)
            .hint(format!("put the whole run back on both hosts: `hapair rollback {run}`"))
    }

    /// One host, which hands the VIP over first where its network changes.
    async fn host(&mut self, pair: &mut Pair, host: usize, living: bool) -> Result<(), RolloutError> {
        if self.what.is_empty_on(host) {
            return Ok(());
        }
        let plan = &self.what.plans[host];
        let network = plan.plan.changes.iter().any(|c| c.stage == Stage::Network);
        let silenced = if living && network && plan.serves {
            self.hand_over(pair, host).await?
        } else {
            None
        };
        let result = self.transact(pair, host).await;
        if silenced.is_some() {
            let spoke = self.speak(pair, host, silenced).await;
            result.and(spoke)?;
        } else {
            result?;
        }
        if plan.serves && living {
            let common = instances(pair, Known::Both);
            self.gate(pair, &common).await?;
        }
        Ok(())
    }

    /// The standby is silent while the owner, which keeps the VIP through a reload, goes back to what the standby would
    /// not understand.
    async fn election_critical(
        &mut self,
        pair: &mut Pair,
        [standby, owner]: [usize; 2],
        statuses: &[HostStatus; 2],
    ) -> Result<(), RolloutError> {
        let name = pair.members[standby].host().to_owned();
        self.run
            .cx
            .observer
            .fact(&name, "silent while the owner goes back in what decides the election");
        let silenced = statuses[standby].engine;
        if let Some(engine) = silenced {
            self.run.order_engine(pair, standby, engine, UnitAction::Stop).await?;
        }
        if let Err(error) = self.transact(pair, owner).await {
            return Err(self.run.standby_again(pair, standby, silenced, error).await);
        }
        let result = self.transact(pair, standby).await;
        result.map_err(|e| {
            e.hint(format!(
                "VRRP on {name} is left stopped, because it could become a second owner"
            ))
            .hint("the owner keeps the VIP; run the same command again, or `hapair apply` to go forward")
        })?;
        self.speak(pair, standby, silenced).await
    }

    /// Starts the engine that was stopped, unless what was put back has one running.
    async fn speak(&self, pair: &mut Pair, host: usize, engine: Option<Engine>) -> Result<(), RolloutError> {
        let Some(engine) = engine else { return Ok(()) };
        if pair.members[host].status().await?.engine.is_some() {
            return Ok(());
        }
        self.run.order_engine(pair, host, engine, UnitAction::Start).await
    }

    /// Stops VRRP on an owner whose peer can take over, and waits until it has. Returns the engine to be started again.
    async fn hand_over(&mut self, pair: &mut Pair, host: usize) -> Result<Option<Engine>, RolloutError> {
        let statuses = pair.statuses().await?;
        let owns = statuses[host].instances.iter().any(|i| i.owns_vip);
        let Some(engine) = statuses[host].engine.filter(|_| owns) else {
            return Ok(None);
        };
        let name = pair.members[host].host().to_owned();
        if let Some(lacking) = unfit(&statuses[1 - host]) {
            let message = format!("its network must change and its peer cannot take the VIP over: {lacking}");
            return Err(RolloutError::on(&name, RolloutErrorKind::Failed, message).hint("repair the peer first"));
        }
        self.run.cx.observer.wait(&name, "the peer takes over the VIP");
        self.run.order_engine(pair, host, engine, UnitAction::Stop).await?;
        let common = instances(pair, Known::Both);
        match self.gate(pair, &common).await {
            Ok(_) => Ok(Some(engine)),
            Err(error) => Err(match self.speak(pair, host, Some(engine)).await {
                Ok(()) => error.hint(format!("VRRP on {name} was started again")),
                Err(why) => error.hint(format!("VRRP could not be started again: {why}")),
            }),
        }
    }

    /// One transaction on one host, followed to its end over however many connections it takes.
    async fn transact(&mut self, pair: &mut Pair, host: usize) -> Result<(), RolloutError> {
        let member = &mut pair.members[host];
        let (back, plan) = (&self.what.backs[host], &self.what.plans[host]);
        let name = member.host().to_owned();
        let txn = self.run.next_transaction();
        self.run.cx.observer.tell(Progress::Phase {
            host: name.clone(),
            what: format!("put back as {txn}"),
            changes: back.transactions.len(),
        });
        let request = Request::PutBack {
            txn: txn.clone(),
            fingerprint: plan.plan.fingerprint.clone(),
            back: back.clone(),
            confirm_timeout: self.run.options.confirm_timeout,
            operator: self.run.options.operator.clone(),
        };
        member.link.send(&request).await?;
        let outcome = self.run.follow(member, &txn).await?;
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

    /// By host: it serves, as far as it has come.
    fn serving(&self, statuses: &[HostStatus; 2]) -> [bool; 2] {
        [0, 1].map(|host| {
            if self.what.is_empty_on(host) {
                statuses[host].engine.is_some()
            } else {
                self.what.plans[host].serves
            }
        })
    }

    /// Waits until every host that was put back and goes on serving is fit, and each of these instances has one owner.
    async fn gate(&self, pair: &mut Pair, instances: &[String]) -> Result<[HostStatus; 2], RolloutError> {
        let began = Instant::now();
        let timeout = self.run.options.gate_timeout;
        loop {
            let statuses = pair.statuses().await?;
            let Some(lacking) = self.lacking(&statuses, instances) else {
                return Ok(statuses);
            };
            if *self.run.interrupt.borrow() > self.asked {
                return Err(RolloutError::pair(
                    RolloutErrorKind::Failed,
                    "interrupted while waiting for the pair to be healthy",
                )
                .hint("what is put back stays so; run the same command again to do the rest"));
            }
            if began.elapsed() > timeout {
                let message = format!("health gate: after {} s {lacking}", timeout.as_secs());
                return Err(RolloutError::pair(RolloutErrorKind::Failed, message)
                    .hint("look at `hapair status` and at the hosts' journals"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn lacking(&self, statuses: &[HostStatus; 2], instances: &[String]) -> Option<String> {
        let put_back = (0..2).filter(|host| self.done[*host] && self.what.plans[*host].serves);
        for host in put_back {
            if let Some(lacking) = unfit(&statuses[host]) {
                return Some(format!("on {} {lacking}", statuses[host].host));
            }
        }
        instances
            .iter()
            .find_map(|name| match statuses.iter().filter(|s| s.owns(name)).count() {
                0 => Some(format!("no host owns the VIP of {name}")),
                1 => None,
                _ => Some(format!("both hosts own the VIP of {name}")),
            })
    }
}

/// By how many hosts an instance is known.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Both,
    Either,
}

fn instances(pair: &Pair, known: Known) -> Vec<String> {
    let [a, b] = pair.members.each_ref().map(|member| {
        let names = member.state.instances.iter().map(|i| i.name.clone());
        names.collect::<BTreeSet<String>>()
    });
    match known {
        Known::Both => a.intersection(&b).cloned().collect(),
        Known::Either => a.union(&b).cloned().collect(),
    }
}

/// Why a host cannot own a VIP now, by its own word.
fn unfit(status: &HostStatus) -> Option<String> {
    if status.nginx != "active" {
        return Some(format!("nginx is {}", status.nginx));
    }
    status.instances.iter().find_map(|i| match i.state {
        InstanceState::Fault => Some(format!("instance {} is in state FAULT", i.name)),
        InstanceState::Stopped => Some(format!("no VRRP engine runs for instance {}", i.name)),
        InstanceState::Master | InstanceState::Backup => None,
    })
}
