//! Reconnecting to a host whose connection dropped while nothing ran there: a firewall on the way may forget an idle connection while
//! the other host is worked on for minutes.

use std::time::{Duration, Instant};

use super::member::Member;
use super::redial::redial;
use crate::remote::{Link, RemoteError, RemoteErrorKind, Target};
use crate::rollout::error::{RolloutError, RolloutErrorKind, unexpected};
use crate::state::{Reply, Request};

/// How long a lost host is looked for.
const PATIENCE: Duration = Duration::from_secs(15);

impl Member {
    /// Sends a request and returns its reply. If the connection is lost, reconnects and asks
    /// once more if that does no harm.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply, RolloutError> {
        match self.link.request(request).await {
            Err(lost) if lost.kind == RemoteErrorKind::Lost && request.is_repeatable() => {
                self.reconnect(lost).await?;
                Ok(self.link.request(request).await?)
            }
            reply => Ok(reply?),
        }
    }

    /// Makes sure of a connection before something that cannot be asked for twice.
    pub(crate) async fn ensure_connected(&mut self) -> Result<(), RolloutError> {
        match self.reconnect.holds.clone() {
            Some(operator) => {
                let operator = Some(operator);
                self.ask(&Request::Lock { operator }).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Whether hapair had to reconnect since the last call.
    pub(crate) fn take_reconnected(&mut self) -> bool {
        std::mem::take(&mut self.reconnect.unreported)
    }

    /// Another connection to the same host in the same boot, with our lock and the desired state.
    async fn reconnect(&mut self, lost: RemoteError) -> Result<(), RolloutError> {
        let targets = self.at_each(&[&self.target.address, self.settled(), &self.reconnect.first]);
        let Some((link, target)) = redial(&self.reconnect.ask, &targets, Instant::now() + PATIENCE).await else {
            return Err(RolloutError::from(lost).hint(format!("tried to reconnect for {} s", PATIENCE.as_secs())));
        };
        let same = self.no_other_machine(&link, target).and_then(|()| {
            let booted = self.link.facts().boot_id != link.facts().boot_id;
            let error = || RolloutError::on(self.host(), RolloutErrorKind::Unreachable, "rebooted during this run");
            if booted { Err(error()) } else { Ok(()) }
        });
        same.map_err(|e| e.hint("completed changes remain on the host; run the same command again to finish"))?;
        self.continue_over(link, target);
        self.reconnect.unreported = true;
        if let Some(operator) = self.reconnect.holds.clone() {
            let operator = Some(operator);
            self.link.request(&Request::Lock { operator }).await?;
        }
        self.tell_state().await
    }

    /// Another connection takes the place of the one that was.
    pub(crate) fn continue_over(&mut self, link: Link, target: &Target) {
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
}
