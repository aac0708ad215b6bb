//! How long a failover may take, from the configuration. Pure.
//!
//! `budget = expected + expected / 4 + 1500 ms`, where `expected` is what the protocol and the check allow in the worst
//! case. The quarter pays for timers that drift under load (keepalived arms them from "now"); the 1500 ms pay for
//! `systemctl stop`, two process starts, ARP caches and the probe's own grain. Both are generous for a healthy pair and
//! still tell a graceful hand-over (skew time) from a missed one (three adverts) at the usual one-second adverts.

use std::time::Duration;

use super::scenario::Scenario;
use crate::inventory::{Instance, Script, ScriptKind, TrackProcess, Vrrp};
use crate::state::Engine;

/// Fixed part of the margin.
pub const MARGIN: Duration = Duration::from_millis(1500);

/// What a run of the `restart` check takes when nginx cannot be started: a masked unit is refused at once, and the
/// script looks again before it gives up.
const RESTART_RUN: Duration = Duration::from_secs(3);

/// hapair's agent waits this long after nginx's death, so that a restart of nginx moves nothing (DESIGN §6).
const PROCESS_GRACE: Duration = Duration::from_secs(1);

/// Skew_Time: RFC 3768 §6.1 for version 2 (whatever the advertisement interval), RFC 9568 §6.1 for version 3.
pub fn skew(version: u8, priority: u8, advert_int: Duration) -> Duration {
    let gap = 256 - u32::from(priority);
    if version == 2 {
        Duration::from_secs(1) * gap / 256
    } else {
        advert_int * gap / 256
    }
}

/// Master_Down_Interval (version 2) or Active_Down_Interval (version 3): three adverts and the skew time.
pub fn master_down(version: u8, priority: u8, advert_int: Duration) -> Duration {
    advert_int * 3 + skew(version, priority, advert_int)
}

/// `expected` with the margin of this module.
pub fn with_margin(expected: Duration) -> Duration {
    expected + expected / 4 + MARGIN
}

/// What on the host notices that nginx is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Watcher<'a> {
    /// A tracked script.
    Script(&'a Script),
    /// A tracked process.
    Process(&'a TrackProcess),
}

impl Watcher<'_> {
    fn weight(&self) -> i16 {
        match self {
            Watcher::Script(script) => script.weight,
            Watcher::Process(process) => process.weight,
        }
    }

    /// From nginx's death until the failure counts, at worst.
    fn detection(&self) -> Duration {
        match self {
            // The death falls just after a good look: one interval until the next, then `fall` failing runs, of which
            // each but the last lasts a whole number of intervals (a run is skipped while the one before is alive).
            Watcher::Script(script) => {
                let run = failing_run(script);
                seconds(script.interval) + period(script, run) * script.fall.saturating_sub(1) + run
            }
            Watcher::Process(process) => process.delay.map(seconds).unwrap_or(PROCESS_GRACE).max(PROCESS_GRACE),
        }
    }

    /// From nginx's return until the success counts, at worst.
    fn recovery(&self) -> Duration {
        match self {
            // A good look is quick; a failing one may still be running when nginx comes back.
            Watcher::Script(script) => {
                period(script, failing_run(script)) + seconds(script.interval) * script.rise.max(1)
            }
            Watcher::Process(_) => PROCESS_GRACE,
        }
    }
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// How long the script runs when nginx is down, at most.
fn failing_run(script: &Script) -> Duration {
    let limit = Duration::from_secs(u64::from(script.timeout.max(1)));
    let run = match &script.kind {
        // A stopped nginx refuses at once, so only the pauses between tries count, and half a second for each curl.
        ScriptKind::Http { tries, pause, .. } => {
            let (tries, pause) = (u64::from((*tries).max(1)), u64::from(*pause));
            Duration::from_millis(tries * 500 + (tries - 1) * pause * 1000)
        }
        ScriptKind::Restart { .. } => RESTART_RUN,
        ScriptKind::Command { .. } => limit,
    };
    run.min(limit)
}

/// From the start of one run to the start of the next.
fn period(script: &Script, run: Duration) -> Duration {
    let interval = seconds(script.interval).max(Duration::from_millis(1));
    let times = run.as_nanos().div_ceil(interval.as_nanos()).max(1);
    interval * u32::try_from(times).unwrap_or(u32::MAX)
}

/// Everything tracked by the instance that can notice that nginx is gone.
///
/// The kinds `http` and `restart` look at nginx by nature, so does a track process called `nginx`. Scripts of kind
/// `command` count only when there is nothing else, because what they look at is not known here.
pub fn watchers<'a>(vrrp: &'a Vrrp, instance: &Instance) -> Vec<Watcher<'a>> {
    let scripts = || vrrp.scripts.iter().filter(|s| instance.track_script.contains(&s.name));
    let processes = vrrp
        .track_processes
        .iter()
        .filter(|p| instance.track_process.contains(&p.name));
    let known: Vec<_> = scripts()
        .filter(|s| !matches!(s.kind, ScriptKind::Command { .. }))
        .map(Watcher::Script)
        .chain(processes.filter(|p| p.process == "nginx").map(Watcher::Process))
        .collect();
    if !known.is_empty() {
        return known;
    }
    scripts().map(Watcher::Script).collect()
}

/// How long until `standby` owns the VIP after the fault, at worst; `None`: nothing would notice the fault.
pub fn expected_move(scenario: Scenario, vrrp: &Vrrp, instance: &Instance, standby: &str) -> Option<Duration> {
    let priority = instance.priorities.get(standby).copied().unwrap_or(1);
    let advert = seconds(instance.advert_int);
    let skew = skew(instance.version, priority, advert);
    match scenario {
        // Priority 0 on shutdown: the standby waits its skew time and nothing else.
        Scenario::VrrpStop => Some(skew),
        Scenario::NginxStop => watchers(vrrp, instance)
            .iter()
            .map(|watcher| {
                let takeover = match (watcher.weight(), vrrp.engine) {
                    // FAULT: the owner leaves with priority 0.
                    (0, _) => skew,
                    // The agent says so at once, and the standby takes over after its skew time (DESIGN §6).
                    (_, Engine::Agent) => advert + skew,
                    // keepalived's standby ignores the now lower adverts until its timer runs out.
                    (_, Engine::Keepalived) => master_down(instance.version, priority, advert),
                };
                watcher.detection() + takeover
            })
            .min(),
    }
}

/// How long until the repaired `owner` has the VIP back, or, where it does not preempt, could have had it.
pub fn expected_return(scenario: Scenario, vrrp: &Vrrp, instance: &Instance, owner: &str) -> Duration {
    let priority = instance.priorities.get(owner).copied().unwrap_or(1);
    let down = master_down(instance.version, priority, seconds(instance.advert_int));
    let delay = Duration::from_secs(u64::from(instance.preempt_delay.unwrap_or(0)));
    let noticed = match scenario {
        Scenario::VrrpStop => Duration::ZERO,
        Scenario::NginxStop => watchers(vrrp, instance)
            .iter()
            .map(Watcher::recovery)
            .max()
            .unwrap_or_default(),
    };
    noticed + down + delay
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drill::tests::inventory;

    fn ms(duration: Duration) -> f64 {
        duration.as_secs_f64() * 1000.0
    }

    /// The measured failover times of keepalived 2.2.7 lie within half a millisecond of these.
    #[test]
    fn timers_of_the_rfcs() {
        let second = Duration::from_secs(1);
        assert_eq!(ms(skew(2, 100, second)), 609.375);
        assert_eq!(ms(master_down(2, 100, second)), 3609.375);
        assert_eq!(
            ms(skew(2, 100, second * 10)),
            609.375,
            "version 2: whatever the interval"
        );
        assert_eq!(ms(master_down(3, 100, second / 10)), 360.9375);
        assert_eq!(ms(skew(3, 254, second)), 7.8125);
    }

    /// The seed's own numbers, by hand: interval 2, fall 3, two tries three seconds apart, weight -5, priority 100.
    #[test]
    fn the_seed() {
        let mut inventory = inventory(80);
        let vrrp = inventory.vrrp.as_mut().unwrap();
        vrrp.instances[0].version = 2;
        vrrp.instances[0].advert_int = 1.0;
        vrrp.scripts[0] = Script {
            interval: 2.0,
            fall: 3,
            rise: 2,
            weight: -5,
            timeout: 12,
            kind: ScriptKind::Http {
                url: None,
                try_timeout: 3,
                tries: 2,
                pause: 3,
            },
            ..vrrp.scripts[0].clone()
        };
        let vrrp = inventory.vrrp.as_ref().unwrap();
        let expect = |scenario, engine| {
            let vrrp = Vrrp { engine, ..vrrp.clone() };
            ms(expected_move(scenario, &vrrp, &vrrp.instances[0], "node-b").unwrap())
        };
        assert_eq!(expect(Scenario::VrrpStop, Engine::Keepalived), 609.375);
        // 2 s until the next look, two runs 4 s apart, a last run of 4 s, then three adverts and the skew.
        assert_eq!(
            expect(Scenario::NginxStop, Engine::Keepalived),
            2000.0 + 8000.0 + 4000.0 + 3609.375
        );
        assert_eq!(expect(Scenario::NginxStop, Engine::Agent), 14_000.0 + 1609.375);
        let budget = with_margin(expected_move(Scenario::VrrpStop, vrrp, &vrrp.instances[0], "node-b").unwrap());
        assert!(
            budget < master_down(2, 100, Duration::from_secs(1)),
            "a missed hand-over does not pass"
        );
    }

    #[test]
    fn without_a_watcher_nothing_moves() {
        let mut inventory = inventory(80);
        let vrrp = inventory.vrrp.as_mut().unwrap();
        vrrp.instances[0].track_script.clear();
        assert_eq!(
            expected_move(Scenario::NginxStop, vrrp, &vrrp.instances[0], "node-b"),
            None
        );
        assert!(expected_move(Scenario::VrrpStop, vrrp, &vrrp.instances[0], "node-b").is_some());
        let error = crate::drill::DrillPlan::new(&inventory, &[], None).unwrap_err();
        assert!(
            error.to_string().contains("tracks nothing that watches nginx"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn higher_priority_is_never_slower(version in 2u8..=3, a in 1u8..=254, b in 1u8..=254, centi in 1u64..4096) {
            let advert = Duration::from_millis(centi * 10);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(skew(version, high, advert) <= skew(version, low, advert));
            prop_assert!(skew(version, low, advert) < master_down(version, low, advert));
            let limit = if version == 2 { Duration::from_secs(1) } else { advert };
            prop_assert!(skew(version, low, advert) < limit);
        }
    }
}
