//! Moving the VIP to the other host on purpose, and letting it come back.

use std::time::Duration;

use super::error::{RolloutError, RolloutErrorKind};
use super::health::gate::{Gate, Until};
use super::interrupt::Interrupt;
use super::reach::context::Context;
use super::reach::pair::Pair;
use super::takeover::{self, MOMENT, Moved};
use crate::inventory::Side;
use crate::state::frame::{Operator, VrrpOrder};
use crate::state::{Engine, HostStatus, Request};

/// How to hand over.
#[derive(Debug, Clone)]
pub struct HandoverOptions {
    /// The host that gives its VIPs away; `None`: the one that owns any.
    pub from: Option<String>,
    /// How long it is held; `None`: until [`resume`].
    pub hold: Option<Duration>,
    /// Who does it, for the lock.
    pub operator: Operator,
    /// How long the peer may take.
    pub gate_timeout: Duration,
}

/// Who owned the VIPs before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Gave them away.
    pub from: String,
    /// Owns them now.
    pub to: String,
    /// Instances that moved.
    pub instances: Vec<String>,
}

/// Moves every VIP of one host to the other, which must be fit to own it.
///
/// Where the taker runs the agent, it takes over at once: a giver that runs the agent is told to hold back first, one that runs
/// keepalived yields to a raised priority, which then stays for the time of the hold. Where the taker runs keepalived, the giver
/// leaves, and the VIP moves after the skew time.
///
/// # Errors
/// Nobody, or both, own VIPs; the peer is not fit; the VIP does not arrive there (then both are in election as before).
pub async fn hand_over(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &HandoverOptions,
    interrupt: Interrupt,
) -> Result<Handover, RolloutError> {
    let gate = gate(cx, options, interrupt);
    let statuses = gate.one_owner(pair, Until::Owned).await?;
    let from = giver(&statuses, options.from.as_deref())?;
    let to = from.other();
    let [giving, taking] = [from, to].map(|i| statuses[i].host.clone());
    if let Some(lacking) = gate.unfit(&statuses[to]) {
        let message = format!("it cannot take over the VIP: {lacking}");
        return Err(RolloutError::on(&taking, RolloutErrorKind::Failed, message).hint("nothing was changed"));
    }
    let instances: Vec<String> = statuses[from]
        .instances
        .iter()
        .filter(|i| i.owns_vip)
        .map(|i| i.name.clone())
        .collect();
    pair.lock(cx.observer, &options.operator).await?;
    let engines = [from, to].map(|host| statuses[host].engine);
    let moved = async {
        cx.observer.wait(&taking, "the VIP to arrive");
        move_to(cx, pair, [from, to], engines, options.hold).await?;
        let now = gate.one_owner(pair, Until::Owned).await?;
        match instances.iter().find(|name| !now[to].owns(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("the VIP of {name} returned to {giving}");
                Err(
                    RolloutError::on(&taking, RolloutErrorKind::Failed, message).hint(format!(
                        "it did not take over the VIP in time: check its journal, and look for a firewall that drops \
                         protocol 112 from {giving}"
                    )),
                )
            }
        }
    }
    .await;
    let result = match moved {
        Ok(()) => Ok(()),
        Err(mut error) => {
            for (host, name) in [(from, &giving), (to, &taking)] {
                error = match tell(pair, host, VrrpOrder::Resume).await {
                    Ok(()) => error.hint(format!("{name} is in election as before")),
                    Err(why) => error
                        .hint(format!("{name} could not be returned to election: {}", why.bare()))
                        .hint("return it to election with `hapair handover --resume`"),
                };
            }
            Err(error)
        }
    };
    pair.unlock().await;
    result?;
    cx.observer
        .fact(&taking, format!("owns the VIP of {}", instances.join(", ")));
    Ok(Handover {
        from: giving,
        to: taking,
        instances,
    })
}

async fn move_to(
    cx: &Context<'_>,
    pair: &mut Pair,
    [from, to]: [Side; 2],
    [giver, taker]: [Option<Engine>; 2],
    hold: Option<Duration>,
) -> Result<(), RolloutError> {
    let seconds = hold.map(|h| h.as_secs());
    let keep = if giver == Some(Engine::Agent) {
        // It is the one who keeps away; the other need not go on outbidding it.
        if taker == Some(Engine::Agent) {
            tell(pair, from, VrrpOrder::Hold { seconds }).await?;
        }
        Some(MOMENT)
    } else {
        hold
    };
    match takeover::take_over(cx, pair, to, keep).await? {
        Moved::AtOnce => Ok(()),
        Moved::NotYet => tell(pair, from, VrrpOrder::HandOver { hold: seconds }).await,
    }
}

/// Lets both hosts be in election as configured again, and waits until the preferred one has its VIPs where it preempts.
///
/// # Errors
/// A host refuses, or the pair does not settle.
pub async fn resume(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &HandoverOptions,
    interrupt: Interrupt,
) -> Result<[HostStatus; 2], RolloutError> {
    let gate = gate(cx, options, interrupt);
    pair.lock(cx.observer, &options.operator).await?;
    let resumed = async {
        for host in Side::BOTH {
            tell(pair, host, VrrpOrder::Resume).await?;
        }
        for host in Side::BOTH {
            takeover::preempt_at_once(cx, pair, host).await?;
        }
        gate.one_owner(pair, Until::Settled).await
    }
    .await;
    pair.unlock().await;
    resumed
}

fn gate<'a>(cx: &'a Context<'_>, options: &HandoverOptions, interrupt: Interrupt) -> Gate<'a> {
    Gate {
        inventory: cx.inventory,
        observer: cx.observer,
        timeout: options.gate_timeout,
        interrupt,
    }
}

/// Which host gives: the named one, else the only one that owns a VIP.
fn giver(statuses: &[HostStatus; 2], named: Option<&str>) -> Result<Side, RolloutError> {
    let usage = |message: String| RolloutError::of(RolloutErrorKind::Usage, message);
    let owns = |i: Side| statuses[i].instances.iter().any(|instance| instance.owns_vip);
    if let Some(name) = named {
        let Some(host) = Side::BOTH.into_iter().find(|i| statuses[*i].host == name) else {
            return Err(usage(format!("no host `{name}` in the inventory")));
        };
        if !owns(host) {
            return Err(RolloutError::on(
                name,
                RolloutErrorKind::Failed,
                "it owns no VIP, so there is nothing to hand over",
            ));
        }
        return Ok(host);
    }
    match (owns(Side::First), owns(Side::Second)) {
        (true, false) => Ok(Side::First),
        (false, true) => Ok(Side::Second),
        (true, true) => Err(usage("both hosts own VIPs".to_owned()).hint(format!(
            "choose the host that gives its VIPs away: `--from {}` or `--from {}`",
            statuses[0].host, statuses[1].host
        ))),
        (false, false) => Err(RolloutError::of(RolloutErrorKind::Failed, "no host owns a VIP")),
    }
}

async fn tell(pair: &mut Pair, host: Side, order: VrrpOrder) -> Result<(), RolloutError> {
    pair[host].order(Request::Vrrp { order }).await
}
