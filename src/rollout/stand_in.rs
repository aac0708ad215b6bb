//! The peer stands in for a host while hapair changes it: the VIP moves there before, and returns afterwards.

use std::time::Duration;

use super::error::{RolloutError, RolloutErrorKind};
use super::health::roles;
use super::health::roles::{Owners, is_living_pair};
use super::reach::member::Member;
use super::reach::pair::Pair;
use super::run::Run;
use super::takeover::{self, Moved};
use crate::inventory::Side;
use crate::state::UnitAction;
use crate::state::resource::Spec;
use crate::state::{Engine, Reaction, Request, Stage};

impl Run<'_> {
    /// How long a standby may have to stand in for a host that hapair changes.
    pub(super) fn absence(&self) -> Duration {
        Duration::from_secs(self.options.confirm_timeout) + 2 * self.options.gate_timeout
    }

    /// The VIP goes to the standby before the owner's engine restarts or is exchanged, if the standby can take it over.
    pub(super) async fn before_restart(&self, pair: &mut Pair, host: Side) -> Result<Moved, RolloutError> {
        if self.options.limit.is_some() || !self.restarts_engine(&pair[host]) {
            return Ok(Moved::NotYet);
        }
        let statuses = pair.statuses().await?;
        let owns = is_living_pair(&statuses) && roles::owned(&statuses[host]) > 0;
        if !owns
            || self
                .gate()
                .unfit_beside(&statuses[host.other()], &statuses[host])
                .is_some()
        {
            return Ok(Moved::NotYet);
        }
        self.stop_if_interrupted()?;
        let (name, peer) = (pair[host].host(), host.other());
        self.cx.observer.wait(name, "the peer to take over the VIP");
        takeover::take_over(self.cx, pair, peer, Some(self.absence())).await
    }

    /// Its next transaction starts an engine anew, or another one.
    pub(super) fn restarts_engine(&self, member: &Member) -> bool {
        let restarts = |reaction: &Reaction| matches!(reaction, Reaction::Restart { .. });
        let units = [Engine::Agent, Engine::Keepalived].map(Engine::unit);
        let mut changed = member.state.resources.iter().filter(|resource| {
            let mut changes = member.plan.changes.iter();
            resource.stage == Stage::Vrrp && changes.any(|c| c.resource == resource.id)
        });
        changed.any(|resource| {
            let service = matches!(&resource.spec, Spec::Service { unit, .. } if units.contains(&unit.as_str()));
            service || resource.reactions.iter().any(restarts)
        })
    }

    /// Ends the peer's raised priority after work on a host, successful or not; a healthy host that is preferred
    /// owns its VIPs again at once.
    pub(super) async fn return_vips(
        &self,
        pair: &mut Pair,
        host: Side,
        moved: Moved,
        done: Result<(), RolloutError>,
    ) -> Result<(), RolloutError> {
        let hint = match moved {
            Moved::AtOnce => takeover::end_raise(pair, host.other(), self.absence()).await,
            Moved::NotYet => None,
        };
        if let Err(error) = done {
            return Err(hint.into_iter().fold(error, RolloutError::hint));
        }
        if let Some(hint) = hint {
            self.cx.observer.warn(pair[host.other()].host(), hint);
        }
        if self.cx.inventory.vrrp.is_some() && self.options.limit.is_none() {
            takeover::preempt_at_once(self.cx, pair, host).await?;
        }
        Ok(())
    }

    /// Stops VRRP on an owner once its peer has the VIP, or so that it gets it. Returns the engine to be started again, and how
    /// the VIP moved; `None`: the host owns nothing.
    pub(super) async fn hand_over(
        &mut self,
        pair: &mut Pair,
        host: Side,
    ) -> Result<Option<(Engine, Moved)>, RolloutError> {
        let mut statuses = pair.statuses().await?;
        let Some(engine) = statuses[host].engine.filter(|_| roles::owned(&statuses[host]) > 0) else {
            return Ok(None);
        };
        let peer = host.other();
        if statuses[peer].nginx != "active" && self.will_serve(&pair[peer]) {
            self.start_early(&mut pair[peer]).await?;
            statuses[peer] = pair[peer].status().await?;
        }
        if let Some(lacking) = self.gate().unfit_beside(&statuses[peer], &statuses[host]) {
            let message = format!("its network must change and its peer cannot take over the VIP: {lacking}");
            return Err(RolloutError::on(pair[host].host(), RolloutErrorKind::Failed, message)
                .hint(format!("repair {} first: `hapair status`", pair[peer].host())));
        }
        self.cx
            .observer
            .wait(pair[host].host(), "the peer to take over the VIP");
        let moved = takeover::take_over(self.cx, pair, peer, Some(self.absence())).await?;
        let stopped = async {
            self.order_engine(pair, host, engine, UnitAction::Stop).await?;
            let gone = self.gate().one_owner_now(pair, Owners::Any).await.map(drop);
            match gone {
                Ok(()) => Ok(()),
                Err(error) => Err(match self.order_engine(pair, host, engine, UnitAction::Start).await {
                    Ok(()) => error.hint(format!("VRRP on {} was restarted", pair[host].host())),
                    Err(why) => error.hint(format!("VRRP could not be restarted: {why:#}")),
                }),
            }
        }
        .await;
        match stopped {
            Ok(()) => Ok(Some((engine, moved))),
            Err(error) => self.return_vips(pair, host, moved, Err(error)).await.map(|()| None),
        }
    }

    /// The plan starts its nginx anyway.
    pub(super) fn will_serve(&self, member: &Member) -> bool {
        let mut resources = member.state.resources.iter();
        let service = resources.find(|r| matches!(&r.spec, Spec::Service { unit, .. } if unit == NGINX));
        service.is_some_and(|s| member.plan.changes.iter().any(|c| c.resource == s.id)) && self.includes(member.host())
    }

    /// Starts nginx as it is configured before its turn: a standby that lost it (at a boot, say) could never take over, so
    /// that its owner could never change.
    pub(super) async fn start_early(&self, member: &mut Member) -> Result<(), RolloutError> {
        self.cx.observer.fact(
            member.host(),
            "nginx is started first, so that this host can take over the VIP",
        );
        let start = Request::Unit {
            unit: NGINX.to_owned(),
            action: UnitAction::Start,
        };
        // That it cannot take over is what ends the run, where it does.
        if let Err(error) = member.order(start).await {
            self.cx
                .observer
                .warn(member.host(), format!("nginx does not start: {error:#}"));
        }
        // The host was moved by our own hand.
        member.replan().await
    }
}

/// What serves through the VIP.
pub(super) const NGINX: &str = "nginx.service";
