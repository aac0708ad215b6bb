//! The order of an apply over both hosts: foundation, software, services.

use super::clocks;
use super::error::{RolloutError, RolloutErrorKind, both, with_engine_restart};
use super::health::gate::Until;
use super::health::roles::{Owners, is_living_pair};
use super::order::{Phase, changes_in, standby_first};
use super::reach::pair::Pair;
use super::run::{Run, StoppedEngine};
use super::split;
use crate::inventory::Side;
use crate::state::UnitAction;
use crate::state::frame::IfHeld;
use crate::state::{Request, Stage};

impl Run<'_> {
    pub(super) fn check_limit(&self, pair: &Pair) -> Result<(), RolloutError> {
        let Some(limit) = &self.options.limit else {
            return Ok(());
        };
        if !pair.members.iter().any(|m| m.host() == limit) {
            return Err(RolloutError::of(
                RolloutErrorKind::Usage,
                format!("no host `{limit}` in the inventory"),
            ));
        }
        if pair
            .members
            .iter()
            .any(|m| m.plan.changes.iter().any(|c| c.election_critical))
        {
            let message = "--limit cannot be used for this change: with one host changed, each would reject the \
                           other's adverts and both would own the VIP";
            return Err(RolloutError::of(RolloutErrorKind::Usage, message).hint("apply to both hosts at once"));
        }
        Ok(())
    }

    pub(super) async fn locked(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        if self.options.operator.if_held == IfHeld::Break {
            // The run that lost its lock may have changed something until that moment.
            for member in &mut pair.members {
                self.unmoved(member).await?;
            }
        }
        self.converge(pair).await
    }

    pub(super) async fn converge(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        let living = is_living_pair(&statuses);
        let order = standby_first(self.cx.inventory, &statuses);
        let critical = pair
            .members
            .iter()
            .any(|m| m.plan.changes.iter().any(|c| c.election_critical));
        if let Some(vrrp) = &self.cx.inventory.vrrp {
            clocks::check(pair, &vrrp.instances).await?;
        }
        self.validate(pair).await?;
        let interim_states = match critical {
            true => self.interim_states(pair, &statuses).await?,
            false => None,
        };
        for host in order {
            self.foundation(pair, host, living).await?;
        }
        self.software(pair).await?;
        // A hand-over for a change of the network may have moved the VIP for good.
        let order = match living {
            true => standby_first(self.cx.inventory, &pair.statuses().await?),
            false => order,
        };
        // Also where the standby is stopped: started with the new configuration beside an owner with the old one, it would
        // be a second owner.
        if critical {
            self.converge_both(pair, order, interim_states).await
        } else {
            self.services(pair, order).await
        }
    }

    /// Both hosts look at their new files, and at the segment for a new network, before either is touched.
    pub(super) async fn validate(&self, pair: &mut Pair) -> Result<(), RolloutError> {
        let requests = pair.members.each_ref().map(|member| {
            let mut stages = Phase::Service.stages().to_vec();
            // Asks the segment, which takes a moment.
            if self.includes(member.host()) && changes_in(&member.plan, &[Stage::Network]) > 0 {
                stages.insert(0, Stage::Network);
            }
            Request::Validate { stages }
        });
        let ([a, b], [ask_a, ask_b]) = (&mut pair.members, requests);
        let (ra, rb) = tokio::join!(a.order(ask_a), b.order(ask_b));
        ra.and(rb).map_err(|e| e.hint("neither host was changed"))
    }

    /// Network, SELinux, firewall, host name. An owner whose network changes hands the VIP over first.
    pub(super) async fn foundation(&mut self, pair: &mut Pair, host: Side, living: bool) -> Result<(), RolloutError> {
        let untouched = changes_in(&pair[host].plan, Phase::Foundation.stages()) == 0;
        if untouched || !self.includes(pair[host].host()) {
            return Ok(());
        }
        let drops_vip = living && changes_in(&pair[host].plan, &[Stage::Network]) > 0;
        let stopped_engine = if drops_vip {
            self.hand_over(pair, host).await?
        } else {
            None
        };
        let result = async {
            if stopped_engine.is_some() {
                // The host was moved by our own hand: a plan that knows it.
                pair[host].replan().await?;
            }
            self.transact(pair, host, Phase::Foundation.stages()).await
        }
        .await;
        // Whatever became of it, the host is in election again; its own error comes first.
        if let Some((engine, moved)) = stopped_engine {
            let back = async {
                let started = self.order_engine(pair, host, engine, UnitAction::Start).await;
                if started.is_err() {
                    self.report.left_stopped = Some(StoppedEngine { host, engine });
                }
                with_engine_restart(pair[host].host(), result, started)?;
                pair[host].replan().await?;
                self.gate().as_before(&mut pair[host]).await
            }
            .await;
            self.return_vips(pair, host, moved, back).await?;
            self.gate().one_owner_now(pair, Owners::Best).await?;
        } else {
            result?;
            if living && self.options.limit.is_none() {
                self.gate().one_owner_now(pair, Owners::Any).await?;
            }
        }
        Ok(())
    }

    /// Repositories and packages, on both hosts at once: nothing here is active before the next phase.
    pub(super) async fn software(&mut self, pair: &mut Pair) -> Result<(), RolloutError> {
        // Two transactions at once need two halves of `self`; each half reports on its own and is merged after.
        let (mut first, mut second) = (self.half(), self.half());
        let [a, b] = &mut pair.members;
        let stages = Phase::Software.stages();
        let (ra, rb) = tokio::join!(
            first.transact_member(a, Side::First, stages),
            second.transact_member(b, Side::Second, stages)
        );
        let reports = [first.report, second.report];
        for report in reports {
            for side in Side::BOTH {
                self.report.changed[side] += report.changed[side];
            }
        }
        self.parts += 1;
        both(ra, rb)
    }

    /// nginx and VRRP, one host after the other.
    pub(super) async fn services(&mut self, pair: &mut Pair, order: [Side; 2]) -> Result<(), RolloutError> {
        for host in order {
            let untouched = changes_in(&pair[host].plan, Phase::Service.stages()) == 0;
            if untouched || !self.includes(pair[host].host()) {
                continue;
            }
            let moved = self.before_restart(pair, host).await?;
            let watched = self.cx.inventory.vrrp.is_some() && self.options.limit.is_none();
            let before = match watched {
                true => Some(split::Before::of(&pair.statuses().await?)),
                false => None,
            };
            let done = async {
                self.transact(pair, host, Phase::Service.stages()).await?;
                self.gate().host(&mut pair[host]).await
            }
            .await;
            self.return_vips(pair, host, moved, done).await?;
            if let Some(before) = before {
                // At bootstrap the first host owns the VIP alone; from the second one on the election decides.
                let until = if host == order[1] { Until::Settled } else { Until::Owned };
                let statuses = self.one_owner_after(pair, host, before, until).await?;
                self.tell_owners(&statuses);
            }
        }
        Ok(())
    }
}
