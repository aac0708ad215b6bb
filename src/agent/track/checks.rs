//! Tracked scripts: started on time, bounded in time, counted.

use std::time::Duration;

use serde_json::json;

use crate::agent::os::script::Prepared;
use crate::agent::os::spawn::{Child, signal_group};
use crate::agent::os::{log, script, spawn};
use crate::keepalived::{Config, Script};
use crate::vrrp::Time;
use crate::vrrp::track::Counter;

/// Between SIGTERM and SIGKILL for a script that runs too long (keepalived: 2 s).
const GRACE: Duration = Duration::from_secs(2);

struct Run {
    child: Child,
    /// When it is signalled next, and with what.
    limit: Time,
    /// How often it was told to end: by SIGTERM, then by SIGKILL.
    signals: u32,
}

/// What a script says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not run: it counts as if nobody tracked it, as in keepalived.
    Dropped,
    /// It succeeds.
    Good,
    /// It fails.
    Failing,
    /// It has not answered yet: neither good nor failing.
    Unknown,
    /// It was added while the daemon ran and has not answered yet: an owner does not lose its priority for that.
    PresumedGood,
}

/// Whether a script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// It does, as this.
    Runs(Prepared),
    /// Nobody tracks it.
    Unused,
    /// It cannot or must not, and why.
    Disabled(String),
}

/// One script.
pub(crate) struct Check {
    script: Script,
    role: Role,
    counter: Counter,
    /// Until it has answered.
    presumed_good: bool,
    next: Time,
    run: Option<Run>,
    last: Option<String>,
}

/// All scripts.
#[derive(Default)]
pub(crate) struct Checks {
    all: Vec<Check>,
    /// It was given a configuration before.
    configured: bool,
    /// Killed, and not waited for yet: who hangs in the kernel must not hold up the packets.
    dying: Vec<Child>,
}

impl Checks {
    /// Scripts of a configuration; those that were known keep their counters.
    pub(crate) fn configure(&mut self, config: &Config, now: Time) {
        let mut old = std::mem::take(&mut self.all);
        let presumed_good = std::mem::replace(&mut self.configured, true);
        for script in &config.scripts {
            let role = if !config.tracks_script(&script.name) {
                Role::Unused
            } else {
                match script::prepare(&script.command, &config.global, &spawn::path()) {
                    Ok(prepared) => Role::Runs(prepared),
                    Err(reason) => Role::Disabled(reason),
                }
            };
            if let Role::Disabled(reason) = &role {
                log::event(
                    "error",
                    "check is disabled and counts for nothing",
                    &[("script", json!(script.name)), ("reason", json!(reason))],
                );
            }
            // A check that is tracked, allowed and run as before keeps its state; every other one starts afresh.
            let known = |c: &Check| same(&c.script, script) && c.role == role;
            if let Some(at) = old.iter().position(known) {
                self.all.push(old.swap_remove(at));
                continue;
            }
            self.all.push(Check {
                role,
                counter: Counter::new(script.rise, script.fall, script.init_fail),
                presumed_good,
                next: now,
                run: None,
                last: None,
                script: script.clone(),
            });
        }
        for check in &mut old {
            self.dying.extend(check.kill());
        }
    }

    /// Whether a script counts as good, and whether it has answered.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        let Some(check) = self.all.iter().find(|c| c.script.name == name && c.runs()) else {
            return Standing::Dropped;
        };
        match (check.counter.untried(), check.counter.good()) {
            // `init_fail`: failing until it has succeeded.
            (_, false) => Standing::Failing,
            (false, true) => Standing::Good,
            (true, true) if check.presumed_good => Standing::PresumedGood,
            (true, true) => Standing::Unknown,
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let due = |c: &Check| match &c.run {
            // While it runs, the next start is skipped, and only its limit matters.
            Some(run) => run.limit,
            None => c.next,
        };
        self.all.iter().filter(|c| c.runs()).map(due).min()
    }

    /// Starts what is due, signals what takes too long. Returns whether a script's state changed or is known for the first time.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        let mut changed = false;
        for check in self.all.iter_mut().filter(|c| c.runs()) {
            changed |= check.tick(now);
        }
        changed
    }

    /// Looks which runs have ended. Returns whether a script's state changed or is known for the first time.
    pub(crate) fn reap(&mut self, now: Time) -> bool {
        self.dying.retain_mut(|child| child.ended().is_none());
        let mut changed = false;
        for check in &mut self.all {
            changed |= check.reap(now);
        }
        changed
    }

    /// Ends every run at once, without waiting for its end.
    pub(crate) fn stop(&mut self) {
        self.dying.extend(self.all.iter_mut().filter_map(Check::kill));
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let one = |c: &Check| {
            json!({
                "name": c.script.name, "good": c.disabled().is_none() && c.counter.good(), "disabled": c.disabled(),
                "answered": !c.counter.untried(), "running": c.run.is_some(), "last": c.last,
            })
        };
        self.all.iter().map(one).collect()
    }
}

fn same(a: &Script, b: &Script) -> bool {
    let place = a.place.clone();
    *a == Script { place, ..b.clone() }
}

impl Check {
    fn runs(&self) -> bool {
        matches!(self.role, Role::Runs(_))
    }

    /// Why it is not run although something tracks it.
    fn disabled(&self) -> Option<&str> {
        match &self.role {
            Role::Disabled(reason) => Some(reason),
            Role::Runs(_) | Role::Unused => None,
        }
    }

    /// Ends a run; the child is to be waited for later.
    fn kill(&mut self) -> Option<Child> {
        let run = self.run.take()?;
        signal_group(&run.child, libc::SIGKILL);
        Some(run.child)
    }

    fn tick(&mut self, now: Time) -> bool {
        if let Some(run) = self.run.as_mut() {
            if now < run.limit {
                return false;
            }
            signal_group(&run.child, if run.signals > 0 { libc::SIGKILL } else { libc::SIGTERM });
            run.signals += 1;
            run.limit = now + GRACE;
            // Once, and again and again for one that cannot even be killed: that is what a hung disk looks like.
            return run.signals != 2 && self.failed("timeout");
        }
        if now < self.next {
            return false;
        }
        // By the clock, so that a slow start does not shift the next one.
        while self.next <= now {
            self.next += self.script.interval.max(Duration::from_millis(1));
        }
        let Role::Runs(prepared) = &self.role else {
            return false;
        };
        match spawn::spawn(&prepared.argv, &prepared.ids) {
            Ok(child) => {
                self.run = Some(Run {
                    child,
                    limit: now + self.script.timeout,
                    signals: 0,
                });
                false
            }
            Err(e) => self.failed(&e.to_string()),
        }
    }

    fn reap(&mut self, now: Time) -> bool {
        let Some(run) = self.run.as_mut() else { return false };
        let Some(end) = run.child.ended() else { return false };
        let terminated = run.signals > 0;
        self.run = None;
        self.next = self.next.max(now);
        // The timeout has been counted when it struck.
        !terminated && self.ended(end.success(), &end.to_string())
    }

    fn failed(&mut self, how: &str) -> bool {
        self.ended(false, how)
    }

    fn ended(&mut self, success: bool, how: &str) -> bool {
        let first = self.counter.untried();
        let changed = self.counter.ended(success);
        if changed || first || self.last.as_deref() != Some(how) {
            let fields = [
                ("script", json!(self.script.name)),
                ("result", json!(how)),
                ("good", json!(self.counter.good())),
            ];
            log::event(if success { "info" } else { "warning" }, "script result", &fields);
        }
        self.last = Some(how.to_owned());
        // An answer that confirms what was presumed is news too: a router may have waited for it.
        changed || first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived::{Options, lint};

    const T: fn(u64) -> Time = Time::from_secs;

    #[test]
    fn a_run_whose_end_nobody_saw_is_a_failure_and_not_the_last() {
        let text = "global_defs {\n script_user root\n}\nvrrp_script chk {\n script /bin/true\n interval 1\n}\n\
                    vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n \
                    track_script {\n chk\n }\n}\n";
        if !crate::agent::left_out::able(&[]) {
            return;
        }
        let mut checks = Checks::default();
        checks.configure(&lint(text, &Options::default()).0, T(0));
        checks.tick(T(0));
        checks.all[0].run.as_ref().expect("it runs").child.steal();
        assert!(checks.reap(T(0)), "no answer is no yes");
        assert_eq!(checks.standing("chk"), Standing::Failing);
        checks.tick(T(1));
        assert!(checks.all[0].run.is_some(), "it runs again");
        checks.all[0].run.as_mut().unwrap().child.wait();
        assert!(checks.reap(T(1)) && checks.standing("chk") == Standing::Good);
    }

    #[test]
    fn a_check_that_cannot_run_is_dropped_until_a_reload_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        let text = format!(
            "vrrp_script chk {{\n script {}\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 1\n \
             virtual_ipaddress {{\n 10.0.0.1\n }}\n track_script {{\n chk\n }}\n}}\n",
            path.display()
        );
        let config = lint(&text, &Options::default()).0;
        let mut checks = Checks::default();
        checks.configure(&config, T(0));
        assert!(!checks.tick(T(0)) && checks.next_timer().is_none());
        assert_eq!(checks.standing("chk"), Standing::Dropped);
        let reason = checks.status()[0]["disabled"].as_str().unwrap().to_owned();
        assert!(reason.ends_with("check is not there"), "{reason}");
        std::fs::write(&path, "#!/bin/sh\nexit 1\n").unwrap();
        checks.configure(&config, T(1));
        let reason = checks.status()[0]["disabled"].as_str().unwrap().to_owned();
        assert!(reason.contains("check is not executable for "), "{reason}");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        checks.configure(&config, T(2));
        assert_ne!(checks.standing("chk"), Standing::Dropped);
        assert!(checks.status()[0]["disabled"].is_null());
        checks.tick(T(2));
        assert!(checks.all[0].run.is_some());
    }
}
