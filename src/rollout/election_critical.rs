//! Changes on which both hosts must agree before either engine runs: with one changed and the other not, each would
//! reject the other's adverts and both would own the VIP.

use super::error::{RolloutError, RolloutErrorKind};
use super::health::gate::Until;
use super::order::changes_in;
use super::reach::pair::Pair;
use super::run::{Run, StoppedEngine};
use super::split::Before;
use crate::desired;
use crate::inventory::Side;
use crate::state::UnitAction;
use crate::state::{Engine, HostState, HostStatus, Reaction, Stage};

impl Run<'_> {
    /// nginx and VRRP on a living pair whose hosts must agree on something new. Where the engine is to be another one, or
    /// another version of it, the hosts first agree with the engines they have: a reload keeps the VIP, the start of an
    /// engine waits for three adverts before it takes it, and the peer's engine is stopped then.
    pub(super) async fn converge_both(
        &mut self,
        pair: &mut Pair,
        order: [Side; 2],
        interim_states: Option<[HostState; 2]>,
    ) -> Result<(), RolloutError> {
        let Some(interim) = interim_states else {
            return self.services_election_critical(pair, order).await;
        };
        let wanted = pair.members.each_ref().map(|m| m.state.clone());
        pair.aim(interim).await?;
        self.services_election_critical(pair, order).await?;
        pair.aim(wanted).await?;
        self.services(pair, order).await
    }

    /// The states in which the hosts agree with the engines they have, where those are not the wanted ones. Like the
    /// wanted states, both hosts look at them before either is touched.
    pub(super) async fn interim_states(
        &self,
        pair: &mut Pair,
        statuses: &[HostStatus; 2],
    ) -> Result<Option<[HostState; 2]>, RolloutError> {
        let Some(states) = self.without_restarts(pair, statuses) else {
            return Ok(None);
        };
        let wanted = pair.members.each_ref().map(|m| m.state.clone());
        pair.aim(states.clone()).await?;
        self.validate(pair).await?;
        pair.aim(wanted).await?;
        Ok(Some(states))
    }

    /// The desired states with the engines that run now, as they are; `None`: that is what is wanted.
    fn without_restarts(&self, pair: &Pair, statuses: &[HostStatus; 2]) -> Option<[HostState; 2]> {
        let switched = self.with_engines_of(pair, statuses);
        let other = switched.is_some();
        let mut spares = other;
        let mut states = switched.unwrap_or_else(|| pair.members.each_ref().map(|m| m.state.clone()));
        for (host, state) in Side::BOTH.into_iter().zip(&mut states) {
            if statuses[host].engine != state.engine {
                continue;
            }
            let changes = &pair[host].plan.changes;
            let is_restart = |reaction: &Reaction| matches!(reaction, Reaction::Restart { .. });
            state.resources.retain(|resource| {
                if resource.stage != Stage::Vrrp || !resource.reactions.iter().any(is_restart) {
                    return true;
                }
                let changes = changes.iter().any(|c| c.resource == resource.id);
                spares |= changes;
                !changes && !other
            });
        }
        spares.then_some(states)
    }

    /// The desired states with the engines that run now; `None`: they are the wanted ones, or cannot read what is wanted.
    fn with_engines_of(&self, pair: &Pair, statuses: &[HostStatus; 2]) -> Option<[HostState; 2]> {
        let running = statuses.each_ref().map(|s| s.engine);
        let wanted = pair.members.each_ref().map(|m| m.state.engine);
        if Side::BOTH
            .into_iter()
            .all(|host| running[host].is_none() || running[host] == wanted[host])
        {
            return None;
        }
        let state = |host: Side| {
            let mut inventory = self.cx.inventory.clone();
            if let (Some(vrrp), Some(engine)) = (&mut inventory.vrrp, running[host]) {
                vrrp.engine = engine;
            }
            let member = &pair[host];
            let made = desired::host_state(
                &inventory,
                member.host(),
                member.link.facts(),
                self.cx.templates,
                &self.cx.secrets,
            );
            made.inspect_err(|error| {
                self.cx.observer.warn(
                    member.host(),
                    format!(
                        "the running engine cannot load the new configuration ({error:#}): the VIP is down until \
                        the new engine owns it"
                    ),
                );
            })
            .ok()
        };
        Some([state(Side::First)?, state(Side::Second)?])
    }

    /// With one host changed and the other not, each would reject the other's adverts and both would own the VIP.
    /// So the standby's engine is stopped while the owner, which keeps the VIP through a reload, changes.
    async fn services_election_critical(
        &mut self,
        pair: &mut Pair,
        [standby, owner]: [Side; 2],
    ) -> Result<(), RolloutError> {
        for host in [standby, owner] {
            if changes_in(&pair[host].plan, &[Stage::Nginx]) > 0 {
                self.transact(pair, host, &[Stage::Nginx]).await?;
                self.gate().nginx(&mut pair[host]).await?;
            }
        }
        // The last moment at which nothing has happened: from here on the standby's engine is stopped.
        self.stop_if_interrupted()?;
        self.unmoved(&mut pair[owner]).await?;
        self.cx.observer.fact(
            pair[standby].host(),
            "stopped while the owner changes its election settings",
        );
        let stopped_engine = pair[standby].status().await?.engine;
        if let Some(engine) = stopped_engine {
            self.order_engine(pair, standby, engine, UnitAction::Stop).await?;
        }
        let owner_changed = self.transact(pair, owner, &[Stage::Vrrp]).await;
        if let Err(error) = owner_changed {
            return Err(self.restart_standby(pair, standby, stopped_engine, error).await);
        }
        // From here on the standby's old configuration would make it a second owner: it starts with the new one or
        // not at all.
        let changed = async {
            self.gate().host(&mut pair[owner]).await?;
            pair[standby].replan().await?;
            self.transact(pair, standby, &[Stage::Vrrp]).await
        }
        .await;
        if let Err(error) = changed {
            self.report.left_stopped = stopped_engine.map(|engine| StoppedEngine { host: standby, engine });
            return Err(with_stopped_standby(pair[standby].host(), error));
        }
        self.gate().host(&mut pair[standby]).await?;
        // The owner had the VIP alone until the standby started.
        let statuses = self
            .one_owner_after(pair, standby, Before::NotSplit, Until::Settled)
            .await?;
        self.tell_owners(&statuses);
        Ok(())
    }

    /// After the owner's change failed. Only where the owner certainly has its old configuration back may the standby
    /// speak again with its own old one.
    pub(super) async fn restart_standby(
        &mut self,
        pair: &mut Pair,
        standby: Side,
        stopped_engine: Option<Engine>,
        error: RolloutError,
    ) -> RolloutError {
        let host = pair[standby].host().to_owned();
        let Some(engine) = stopped_engine else { return error };
        if error.kind != RolloutErrorKind::RolledBack {
            self.report.left_stopped = Some(StoppedEngine { host: standby, engine });
            return with_stopped_standby(&host, error);
        }
        match self.order_engine(pair, standby, engine, UnitAction::Start).await {
            Ok(()) => error,
            Err(why) => {
                self.report.left_stopped = Some(StoppedEngine { host: standby, engine });
                error.hint(format!("VRRP on {host} could not be restarted: {}", why.bare()))
            }
        }
    }
}

fn with_stopped_standby(standby: &str, error: RolloutError) -> RolloutError {
    error
        .hint(format!(
            "VRRP on {standby} is left stopped, because it could become a second owner"
        ))
        .hint("the owner keeps the VIP; run the same command again to finish the change and start it")
}
