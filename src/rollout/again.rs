//! Meeting a host again whose connection was lost while nothing ran there: an idle connection is forgotten by a firewall on
//! the way, say, while the other host is worked on for minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::remote::{Ask, Link, RemoteError, RemoteErrorKind, Target};
use crate::state::frame::{IfHeld, Operator};
use crate::state::{Reply, Request};

use super::connect::{Context, Member, unexpected};
use super::error::{RolloutError, RolloutErrorKind};

/// How long a lost host is looked for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is needed to meet a host again.
pub(super) struct Again {
    pub(super) ask: Arc<dyn Ask>,
    /// Where it may be, beside where it was met last.
    pub(super) elsewhere: Vec<Target>,
    /// Whose operator lock it holds for us.
    pub(super) holds: Option<Operator>,
    /// It was met again, and nobody has been told yet.
    pub(super) untold: bool,
}

impl Again {
    /// A host of the context's pair, which holds no lock for us yet.
    pub(super) fn new(cx: &Context<'_>, host: &str) -> Again {
        let mut elsewhere: Vec<Target> = cx.targets.iter().filter(|t| t.host == host).cloned().collect();
        let settled = cx.inventory.host(host).filter(|h| !h.address_is_stable);
        if let Some(network) = settled.and_then(|h| h.network.as_ref())
            && let Some(before) = elsewhere.first().cloned()
        {
            let address = network.address.addr().to_string();
            elsewhere.push(Target { address, ..before });
        }
        Again {
            ask: Arc::clone(&cx.ask),
            elsewhere,
            holds: None,
            untold: false,
        }
    }
}

impl Member {
    /// Sends a request and returns its reply. Where the connection turns out to be lost, the host is met again, and asked
    /// once more if that does no harm.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, RolloutError> {
        match self.link.request(request).await {
            Err(lost) if lost.kind == RemoteErrorKind::Lost && request.is_repeatable() => {
                self.meet_again(lost).await?;
                Ok(self.link.request(request).await?)
            }
            reply => Ok(reply?),
        }
    }

    /// Makes sure of a connection before something that cannot be asked for twice.
    pub(super) async fn be_there(&mut self) -> Result<(), RolloutError> {
        match self.again.holds.clone() {
            Some(operator) => self
                .ask(&Request::Lock {
                    operator: Some(operator),
                })
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    /// Whether the host had to be met again since this was asked last.
    pub(super) fn was_met_again(&mut self) -> bool {
        std::mem::take(&mut self.again.untold)
    }

    /// Another connection to the same host in the same boot, with our lock and the desired state.
    async fn meet_again(&mut self, lost: RemoteError) -> Result<(), RolloutError> {
        let targets = self.places();
        let Some((link, target)) = redial(&self.again.ask, &targets, Instant::now() + PATIENCE).await else {
            return Err(RolloutError::from(lost).hint(format!("looked for it again for {} s", PATIENCE.as_secs())));
        };
        let (was, is) = (self.link.facts(), link.facts());
        let stranger = if was.machine_id != is.machine_id {
            Some(format!(
                "{} answers with the host key of this host but another machine-id",
                target.address
            ))
        } else if was.boot_id != is.boot_id {
            Some("it was booted in the midst of this run".to_owned())
        } else {
            None
        };
        if let Some(message) = stranger {
            return Err(RolloutError::on(self.host(), RolloutErrorKind::Unreachable, message)
                .hint("what is done there stays done; run the same command again to do the rest"));
        }
        self.link = link;
        self.target.address = target.address.clone();
        self.again.untold = true;
        self.introduce().await
    }

    /// What the executor of a fresh connection does not know.
    pub(super) async fn introduce(&mut self) -> Result<(), RolloutError> {
        if let Some(operator) = self.again.holds.clone() {
            let operator = Some(operator);
            self.link.request(&Request::Lock { operator }).await?;
        }
        let state = Box::new(self.state.clone());
        // The plan that is worked on stays: whether the host has moved since is for whoever uses it.
        match self.link.request(&Request::Desired { state }).await? {
            Reply::Plan { .. } => Ok(()),
            other => Err(unexpected(self.host(), &other)),
        }
    }

    /// Where it is looked for, each as the host that it was.
    pub(super) fn places(&self) -> Vec<Target> {
        let mut targets = vec![self.target.clone()];
        targets.extend(self.again.elsewhere.iter().cloned());
        let mut known = BTreeSet::new();
        targets.retain(|t| known.insert(t.address.clone()));
        for target in &mut targets {
            target.pinned_host_key = Some(self.link.host_key().to_owned());
            target.connect_timeout = Duration::from_secs(6);
        }
        targets
    }
}

/// As the one who took the lock before, and who does not break another's for it.
pub(super) fn same_run(operator: &Operator) -> Operator {
    Operator {
        if_held: IfHeld::Refuse,
        ..operator.clone()
    }
}

/// Connects to whichever answers, with back-off until the deadline. Whatever answers meanwhile with another host key is
/// refused each time.
pub(super) async fn redial<'t>(
    ask: &Arc<dyn Ask>,
    targets: &'t [Target],
    deadline: Instant,
) -> Option<(Link, &'t Target)> {
    let mut pause = Duration::from_millis(250);
    for target in targets.iter().cycle() {
        let left = deadline.checked_duration_since(Instant::now())?;
        let attempt = Link::connect(target, Arc::clone(ask));
        match tokio::time::timeout(left, attempt).await {
            Ok(Ok(link)) => return Some((link, target)),
            Ok(Err(RemoteError { .. })) => tokio::time::sleep(pause.min(left)).await,
            Err(_) => return None,
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    None
}
