//! Opening the conversation with both hosts and asking each for its plan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::desired::{self, Secrets, Templates};
use crate::inventory::{Host, Inventory};
use crate::remote::{Ask, Link, Target};
use crate::state::frame::{Look, Operator};
use crate::state::time::Utc;
use crate::state::{Facts, HostState, HostStatus, Plan, Reply, Request};

use super::passwords;
use super::reconnect::{Again, same_run};
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::rollout::progress::{Observer, Progress};

/// How long a transaction of a run whose lock was broken is waited for: longer than a confirm usually takes.
const END_OF_ANOTHER: Duration = Duration::from_secs(180);

/// Between two looks at such a transaction.
const POLL: Duration = Duration::from_millis(500);

/// What every command over the pair needs.
pub struct Context<'a> {
    /// The pair.
    pub inventory: &'a Inventory,
    /// How to reach each host, in the inventory's order.
    pub targets: [Target; 2],
    /// Questions to the operator.
    pub ask: Arc<dyn Ask>,
    /// Templates of the files.
    pub templates: &'a Templates,
    /// Resolved secrets.
    pub secrets: Secrets,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

/// One host of a connected pair.
pub struct Member {
    /// The open conversation.
    pub link: Link,
    /// How it was reached; the address is the one that answered.
    pub target: Target,
    /// What the host should be.
    pub state: HostState,
    /// What is missing for that.
    pub plan: Plan,
    /// What it takes to meet it again.
    pub(crate) again: Again,
}

impl Member {
    /// A host of the context's pair, over a conversation that has just begun.
    pub fn new(cx: &Context<'_>, (link, target): (Link, Target), state: HostState, plan: Plan) -> Member {
        Member {
            again: Again::new(cx, &target),
            link,
            target,
            state,
            plan,
        }
    }

    /// Name in the inventory.
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// Asks for the difference again; the host may have moved since the last plan.
    pub async fn replan(&mut self) -> Result<(), RolloutError> {
        let request = Request::Desired {
            state: Box::new(self.state.clone()),
        };
        match self.ask(&request).await? {
            Reply::Plan { plan } => self.plan = plan,
            other => return Err(unexpected(self.host(), &other)),
        }
        Ok(())
    }

    /// Asks for the host's state at a glance.
    pub async fn status(&mut self) -> Result<HostStatus, RolloutError> {
        self.look(Look::Glance).await
    }

    /// Asks for the host's state.
    async fn look(&mut self, look: Look) -> Result<HostStatus, RolloutError> {
        let request = Request::Status {
            state: Box::new(self.state.clone()),
            look,
        };
        match self.ask(&request).await? {
            Reply::Status { status } => Ok(status),
            other => Err(unexpected(self.host(), &other)),
        }
    }

    /// Takes or keeps the host's operator lock. Where that breaks another run's, the operator is told whose, and a
    /// transaction of that run which is under way is waited for: it goes on to its end.
    async fn lock(&mut self, observer: &dyn Observer, operator: &Operator) -> Result<(), RolloutError> {
        self.take_lock(observer, operator).await?;
        self.again.holds = Some(same_run(operator));
        Ok(())
    }

    async fn take_lock(&mut self, observer: &dyn Observer, operator: &Operator) -> Result<(), RolloutError> {
        let request = Request::Lock {
            operator: Some(operator.clone()),
        };
        let (mut broken, mut told) = (None, None);
        let began = Instant::now();
        loop {
            let (broke, running) = match self.ask(&request).await? {
                Reply::Locked { broke, running } => (broke, running),
                other => return Err(unexpected(self.host(), &other)),
            };
            if let Some(former) = broke {
                let since = Utc::since_epoch(Duration::from_millis(former.since_ms));
                let name = &former.operator;
                observer.warn(
                    self.host(),
                    format!("took the lock over from {name}, who held it since {since}"),
                );
                broken = Some(former.operator);
            }
            let (Some(former), Some(txn)) = (&broken, running) else {
                return Ok(());
            };
            if began.elapsed() > END_OF_ANOTHER {
                let message = format!("transaction {txn} of {former} still runs");
                return Err(RolloutError::on(self.host(), RolloutErrorKind::Failed, message)
                    .hint("it goes on to its end; that run cannot begin another")
                    .hint("wait for it, then run the command again"));
            }
            if told.as_ref() != Some(&txn) {
                observer.wait(self.host(), format!("transaction {txn} of {former} comes to its end"));
                told = Some(txn);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Takes the lock again over a fresh connection, right away: nobody else is to come in between. That another run broke
    /// it does not end the transaction which is under way, so it is only told; the host refuses what would come after.
    pub(crate) async fn lock_again(&mut self, observer: &dyn Observer, operator: &Operator) {
        // A connection that is lost again is noticed by whoever reads from it next.
        if let Err(error) = self.lock(observer, &same_run(operator)).await
            && error.kind == RolloutErrorKind::Failed
        {
            observer.tell(Progress::Warning {
                host: None,
                message: error.message,
            });
        }
    }

    /// Sends a request that is answered by a plain yes.
    pub(crate) async fn order(&mut self, request: Request) -> Result<(), RolloutError> {
        match self.ask(&request).await? {
            Reply::Ack => Ok(()),
            other => Err(unexpected(self.host(), &other)),
        }
    }
}

/// The executor and we are built from one tree; an answer out of turn is a defect worth a clear word.
pub(crate) fn unexpected(host: &str, reply: &Reply) -> RolloutError {
    let name = serde_json::to_value(reply)
        .ok()
        .and_then(|v| v["reply"].as_str().map(str::to_owned))
        .unwrap_or_default();
    RolloutError::on(
        host,
        RolloutErrorKind::Failed,
        format!("the executor answered out of turn with `{name}`"),
    )
    .hint("this is a defect of hapair; please report it with the output of -v")
}

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
        let (a, b) = tokio::join!(open(cx, 0), open(cx, 1));
        let opened = match (a, b) {
            (Ok(a), Ok(b)) => [a, b],
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => return Err(e),
            (Err(mut a), Err(b)) => {
                a.message = format!("{}\n{}", a.message, b.message);
                a.host = None;
                a.hints
                    .extend(b.hints.into_iter().filter(|h| !a.hints.contains(h)).collect::<Vec<_>>());
                return Err(a);
            }
        };
        passwords::complete(
            &mut cx.secrets,
            cx.inventory,
            [opened[0].0.facts(), opened[1].0.facts()],
        )?;
        let [a, b] = opened;
        Ok(Pair {
            members: [member(cx, 0, a)?, member(cx, 1, b)?],
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

    /// Gives both locks back. They also end with the conversations, so a failure is no failure of the work done.
    pub async fn unlock(&mut self) {
        for member in &mut self.members {
            member.again.holds = None;
            let _ = member.link.request(&Request::Lock { operator: None }).await;
        }
    }

    /// Says goodbye to both.
    pub async fn close(self) {
        let [a, b] = self.members;
        tokio::join!(a.link.close(), b.link.close());
    }
}

/// Asks each host for its state, whatever became of the other.
pub async fn survey(cx: &mut Context<'_>) -> [Result<HostStatus, RolloutError>; 2] {
    let (a, b) = tokio::join!(open(cx, 0), open(cx, 1));
    let nothing = Facts::default();
    let facts = |opened: &Result<(Link, Target), RolloutError>| match opened {
        Ok((link, _)) => link.facts().clone(),
        Err(_) => nothing.clone(),
    };
    let known = [facts(&a), facts(&b)];
    if let Err(error) = passwords::complete(&mut cx.secrets, cx.inventory, [&known[0], &known[1]]) {
        cx.observer.tell(Progress::Warning {
            host: None,
            message: error.to_string(),
        });
    }
    let (a, b) = tokio::join!(status_of(cx, 0, a), status_of(cx, 1, b));
    [a, b]
}

async fn status_of(
    cx: &Context<'_>,
    index: usize,
    opened: Result<(Link, Target), RolloutError>,
) -> Result<HostStatus, RolloutError> {
    let mut member = member(cx, index, opened?)?;
    let status = member.look(Look::Whole).await?;
    member.link.close().await;
    Ok(status)
}

async fn open(cx: &Context<'_>, index: usize) -> Result<(Link, Target), RolloutError> {
    let began = Instant::now();
    let mut target = cx.targets[index].clone();
    target.address = answering_address(&cx.inventory.hosts[index], &target).await;
    let link = Link::connect(&target, Arc::clone(&cx.ask)).await?;
    let facts = link.facts();
    if target.address != cx.targets[index].address && facts.hostname != target.host {
        no_stranger(cx, index, &target, facts).await?;
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

/// Who answers at the new address and does not bear the host's name yet may be somebody else, with the host itself still
/// where it was.
async fn no_stranger(cx: &Context<'_>, index: usize, at: &Target, facts: &Facts) -> Result<(), RolloutError> {
    let before = &cx.targets[index];
    let Ok(host) = Link::connect(before, Arc::clone(&cx.ask)).await else {
        return Ok(());
    };
    let same = host.facts().machine_id == facts.machine_id;
    host.close().await;
    if same {
        return Ok(());
    }
    let message = format!(
        "different machines answer at {} and at {}: the address is in use already",
        before.address, at.address
    );
    Err(
        RolloutError::on(&at.host, RolloutErrorKind::Unreachable, message).hint(format!(
            "see `network.address` of {} in the inventory, or who {} is; neither was changed",
            at.host, facts.hostname
        )),
    )
}

fn member(cx: &Context<'_>, index: usize, (link, target): (Link, Target)) -> Result<Member, RolloutError> {
    let name = &cx.inventory.hosts[index].name;
    let state =
        desired::host_state(cx.inventory, name, link.facts(), cx.templates, &cx.secrets).map_err(|e| RolloutError {
            hints: e.hints(),
            ..RolloutError::on(name, RolloutErrorKind::Usage, e)
        })?;
    Ok(Member::new(cx, (link, target), state, Plan::default()))
}

/// A host with a bootstrap `address` is there until its network address answers. Both are tried at once, so that
/// neither run pays for the other's silence.
async fn answering_address(host: &Host, target: &Target) -> String {
    let stays = target.address.clone();
    let Some(network) = &host.network else { return stays };
    let settled = network.address.addr().to_string();
    if host.address_is_stable || settled == stays || target.proxy_jump.is_some() {
        return stays;
    }
    let port = target.port.unwrap_or(22);
    let answers = |address: String| async move {
        let dial = tokio::net::TcpStream::connect((address.as_str(), port));
        tokio::time::timeout(Duration::from_secs(3), dial)
            .await
            .is_ok_and(|r| r.is_ok())
    };
    let (new, old) = (answers(settled.clone()), answers(stays.clone()));
    tokio::pin!(new, old);
    tokio::select! {
        yes = &mut new => if yes { settled } else { stays },
        yes = &mut old => {
            // The old address answers; the new one gets a moment more before the old one is believed.
            let late = tokio::time::timeout(Duration::from_millis(300), &mut new).await;
            if yes && late != Ok(true) { stays } else { settled }
        }
    }
}
