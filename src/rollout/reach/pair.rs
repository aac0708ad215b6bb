//! Opening the conversation with both hosts and asking each for its plan.

use std::sync::Arc;
use std::time::Instant;

use super::context::Context;
use super::locate::{answering_address, no_stranger};
use super::member::Member;
use super::passwords;
use crate::desired;
use crate::inventory::Side;
use crate::remote::{Link, Target};
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::rollout::progress::{Observer, Progress};
use crate::state::frame::{Look, Operator};
use crate::state::{Facts, HostState, HostStatus, Plan, Request};

/// Both hosts, connected; in the inventory's order.
pub struct Pair {
    /// The hosts.
    pub members: [Member; 2],
}

impl Pair {
    /// Connects to both hosts at once; desired states are computed, plans are not asked for yet.
    ///
    /// # Errors
    /// Where both hosts fail, the message names both.
    pub async fn connect(cx: &mut Context<'_>) -> Result<Pair, RolloutError> {
        let (a, b) = tokio::join!(open(cx, Side::First), open(cx, Side::Second));
        let opened = match (a, b) {
            (Ok(a), Ok(b)) => [a, b],
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => return Err(e),
            (Err(a), Err(b)) => return Err(a.beside(b)),
        };
        passwords::complete(
            &mut cx.secrets,
            cx.inventory,
            [opened[0].0.facts(), opened[1].0.facts()],
        )?;
        let [a, b] = opened;
        Ok(Pair {
            members: [member(cx, Side::First, a)?, member(cx, Side::Second, b)?],
        })
    }

    /// Asks both hosts for their plans at once.
    pub async fn plan(&mut self, observer: &dyn Observer) -> Result<(), RolloutError> {
        self.replan().await?;
        for member in &self.members {
            observer.tell(Progress::Plan {
                host: member.host().to_owned(),
                plan: member.plan.clone(),
            });
        }
        Ok(())
    }

    /// Gives the hosts other desired states, and asks for the plans to get there.
    pub(crate) async fn aim(&mut self, states: [HostState; 2]) -> Result<(), RolloutError> {
        let [a, b] = &mut self.members;
        [a.state, b.state] = states;
        self.replan().await
    }

    async fn replan(&mut self) -> Result<(), RolloutError> {
        let [a, b] = &mut self.members;
        let (ra, rb) = tokio::join!(a.replan(), b.replan());
        ra.and(rb)
    }

    /// Asks both hosts for their state at once.
    pub async fn statuses(&mut self) -> Result<[HostStatus; 2], RolloutError> {
        let [a, b] = &mut self.members;
        let (a, b) = tokio::join!(a.status(), b.status());
        Ok([a?, b?])
    }

    /// Takes or keeps both hosts' operator locks; each host is asked whatever the other says.
    ///
    /// # Errors
    /// Another run holds one, or took ours over.
    pub async fn lock(&mut self, observer: &dyn Observer, operator: &Operator) -> Result<(), RolloutError> {
        let mut result = Ok(());
        for member in &mut self.members {
            result = result.and(member.lock(observer, operator).await);
        }
        result
    }

    /// Releases both locks. They also end with the connections, so a failure here does not fail the work done.
    pub async fn unlock(&mut self) {
        for member in &mut self.members {
            member.reconnect.holds = None;
            let _ = member.link.request(&Request::Lock { operator: None }).await;
        }
    }

    /// Says goodbye to both.
    pub async fn close(self) {
        let [a, b] = self.members;
        tokio::join!(a.link.close(), b.link.close());
    }
}

impl std::ops::Index<Side> for Pair {
    type Output = Member;

    fn index(&self, side: Side) -> &Member {
        &self.members[side]
    }
}

impl std::ops::IndexMut<Side> for Pair {
    fn index_mut(&mut self, side: Side) -> &mut Member {
        &mut self.members[side]
    }
}

/// Asks each host for its state, whatever became of the other.
pub async fn survey(cx: &mut Context<'_>) -> [Result<HostStatus, RolloutError>; 2] {
    let (a, b) = tokio::join!(open(cx, Side::First), open(cx, Side::Second));
    let nothing = Facts::default();
    let facts = |opened: &Result<(Link, Target), RolloutError>| match opened {
        Ok((link, _)) => link.facts().clone(),
        Err(_) => nothing.clone(),
    };
    let known = [facts(&a), facts(&b)];
    if let Err(error) = passwords::complete(&mut cx.secrets, cx.inventory, [&known[0], &known[1]]) {
        cx.observer.tell(Progress::Warning {
            host: None,
            message: error.in_full(),
        });
    }
    let (a, b) = tokio::join!(status_of(cx, Side::First, a), status_of(cx, Side::Second, b));
    [a, b]
}

async fn status_of(
    cx: &Context<'_>,
    side: Side,
    opened: Result<(Link, Target), RolloutError>,
) -> Result<HostStatus, RolloutError> {
    let mut member = member(cx, side, opened?)?;
    let status = member.look(Look::Whole).await?;
    member.link.close().await;
    Ok(status)
}

async fn open(cx: &Context<'_>, side: Side) -> Result<(Link, Target), RolloutError> {
    let began = Instant::now();
    let mut target = cx.targets[side].clone();
    target.address = answering_address(&cx.inventory.hosts[side], &target).await;
    let link = Link::connect(&target, Arc::clone(&cx.ask)).await?;
    let facts = link.facts();
    if target.address != cx.targets[side].address && facts.hostname != target.host {
        no_stranger(cx, side, &target, facts).await?;
    }
    cx.observer.tell(Progress::Connected {
        host: target.host.clone(),
        address: target.address.clone(),
        release: facts.release.pretty.clone(),
        took_ms: began.elapsed().as_millis() as u64,
    });
    if let Some(txn) = &facts.armed_transaction {
        cx.observer.warn(
            &target.host,
            format!("transaction {txn} still waits for its confirm; the host will revert it"),
        );
    }
    Ok((link, target))
}

fn member(cx: &Context<'_>, side: Side, (link, target): (Link, Target)) -> Result<Member, RolloutError> {
    let name = &cx.inventory.hosts[side].name;
    let state = desired::host_state(cx.inventory, name, link.facts(), cx.templates, &cx.secrets)
        .map_err(|e| e.with_kind(RolloutErrorKind::Usage).at_host(name))?;
    Ok(Member::new(cx, (link, target), state, Plan::default()))
}
