//! Two owners after an engine started: hapair stops that engine, and the earlier owner keeps the VIP.

use super::error::{RolloutError, RolloutErrorKind};
use super::health::gate::{NO_ADVERTS, Split, Until};
use super::health::roles;
use super::reach::pair::Pair;
use super::run::{Run, StoppedEngine};
use crate::inventory::Side;
use crate::state::{HostStatus, UnitAction};

/// Whether both hosts owned a VIP before an engine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// No: if they do afterwards, that start made it so.
    NotSplit,
    /// Yes: nobody can tell which engine is at fault, so nothing is stopped.
    Split,
}

impl Before {
    pub(super) fn of(statuses: &[HostStatus; 2]) -> Before {
        match roles::is_split(statuses) {
            true => Before::Split,
            false => Before::NotSplit,
        }
    }
}

impl Run<'_> {
    /// Waits until each VIP has one owner after the services of `host` were changed.
    ///
    /// # Errors
    /// There is none in time, or there are two: then VRRP on `host` is stopped.
    pub(super) async fn one_owner_after(
        &mut self,
        pair: &mut Pair,
        host: Side,
        before: Before,
        until: Until,
    ) -> Result<[HostStatus; 2], RolloutError> {
        if before == Before::Split {
            return self.gate().one_owner(pair, until).await;
        }
        match self.gate().one_owner_or_split(pair, until).await? {
            Ok(statuses) => Ok(statuses),
            Err(Split(lacking)) => Err(self.stop_second_owner(pair, host, &lacking).await),
        }
    }

    async fn stop_second_owner(&mut self, pair: &mut Pair, host: Side, lacking: &str) -> RolloutError {
        let [name, peer] = [host, host.other()].map(|side| pair[side].host().to_owned());
        let stopped = async {
            let Some(engine) = pair[host].status().await?.engine else {
                return Ok(());
            };
            self.order_engine(pair, host, engine, UnitAction::Stop).await?;
            self.report.left_stopped = Some(StoppedEngine { host, engine });
            Ok::<(), RolloutError>(())
        };
        match stopped.await {
            Ok(()) => RolloutError::on(
                &name,
                RolloutErrorKind::Failed,
                format!("{lacking} since VRRP started here, so VRRP was stopped on this host; {peer} keeps the VIP"),
            )
            .hint(NO_ADVERTS)
            .hint(format!(
                "`hapair apply` starts VRRP on {name} again once adverts arrive"
            )),
            Err(why) => RolloutError::on(
                &name,
                RolloutErrorKind::Failed,
                format!("{lacking} since VRRP started here, and VRRP could not be stopped"),
            )
            .because(why.bare())
            .hint(NO_ADVERTS),
        }
    }
}
