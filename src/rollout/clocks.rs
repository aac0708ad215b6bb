//! Signed adverts (`auth_hmac`) carry the time. Hosts whose clocks differ by more than the window refuse each other, and both
//! own the VIP: that is looked at before signing is switched on or asks for more than it does now.

use std::time::{Duration, Instant};

use super::error::{RolloutError, RolloutErrorKind, unexpected};
use super::reach::member::Member;
use super::reach::pair::Pair;
use crate::inventory::Instance;
use crate::keepalived::HmacMode;
use crate::state::facts::HmacDemand;
use crate::state::{Facts, Reply, Request};

/// Questions to one host; the quickest answer counts, because it is the most exact.
const TRIES: usize = 3;

/// A host's clock against a stopwatch of ours, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// Its time less what the stopwatch showed half way between question and answer.
    ahead: i64,
    /// The host looked at some moment between question and answer: half of that time.
    error: i64,
}

impl Reading {
    fn new(asked: Duration, answered: Duration, at_ms: u64) -> Reading {
        let (asked, answered) = (millis(asked), millis(answered));
        Reading {
            ahead: i64::try_from(at_ms)
                .unwrap_or(i64::MAX)
                .saturating_sub((asked + answered) / 2),
            // Rounded up, and all three numbers were cut to whole ms.
            error: (answered - asked) / 2 + 2,
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Refuses to switch signing on, to ask for more of it, or to narrow its window, while the clocks of the hosts differ, or may
/// differ, by more than half of the window.
pub(super) async fn check(pair: &mut Pair, instances: &[Instance]) -> Result<(), RolloutError> {
    let facts = pair.members.each_ref().map(|m| m.link.facts());
    let tighter = instances.iter().filter(|i| tightens(i, facts));
    let window = |i: &Instance| i.auth_hmac.as_ref().map(|auth| auth.window(i.advert_int));
    let Some((name, window)) = tighter
        .filter_map(|i| Some((i.name.clone(), window(i)?)))
        .min_by_key(|(_, window)| *window)
    else {
        return Ok(());
    };
    let watch = Instant::now();
    let [a, b] = &mut pair.members;
    let (one, other) = tokio::join!(reading(a, watch), reading(b, watch));
    let (one, other) = (one?, other?);
    let (apart, error) = ((one.ahead - other.ahead).abs(), one.error + other.error);
    if apart + error <= i64::from(window) * 500 {
        return Ok(());
    }
    let (ahead, behind) = match one.ahead >= other.ahead {
        true => (a.host(), b.host()),
        false => (b.host(), a.host()),
    };
    let message = format!(
        "auth_hmac of {name} is not switched on: the clock of {ahead} is {:.1} s ahead of {behind}'s (to within {:.1} s), and half \
         of the window is {:.1} s",
        seconds(apart),
        seconds(error),
        f64::from(window) / 2.0,
    );
    Err(RolloutError::of(RolloutErrorKind::Failed, message)
        .hint("hosts whose clocks differ by more than the window refuse each other's adverts, and both own the VIP")
        .hint("set the clocks right on both hosts: `chronyc tracking` says how far they are off; or write a wider time_window"))
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Some host does not yet judge the peer's adverts by the clock as strictly as this instance wants it.
fn tightens(instance: &Instance, facts: [&Facts; 2]) -> bool {
    let Some(auth) = &instance.auth_hmac else {
        return false;
    };
    let wanted = match auth.mode {
        // Nobody signs, so nobody's time counts.
        HmacMode::ReceiveOnly => return false,
        HmacMode::Permissive => HmacDemand::Permissive,
        HmacMode::Enforce => HmacDemand::Enforce,
    };
    let window = auth.window(instance.advert_int);
    !facts.iter().all(|facts| {
        let now = facts.auth_hmac.get(&instance.name);
        now.is_some_and(|now| now.mode >= wanted && now.window.is_some_and(|now| now <= window))
    })
}

async fn reading(member: &mut Member, watch: Instant) -> Result<Reading, RolloutError> {
    let mut best: Option<Reading> = None;
    for _ in 0..TRIES {
        let asked = watch.elapsed();
        let at_ms = match member.ask(&Request::Clock).await? {
            Reply::Clock { at_ms } => at_ms,
            other => return Err(unexpected(member.host(), &other)),
        };
        let reading = Reading::new(asked, watch.elapsed(), at_ms);
        if best.is_none_or(|best| reading.error < best.error) {
            best = Some(reading);
        }
    }
    Ok(best.expect("asked at least once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_right_within_its_error() {
        // The host looks anywhere between question and answer; its clock is 7 s ahead of the stopwatch.
        for (asked, looked, answered) in [(100, 100, 900), (100, 900, 900), (100, 433, 900), (5, 5, 5)] {
            let reading = Reading::new(
                Duration::from_millis(asked),
                Duration::from_millis(answered),
                looked + 7000,
            );
            assert!((reading.ahead - 7000).abs() <= reading.error, "{reading:?}");
            assert!(reading.error <= (answered - asked) as i64 / 2 + 2);
        }
    }
}
