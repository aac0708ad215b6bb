//! Meeting a host again whose connection was lost while nothing ran there: an idle connection is forgotten by a firewall on
//! the way, say, while the other host is worked on for minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::remote::{Ask, Link, RemoteError, RemoteErrorKind, Target};
use crate::state::frame::{IfHeld, Operator};
use crate::state::{Reply, Request};

use super::pair::{Context, Member, unexpected};
use crate::rollout::error::{RolloutError, RolloutErrorKind};

/// How long a lost host is looked for.
const PATIENCE: Duration = Duration::from_secs(15);

/// One try to connect.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(6);

/// What is needed to meet a host again.
pub(crate) struct Again {
    ask: Arc<dyn Ask>,
    /// Where it was looked for at first.
    first: String,
    /// Where its network puts it, if the inventory says.
    settled: Option<String>,
    /// It is reached at one address, whatever becomes of its network.
    stable: bool,
    /// Whose operator lock it holds for us.
    pub(crate) holds: Option<Operator>,
    /// It was met again, and nobody has been told yet.
    untold: bool,
}

impl Again {
    /// A host of the context's pair, which holds no lock for us yet.
    pub(crate) fn new(cx: &Context<'_>, target: &Target) -> Again {
        let host = cx.inventory.host(&target.host);
        let stable = host.is_some_and(|h| h.address_is_stable);
        let network = host.and_then(|h| h.network.as_ref()).filter(|_| !stable);
        let first = cx.targets.iter().find(|t| t.host == target.host);
        Again {
            ask: Arc::clone(&cx.ask),
            first: first.unwrap_or(target).address.clone(),
            settled: network.map(|n| n.address.addr().to_string()),
            stable,
            holds: None,
            untold: false,
        }
    }
}

impl Member {
    /// Sends a request and returns its reply. Where the connection turns out to be lost, the host is met again, and asked
    /// once more if that does no harm.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply, RolloutError> {
        match self.link.request(request).await {
            Err(lost) if lost.kind == RemoteErrorKind::Lost && request.is_repeatable() => {
                self.meet_again(lost).await?;
                Ok(self.link.request(request).await?)
            }
            reply => Ok(reply?),
        }
    }

    /// Makes sure of a connection before something that cannot be asked for twice.
    pub(crate) async fn be_there(&mut self) -> Result<(), RolloutError> {
        match self.again.holds.clone() {
            Some(operator) => {
                let operator = Some(operator);
                self.ask(&Request::Lock { operator }).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Whether the host had to be met again since this was asked last.
    pub(crate) fn was_met_again(&mut self) -> bool {
        std::mem::take(&mut self.again.untold)
    }

    /// Another connection to the same host in the same boot, with our lock and the desired state.
    async fn meet_again(&mut self, lost: RemoteError) -> Result<(), RolloutError> {
        let targets = self.at_each(&[&self.target.address, self.settled(), &self.again.first]);
        let Some((link, target)) = redial(&self.again.ask, &targets, Instant::now() + PATIENCE).await else {
            return Err(RolloutError::from(lost).hint(format!("looked for it again for {} s", PATIENCE.as_secs())));
        };
        let same = self.no_other_machine(&link, target).and_then(|()| {
            let booted = self.link.facts().boot_id != link.facts().boot_id;
            let error = || {
                RolloutError::on(
                    self.host(),
                    RolloutErrorKind::Unreachable,
                    "booted in the midst of this run",
                )
            };
            if booted { Err(error()) } else { Ok(()) }
        });
        same.map_err(|e| e.hint("what is done there stays done; run the same command again to do the rest"))?;
        self.go_on_over(link, target);
        self.again.untold = true;
        if let Some(operator) = self.again.holds.clone() {
            let operator = Some(operator);
            self.link.request(&Request::Lock { operator }).await?;
        }
        self.tell_state().await
    }

    /// Another connection takes the place of the one that was.
    pub(crate) fn go_on_over(&mut self, link: Link, target: &Target) {
        self.link = link;
        self.target.address = target.address.clone();
    }

    /// Tells the executor of a fresh connection what the host should be. The plan that is worked on stays: whether the host
    /// has moved since is for whoever uses it.
    pub(crate) async fn tell_state(&mut self) -> Result<(), RolloutError> {
        let state = Box::new(self.state.clone());
        match self.link.request(&Request::Desired { state }).await? {
            Reply::Plan { .. } => Ok(()),
            other => Err(unexpected(self.host(), &other)),
        }
    }

    /// Cloned machines share host keys.
    pub(crate) fn no_other_machine(&self, link: &Link, at: &Target) -> Result<(), RolloutError> {
        if link.facts().machine_id == self.link.facts().machine_id {
            return Ok(());
        }
        let message = format!(
            "{} answers with the host key of this host but another machine-id",
            at.address
        );
        Err(RolloutError::on(self.host(), RolloutErrorKind::Unreachable, message))
    }

    /// Where its network puts it, or where it is.
    pub(crate) fn settled(&self) -> &str {
        self.again.settled.as_deref().unwrap_or(&self.target.address)
    }

    /// Where it was looked for at first.
    pub(crate) fn first(&self) -> &str {
        &self.again.first
    }

    /// Its address follows its network.
    pub(crate) fn can_move(&self) -> bool {
        !self.again.stable
    }

    /// This very host at each of these addresses, at each once.
    pub(crate) fn at_each(&self, addresses: &[&str]) -> Vec<Target> {
        let mut known = BTreeSet::new();
        let addresses = addresses.iter().filter(|address| known.insert(**address));
        let at = |address: &&str| Target {
            address: (*address).to_owned(),
            pinned_host_key: Some(self.link.host_key().to_owned()),
            connect_timeout: ATTEMPT,
            ..self.target.clone()
        };
        addresses.map(at).collect()
    }
}

/// As the one who took the lock before, and who does not break another's for it.
pub(crate) fn same_run(operator: &Operator) -> Operator {
    Operator {
        if_held: IfHeld::Refuse,
        ..operator.clone()
    }
}

/// Connects to whichever answers, with back-off until the deadline. Whatever answers meanwhile with another host key is
/// refused each time.
pub(crate) async fn redial<'t>(
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
