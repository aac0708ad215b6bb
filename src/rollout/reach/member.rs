//! One host of the pair, over a connection that may be another one by now.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::context::Context;
use crate::remote::{Ask, Link, Target};
use crate::rollout::error::{RolloutError, RolloutErrorKind, unexpected};
use crate::rollout::progress::{Observer, Progress};
use crate::state::frame::{IfHeld, Look, Operator};
use crate::state::time::Utc;
use crate::state::{HostPreflight, HostState, HostStatus, Plan, Reply, Request};

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
    /// What else lives on the host, as it said with the plan.
    pub(crate) surroundings: Surroundings,
    /// What it takes to meet it again.
    pub(crate) reconnect: Reconnect,
}

impl Member {
    /// A host of the context's pair, over a conversation that has just begun.
    pub fn new(cx: &Context<'_>, (link, target): (Link, Target), state: HostState, plan: Plan) -> Member {
        Member {
            reconnect: Reconnect::new(cx, &target),
            link,
            target,
            state,
            plan,
            surroundings: Surroundings::default(),
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
            Reply::Plan { mut plan } => {
                if let Some(told) = plan.preflight.take() {
                    self.surroundings = Surroundings::new(told, SystemTime::now());
                }
                self.plan = plan;
            }
            other => return Err(unexpected(self.host(), &other)),
        }
        Ok(())
    }

    /// Asks for the host's state at a glance.
    pub async fn status(&mut self) -> Result<HostStatus, RolloutError> {
        self.look(Look::Glance).await
    }

    /// Asks for the host's state.
    pub(super) async fn look(&mut self, look: Look) -> Result<HostStatus, RolloutError> {
        let state = match look {
            Look::Whole => self.state.clone(),
            // A gate asks ten times a second: without files and diffs, which only a whole look needs.
            Look::Glance => HostState {
                host: self.state.host.clone(),
                pair: self.state.pair.clone(),
                engine: self.state.engine,
                instances: self.state.instances.clone(),
                ..HostState::default()
            },
        };
        let state = Box::new(state);
        let request = Request::Status { state, look };
        match self.ask(&request).await? {
            Reply::Status { status } => Ok(status),
            other => Err(unexpected(self.host(), &other)),
        }
    }

    /// Takes or keeps the host's operator lock. Where that breaks another run's, the operator is told whose, and a
    /// transaction of that run which is under way is waited for: it runs to its end.
    pub(super) async fn lock(&mut self, observer: &dyn Observer, operator: &Operator) -> Result<(), RolloutError> {
        self.take_lock(observer, operator).await?;
        self.reconnect.holds = Some(same_run(operator));
        Ok(())
    }

    pub(super) async fn take_lock(&mut self, observer: &dyn Observer, operator: &Operator) -> Result<(), RolloutError> {
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
                    format!("took over the lock from {name}, who held it since {since}"),
                );
                broken = Some(former.operator);
            }
            let (Some(former), Some(txn)) = (&broken, running) else {
                return Ok(());
            };
            if began.elapsed() > END_OF_ANOTHER {
                let message = format!("transaction {txn} of {former} still runs");
                return Err(RolloutError::on(self.host(), RolloutErrorKind::Failed, message)
                    .hint("it will finish, and that run cannot begin another transaction")
                    .hint("wait until it has finished, then run the same command again"));
            }
            if told.as_ref() != Some(&txn) {
                observer.wait(self.host(), format!("transaction {txn} of {former} to finish"));
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
                message: error.in_full(),
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

/// What a host said of its surroundings, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) told: HostPreflight,
    /// The host's clock less ours when it said so, ms: too little by the time that its answer travelled.
    pub(crate) clock_ahead_ms: i64,
}

impl Surroundings {
    fn new(told: HostPreflight, now: SystemTime) -> Surroundings {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let now = ms(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let theirs = ms(Duration::from_millis(told.at_ms));
        Surroundings {
            told,
            clock_ahead_ms: theirs.saturating_sub(now),
        }
    }
}

/// How long a transaction of a run whose lock was broken is waited for: longer than a confirm usually takes.
const END_OF_ANOTHER: Duration = Duration::from_secs(180);

/// Between two looks at such a transaction.
const POLL: Duration = Duration::from_millis(500);

/// What is needed to meet a host again.
pub(crate) struct Reconnect {
    pub(crate) ask: Arc<dyn Ask>,
    /// Where it was looked for at first.
    pub(crate) first: String,
    /// Where its network puts it, if the inventory says.
    pub(crate) settled: Option<String>,
    /// It is reached at one address, whatever becomes of its network.
    pub(crate) stable: bool,
    /// The operator in whose name the host holds the operator lock for this run.
    pub(crate) holds: Option<Operator>,
    /// hapair reconnected, and the operator has not been told yet.
    pub(crate) unreported: bool,
}

impl Reconnect {
    /// A host of the context's pair, which holds no lock for us yet.
    pub(crate) fn new(cx: &Context<'_>, target: &Target) -> Reconnect {
        let host = cx.inventory.host(&target.host);
        let stable = host.is_some_and(|h| h.address_is_stable);
        let network = host.and_then(|h| h.network.as_ref()).filter(|_| !stable);
        let first = cx.targets.iter().find(|t| t.host == target.host);
        Reconnect {
            ask: Arc::clone(&cx.ask),
            first: first.unwrap_or(target).address.clone(),
            settled: network.map(|n| n.address.addr().to_string()),
            stable,
            holds: None,
            unreported: false,
        }
    }
}

/// As the one who took the lock before, and who does not break another's for it.
pub(crate) fn same_run(operator: &Operator) -> Operator {
    Operator {
        if_held: IfHeld::Refuse,
        ..operator.clone()
    }
}
