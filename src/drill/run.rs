//! Runs a drill: preconditions, baseline, fault, move, repair, return.

mod prepare;
mod return_vips;
mod settled;
mod witnesses;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use self::settled::{Answers, Seen};
use super::error::{DrillError, DrillErrorKind, refuse};
use super::event::{DrillEvent, Phase};
use super::link::HostLink;
use super::plan::{DrillPlan, Endpoint, InstancePlan};
use super::result::{DrillReport, ScenarioResult};
use super::scenario::Scenario;
use super::session::Session;
use super::verdict::{Evidence, judge};
use crate::inventory::Side;
use crate::probe::Live;
use crate::remote::RemoteErrorKind;
use crate::state::frame::Look;
use crate::state::time::Utc;
use crate::state::{Fault, HostStatus, InstanceState, Reply, Request};

/// Between two looks at a host's status.
const POLL: Duration = Duration::from_millis(300);
/// How much later than our own repair the host repairs itself.
const UNDO_SLACK: Duration = Duration::from_secs(30);

/// Runs every scenario of the plan, each on every host that owns a VIP when the scenario's turn comes.
///
/// `links` must be in the plan's order of hosts and idle. When `cancel` completes (Ctrl-C), the fault is repaired
/// before this returns [`DrillErrorKind::Cancelled`]. Needs a tokio runtime with net and time.
///
/// # Errors
/// [`DrillError`]; a scenario that misses its budget is no error but a result that did not pass.
pub async fn run<L: HostLink>(
    links: &mut [L; 2],
    plan: &DrillPlan,
    cancel: impl Future<Output = ()>,
    events: &mut dyn FnMut(DrillEvent),
) -> Result<DrillReport, DrillError> {
    for (link, host) in links.iter().zip(&plan.hosts) {
        if link.host() != host {
            return Err(refuse(format!(
                "internal: link to {} where {host} was expected",
                link.host()
            )));
        }
    }
    let mut cancel = std::pin::pin!(cancel);
    let mut report = DrillReport {
        pair: plan.pair.clone(),
        engine: plan.engine.clone(),
        started: Utc::of(SystemTime::now()).rfc3339(),
        hosts: plan.hosts.clone(),
        probe_interval_ms: plan.probe.interval.as_millis() as u64,
        scenarios: Vec::new(),
    };
    for scenario in &plan.scenarios {
        let mut owners_at_start: Option<Vec<Side>> = None;
        for broken in Side::BOTH {
            if owners_at_start.as_ref().is_some_and(|owners| !owners.contains(&broken)) {
                continue;
            }
            let mut work = Work::new(links, plan, *scenario, events);
            let found = guarded(&mut work, cancel.as_mut(), async |work: &mut Work<'_, L>| {
                work.prepare().await?;
                let owners = owners_at_start.get_or_insert_with(|| work.owners_now());
                match owners.contains(&broken) {
                    true => work.drill(broken).await.map(Some),
                    false => Ok(None),
                }
            })
            .await?;
            if let Some(result) = found {
                events(DrillEvent::Finished(Box::new(result.clone())));
                report.scenarios.push(result);
            }
        }
    }
    Ok(report)
}

/// Does `work` unless `cancel` comes first; whatever happens, repairs what is broken and ends the hosts' reports.
async fn guarded<L: HostLink, T>(
    work: &mut Work<'_, L>,
    mut cancel: Pin<&mut impl Future<Output = ()>>,
    doing: impl AsyncFnOnce(&mut Work<'_, L>) -> Result<T, DrillError>,
) -> Result<T, DrillError> {
    let outcome = tokio::select! {
        biased;
        () = cancel.as_mut() => Err(DrillError::of(DrillErrorKind::Cancelled, "the drill was stopped")),
        outcome = doing(work) => outcome,
    };
    let outcome = match (outcome, work.injected.take()) {
        (Err(mut error), Some(injected)) => {
            work.session.tell(DrillEvent::Phase(Phase::Repair));
            let host = work.plan.hosts[injected.host].clone();
            let request = Request::Repair { fault: injected.fault };
            match work
                .session
                .order(injected.host, &request, work.plan.request_timeout)
                .await
            {
                Ok(()) => error.hints.push(format!("{host} was repaired: {}", injected.what)),
                Err(repair) => {
                    let left = injected.undo_at.saturating_duration_since(Instant::now()).as_secs();
                    error.hints.push(format!("the repair failed ({repair:#})"));
                    error.hints.push(format!(
                        "{host} undoes the fault automatically within {left} s ({}); check with `hapair status`",
                        injected.what
                    ));
                }
            }
            Err(error)
        }
        (outcome, _) => outcome,
    };
    if !matches!(
        outcome,
        Err(DrillError {
            kind: DrillErrorKind::Host(RemoteErrorKind::Lost),
            ..
        })
    ) {
        for side in Side::BOTH {
            // A host that does not hear this stops reporting when the conversation closes.
            let _ = work
                .session
                .order(side, &Request::Unwatch, Duration::from_secs(5))
                .await;
        }
    }
    outcome
}

/// A fault that may be in force.
struct Injected {
    host: Side,
    fault: Fault,
    what: String,
    /// When the host undoes it by itself, at the latest.
    undo_at: Instant,
}

/// After the repair.
struct Returning {
    /// What was broken runs again.
    repaired: bool,
    /// A VIP goes back to the host that was broken.
    goes_back: bool,
    /// Until when the pair may take to settle.
    deadline: Instant,
}

/// One scenario on one host.
struct Work<'a, L> {
    session: Session<'a, L>,
    plan: &'a DrillPlan,
    scenario: Scenario,
    /// One per VIP, in the order of the owner log.
    endpoints: Vec<(usize, Endpoint)>,
    injected: Option<Injected>,
    notes: Vec<String>,
}

impl<'a, L: HostLink> Work<'a, L> {
    fn new(
        links: &'a mut [L; 2],
        plan: &'a DrillPlan,
        scenario: Scenario,
        events: &'a mut dyn FnMut(DrillEvent),
    ) -> Work<'a, L> {
        let endpoints: Vec<_> = plan
            .instances
            .iter()
            .enumerate()
            .flat_map(|(index, instance)| instance.endpoints.iter().map(move |e| (index, e.clone())))
            .collect();
        let vips = endpoints.iter().map(|(_, e)| e.vip.to_string()).collect();
        let session = Session::new(links, vips, events);
        Work {
            session,
            plan,
            scenario,
            endpoints,
            injected: None,
            notes: Vec::new(),
        }
    }

    /// This host, and no other, says that it owns the VIP.
    fn owned_by(&self, vip: usize, host: Side) -> bool {
        self.session.owners.owners(vip) == [host]
    }

    fn owners_now(&self) -> Vec<Side> {
        Side::BOTH
            .into_iter()
            .filter(|host| (0..self.endpoints.len()).any(|vip| self.owned_by(vip, *host)))
            .collect()
    }

    async fn status(&mut self, host: Side) -> Result<HostStatus, DrillError> {
        let request = Request::Status {
            state: Box::new(self.plan.states[host].clone()),
            look: Look::Glance,
        };
        match self.session.ask(host, &request, self.plan.request_timeout).await? {
            Reply::Status { status } => Ok(status),
            other => Err(self.session.unexpected(host, &request, &other).into()),
        }
    }

    fn fault(&self, status: &HostStatus) -> (Fault, String) {
        let unit = match (self.scenario, status.engine) {
            (Scenario::VrrpStop, Some(engine)) => engine.unit().to_owned(),
            (Scenario::VrrpStop, None) => unreachable!("both_run saw an engine"),
            (Scenario::NginxStop, _) => self.plan.nginx_unit.clone(),
        };
        let what = format!("{unit} was stopped by the drill");
        (Fault::Stop { unit }, what)
    }

    /// Instances whose VIPs these are.
    fn instances_of(&self, vips: &[usize]) -> Vec<&'a InstancePlan> {
        let mut instances: Vec<&InstancePlan> = Vec::new();
        for vip in vips {
            let instance = &self.plan.instances[self.endpoints[*vip].0];
            if !instances.iter().any(|i| i.name == instance.name) {
                instances.push(instance);
            }
        }
        instances
    }

    /// Breaks a host, which undoes the fault by itself if nobody else does. Returns when, in µs of the session.
    async fn inject(
        &mut self,
        broken: Side,
        fault: Fault,
        what: String,
        move_within: Duration,
    ) -> Result<u64, DrillError> {
        let undo_after = move_within + UNDO_SLACK;
        let fault_us = self.session.now_us();
        self.injected = Some(Injected {
            host: broken,
            fault: fault.clone(),
            what,
            undo_at: Instant::now() + undo_after,
        });
        let request = Request::Inject {
            fault,
            undo_after: undo_after.as_secs(),
        };
        self.session.order(broken, &request, self.plan.request_timeout).await?;
        Ok(fault_us)
    }

    /// Waits until the repaired host runs again, and gives it back the VIPs that it does not take by itself; where nothing
    /// is meant to move, waits for the time in which it would.
    async fn await_return(
        &mut self,
        broken: Side,
        instances: &[&InstancePlan],
        moved: bool,
        live: &mut watch::Receiver<Vec<Live>>,
    ) -> Result<Returning, DrillError> {
        let plan = self.plan;
        let deadline = Instant::now() + plan.return_deadline(self.scenario, broken, instances);
        let repaired = self.runs_again(broken, deadline).await?;
        let goes_back = instances.iter().any(|i| self.returns_to(broken, i));
        if moved && goes_back && repaired {
            self.return_vips(broken, instances, deadline).await?;
        }
        if !moved || !goes_back {
            // Nothing is meant to move any more: give it the time in which it would.
            let time = instances
                .iter()
                .map(|i| i.expected_return(self.scenario, broken))
                .max()
                .unwrap_or_default();
            let until = Instant::now() + time;
            self.session.wait(live, until, |_, _| false).await?;
        }
        Ok(Returning {
            repaired,
            goes_back,
            deadline,
        })
    }

    /// Whether the repaired host is to own this instance in the end.
    fn returns_to(&self, broken: Side, instance: &InstancePlan) -> bool {
        let [name, other] = [broken, broken.other()].map(|side| self.plan.hosts[side].as_str());
        instance.owner_in_the_end(name, other) == name
    }

    /// Where each of these VIPs belongs in the end.
    fn ends(&self, broken: Side, vips: &[usize], moved: bool) -> Vec<Side> {
        vips.iter()
            .map(|vip| {
                let instance = &self.plan.instances[self.endpoints[*vip].0];
                let stays = !moved || self.returns_to(broken, instance);
                if stays { broken } else { broken.other() }
            })
            .collect()
    }

    /// From baseline to verdict, with the fault on the host `broken`.
    ///
    /// One function, because a drill is one sequence of phases, and the time of each goes into the verdict at the end.
    async fn drill(&mut self, broken: Side) -> Result<ScenarioResult, DrillError> {
        let plan = self.plan;
        let other = broken.other();
        let owned: Vec<usize> = (0..self.endpoints.len())
            .filter(|vip| self.owned_by(*vip, broken))
            .collect();
        let before: Vec<Side> = (0..self.endpoints.len())
            .map(|v| self.session.owners.owners(v)[0])
            .collect();
        let instances = self.instances_of(&owned);
        let budget_ms = plan.budget_for(self.scenario, broken, &instances);
        let host = plan.hosts[broken].clone();
        self.session.tell(DrillEvent::Started {
            scenario: self.scenario,
            host: host.clone(),
            budget_ms,
        });

        self.session.tell(DrillEvent::Phase(Phase::Baseline));
        let status = self.status(broken).await?;
        let (fault, what) = self.fault(&status);
        let witnesses = self.start_witnesses()?;
        let mut live = witnesses.live();
        self.until_steady(&mut live).await?;

        self.session.tell(DrillEvent::Phase(Phase::Inject));
        let move_within = plan.move_deadline(self.scenario, broken, &instances);
        let fault_us = self.inject(broken, fault.clone(), what, move_within).await?;

        self.session.tell(DrillEvent::Phase(Phase::AwaitMove));
        let seen = Seen {
            hosts: &plan.hosts,
            vips: &owned,
            settled: plan.settled_streak,
        };
        let deadline = self.session.epoch + Duration::from_micros(fault_us) + move_within;
        let moved = self
            .session
            .wait(&mut live, deadline, |live, owners| {
                let after_us = fault_us;
                seen.settled_on(other, Answers { after_us, live, owners })
            })
            .await?;
        let moved_us = moved.then(|| seen.since(&live.borrow()));
        let owner_after = if moved {
            Some(other)
        } else {
            seen.common_owner(&self.session.owners)
        };

        self.session.tell(DrillEvent::Phase(Phase::Repair));
        let repair_us = self.session.now_us();
        self.session
            .order(broken, &Request::Repair { fault }, plan.request_timeout)
            .await?;
        self.injected = None;

        self.session.tell(DrillEvent::Phase(Phase::AwaitReturn));
        let Returning {
            repaired,
            goes_back,
            deadline,
        } = self.await_return(broken, &instances, moved, &mut live).await?;
        let ends = self.ends(broken, &owned, moved);
        // Where nothing moved, the answers may never have stopped.
        let after_us = if moved { fault_us } else { 0 };
        let back = self
            .session
            .wait(&mut live, deadline, |live, owners| {
                seen.each_settled_on(&ends, Answers { after_us, live, owners })
            })
            .await?;
        let settled_us = back.then(|| seen.since(&live.borrow()).max(repair_us));
        // Once more: what came up with the repair may have died since.
        let repaired = repaired && self.runs(broken).await?;

        let end_us = self.session.now_us();
        let arp = witnesses.arp.clone();
        let vips = self.heard(witnesses, &owned, &before, end_us).await;
        let macs: BTreeMap<String, Side> = Side::BOTH
            .into_iter()
            .flat_map(|host| self.session.macs(host).into_iter().map(move |mac| (mac, host)))
            .collect();
        let doubt = instances.iter().find_map(|i| i.doubt(self.scenario)).map(str::to_owned);
        Ok(judge(Evidence {
            scenario: self.scenario,
            hosts: plan.hosts.clone(),
            broken,
            budget_ms,
            fault_us,
            moved_us,
            owner_after,
            repair_us,
            repaired,
            settled_us,
            failback_expected: goes_back || !moved,
            owner_end: back.then_some(ends[0]),
            end_us,
            vips,
            macs,
            arp,
            doubt,
            notes: std::mem::take(&mut self.notes),
        }))
    }

    /// The host says that engine and nginx run.
    async fn runs(&mut self, host: Side) -> Result<bool, DrillError> {
        let status = self.status(host).await?;
        let fit = |state| !matches!(state, InstanceState::Fault | InstanceState::Stopped);
        Ok(status.engine.is_some() && status.nginx == "active" && status.instances.iter().all(|i| fit(i.state)))
    }

    /// Waits until the repaired host runs everything again.
    async fn runs_again(&mut self, host: Side, deadline: Instant) -> Result<bool, DrillError> {
        while !self.runs(host).await? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.session.pause(POLL).await?;
        }
        Ok(true)
    }
}
