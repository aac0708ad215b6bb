//! Planned moves: the standby's agent takes over the VIP on command, without waiting for the owner's adverts to
//! stop. Where it cannot, hapair says so, and the VIP moves as with every engine: the owner leaves with priority 0, and
//! the standby owns the VIP after its skew time. The preferred host preempts after three adverts.

use std::time::{Duration, Instant};

use super::error::{RolloutError, RolloutErrorKind};
use super::health::roles;
use super::reach::context::Context;
use super::reach::pair::Pair;
use crate::inventory::Side;
use crate::state::frame::VrrpOrder;
use crate::state::{Engine, Request};

/// How long a raised priority lasts where only the move itself needs it.
pub(super) const MOMENT: Duration = Duration::from_secs(10);

/// How long a standby is asked again: an engine that has just started refuses until its checks have run once.
const PATIENCE: Duration = Duration::from_secs(10);

/// An owner that has not yielded by then does not hear the standby: continuing would leave two owners.
const YIELDS: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(100);

/// Where the VIPs are after a standby was asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// With the standby, and nobody waited.
    AtOnce,
    /// With the owner: it has to give them away.
    NotYet,
}

/// Makes host `to` the owner of every VIP that only the other one owns. Its raised priority stays for `keep` (`None`: until
/// [`end_raise`]), but for that it goes by what is tracked: a host that fails yields as ever.
///
/// # Errors
/// A host is out of reach. That the standby cannot take over is none.
pub(super) async fn take_over(
    cx: &Context<'_>,
    pair: &mut Pair,
    to: Side,
    keep: Option<Duration>,
) -> Result<Moved, RolloutError> {
    let statuses = pair.statuses().await?;
    let instances = roles::owned_by_the_other(&statuses, to);
    if instances.is_empty() {
        return Ok(Moved::NotYet);
    }
    let [taking, giving] = [to, to.other()].map(|host| pair[host].host().to_owned());
    let otherwise = format!("{giving} gives up the VIP, and {taking} owns it after its skew time");
    if statuses[to].engine != Some(Engine::Agent) {
        let what = format!("keepalived cannot take over on command: {otherwise}");
        cx.observer.fact(&taking, what);
        return Ok(Moved::NotYet);
    }
    if let Some(why) = ask(pair, to, &instances, keep).await? {
        let what = format!("it does not take over on command ({why}): {otherwise}");
        cx.observer.warn(&taking, what);
        return Ok(Moved::NotYet);
    }
    let began = Instant::now();
    loop {
        let statuses = pair.statuses().await?;
        let has = |name: &String| statuses[to].running.iter().any(|i| i.name == *name && i.owns_vip);
        if instances.iter().all(has) && !roles::is_split(&statuses) {
            return Ok(Moved::AtOnce);
        }
        if began.elapsed() > YIELDS {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    cx.observer.warn(
        &taking,
        format!("it took over the VIP, but {giving} does not yield, so the takeover was ended: {otherwise}"),
    );
    let order = VrrpOrder::Resume;
    pair[to].order(Request::Vrrp { order }).await?;
    Ok(Moved::NotYet)
}

/// Ends the raised priority of host `stood_in`; what it owns it keeps until a better one takes it. Failing that, the time of the
/// raise ends it: then a hint for the error that is on its way.
pub(super) async fn end_raise(pair: &mut Pair, stood_in: Side, keep: Duration) -> Option<String> {
    let order = VrrpOrder::Resume;
    let told = pair[stood_in].order(Request::Vrrp { order }).await;
    let why = told.err()?;
    let name = pair[stood_in].host();
    let seconds = keep.as_secs();
    Some(format!(
        "{name} still announces its raised priority, because ending it failed ({why:#}): it ends after at most \
         {seconds} s, or with `hapair handover --resume`"
    ))
}

/// Host `host` preempts at once, where it would preempt after three adverts anyway.
///
/// # Errors
/// A host is out of reach. Falling back to the three adverts is not an error.
pub(super) async fn preempt_at_once(cx: &Context<'_>, pair: &mut Pair, host: Side) -> Result<(), RolloutError> {
    let statuses = pair.statuses().await?;
    let instances = roles::instances_to_preempt(&statuses, host);
    if instances.is_empty() {
        return Ok(());
    }
    let name = pair[host].host().to_owned();
    let why = if statuses[host].engine == Some(Engine::Agent) {
        ask(pair, host, &instances, Some(MOMENT)).await?
    } else {
        Some("keepalived cannot".to_owned())
    };
    if let Some(why) = why {
        let what =
            format!("it does not take over on command ({why}): it owns the VIP after three adverts and its skew time");
        cx.observer.fact(&name, what);
    }
    Ok(())
}

/// Asks until the host has taken over; else the reason why it does not.
async fn ask(
    pair: &mut Pair,
    to: Side,
    instances: &[String],
    keep: Option<Duration>,
) -> Result<Option<String>, RolloutError> {
    let began = Instant::now();
    loop {
        let order = VrrpOrder::TakeOver {
            instances: instances.to_vec(),
            seconds: keep.map(|time| time.as_secs()),
        };
        let refused = match pair[to].order(Request::Vrrp { order }).await {
            Ok(()) => return Ok(None),
            Err(error) if error.kind == RolloutErrorKind::Unreachable => return Err(error),
            Err(error) => error,
        };
        let status = pair[to].status().await?;
        let mut asked = status.running.iter().filter(|i| instances.contains(&i.name));
        if began.elapsed() > PATIENCE || !asked.any(|i| i.pending) {
            return Ok(Some(refused.bare()));
        }
        tokio::time::sleep(2 * POLL).await;
    }
}
