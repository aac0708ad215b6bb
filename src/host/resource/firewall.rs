//! firewalld: permanently and now, without a reload (a reload drops packets for a moment, adverts among them).

use std::time::{Duration, Instant};

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::{exec, systemd};
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::firewall_zone;
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Questions, Trace, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::switch::Switch;
use crate::host::resource::undoing::{Planned, Undoing};
use crate::host::resource::worker::Worker;
use crate::state::UnitAction;
use crate::state::resource::{FirewallSpec, Stage};

const LIMIT: Duration = Duration::from_secs(60);
const UNIT: &str = "firewalld.service";

/// firewalld running, and letting these through.
pub(crate) struct Firewall<'a>(pub(crate) &'a FirewallSpec);

impl Kind for Firewall<'_> {
    fn questions(&self) -> Questions {
        Questions {
            packages: Vec::new(),
            units: vec![UNIT.to_owned()],
        }
    }

    fn observe(&self, root: &Root, tools: &Tools) -> Observed {
        Observed::Firewall(firewall_zone::observe(root, self.0, &tools.unit(UNIT)))
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Firewall(have) = observed else {
            return Found::of_another_kind();
        };
        let options = have.missing.iter();
        let mut todo: Vec<String> = options
            .map(|m| m.trim_start_matches("--").replacen('=', " ", 1))
            .collect();
        if !have.running {
            todo.push("start firewalld".into());
        }
        if !have.enabled {
            todo.push("enable firewalld".into());
        }
        if todo.is_empty() {
            None
        } else {
            Found::plain(format!("zone {}: {}", have.zone, todo.join(", ")))
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Firewall(have) = observed else {
            return Err(of_another_kind());
        };
        if !have.installed {
            return Err(Error::new("firewalld is not installed on this host")
                .hint("`yum install firewalld`, or leave `system.firewalld` out of the inventory"));
        }
        let zone = format!("--zone={}", have.zone);
        if !have.missing.is_empty() {
            worker
                .undo
                .keep(&worker.root.path(&format!("/etc/firewalld/zones/{}.xml", have.zone)))?;
            worker
                .undo
                .keep(&worker.root.path(&format!("/etc/firewalld/zones/{}.xml.old", have.zone)))?;
            let undo = Undo::Firewall {
                zone: have.zone.clone(),
                options: have.missing.clone(),
            };
            worker.undo.add(&undo)?;
        }
        for option in &have.missing {
            worker.journal.log(&format!("firewall: zone {} {option}", have.zone));
            if have.running {
                // Adding what is there already is a warning with exit code 0.
                exec::must("firewall-cmd", &["--permanent", &zone, option], LIMIT)?;
                exec::must("firewall-cmd", &[&zone, option], LIMIT)?;
            } else {
                exec::must("firewall-offline-cmd", &[&zone, option], LIMIT)?;
            }
        }
        if !have.running || !have.enabled {
            let enabled = systemd::one(UNIT).enabled;
            worker.undo.add(&Undo::Unit {
                unit: UNIT.into(),
                active: have.running,
                enabled,
            })?;
        }
        if !have.enabled {
            systemd::ctl(UnitAction::Enable, UNIT)?;
        }
        if !have.running {
            systemd::ctl(UnitAction::Start, UNIT)?;
            await_rules()?;
        }
        Ok(())
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (Observed::Firewall(was), Observed::Firewall(now)) = (was, now) else {
            return Vec::new();
        };
        let mut words = Vec::new();
        if was.zone != now.zone {
            words.push(format!("the interface is in zone {} instead of {}", now.zone, was.zone));
        }
        let gone = now.missing.iter().filter(|m| !was.missing.contains(m));
        words.extend(gone.map(|m| format!("{} taken out", m.trim_start_matches("--add-").replacen('=', " ", 1))));
        let runs = Switch {
            was: was.running,
            now: now.running,
        };
        let boots = Switch {
            was: was.enabled,
            now: now.enabled,
        };
        let turned = runs
            .turned("started", "stopped")
            .into_iter()
            .chain(boots.turned("enabled", "disabled"));
        words.extend(turned.map(str::to_owned));
        words
    }

    fn trace(&self, root: &Root, was: &Observed, now: &Observed) -> Trace {
        match (was, now) {
            (Observed::Firewall(was), Observed::Firewall(now)) if was.missing != now.missing => {
                Trace::Path(root.path(&format!("/etc/firewalld/zones/{}.xml", now.zone)))
            }
            _ => Trace::Unit(UNIT.to_owned()),
        }
    }
}

/// firewalld counts as started once its name is on the bus, a moment before its rules are in force: a connection that
/// comes in between would prove nothing. It answers only after that.
fn await_rules() -> Result<()> {
    let began = Instant::now();
    loop {
        let state = exec::run("firewall-cmd", &["--state"], LIMIT)?;
        if state.ok() {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(exec::failed("firewall-cmd", &["--state"], &state, LIMIT)
                .hint("see `systemctl status firewalld` on the host"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What was added to a zone, taken out again, or the other way round.
pub(crate) struct FirewallUndo<'a> {
    pub(crate) zone: &'a str,
    /// As it was added: `--add-service=http`.
    pub(crate) options: &'a [String],
}

impl Undoing for FirewallUndo<'_> {
    fn capture(&self, _root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Firewall {
            zone: self.zone.to_owned(),
            options: self.options.iter().map(|o| inverse(o)).collect(),
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("the rules of firewalld's zone {}", self.zone))
    }

    /// Permanently and now. A running firewalld remembers, and would write what it remembers over a file that is back.
    fn before_files(&self) -> Result<()> {
        if !systemd::one(UNIT).is_active() {
            return Ok(());
        }
        let zone = format!("--zone={}", self.zone);
        let mut failures = Vec::new();
        for option in self.options {
            let inverse = inverse(option);
            for args in [&["--permanent", &zone, &inverse][..], &[&zone, &inverse]] {
                let limit = LIMIT;
                let told =
                    exec::run("firewall-cmd", args, limit).and_then(|output| judge_firewall(args, &output, limit));
                failures.extend(told.err().map(|error| error.in_full()));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::new(failures.join("; ")))
        }
    }

    fn cuts_ssh(&self) -> bool {
        true
    }

    fn planned(&self, _root: &Root) -> Option<Planned> {
        let out: Vec<String> = self.options.iter().map(|o| inverse(o)).collect();
        Some(Planned {
            resource: format!("firewall zone {}", self.zone),
            stage: Stage::Firewall,
            summary: out.join(" "),
        })
    }
}

/// What is so already is a warning with exit code 0, or in older versions a code of its own: ALREADY_ENABLED,
/// NOT_ENABLED (firewall/errors.py).
fn judge_firewall(args: &[&str], output: &exec::Output, limit: Duration) -> Result<()> {
    match output.code {
        Some(0 | 11 | 12) => Ok(()),
        _ => Err(exec::failed("firewall-cmd", args, output, limit)),
    }
}

/// `--remove-…` of `--add-…`, and the other way round.
fn inverse(option: &str) -> String {
    match option.strip_prefix("--remove-") {
        Some(what) => format!("--add-{what}"),
        None => option.replacen("--add-", "--remove-", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firewall_that_refuses_is_a_failure_and_one_that_is_so_already_is_not() {
        let judge = |code| {
            let output = exec::Output {
                code,
                stderr: "Error: INVALID_ZONE: gone".into(),
                ..exec::Output::default()
            };
            judge_firewall(
                &["--zone=gone", "--remove-service=http"],
                &output,
                Duration::from_secs(1),
            )
        };
        assert!(
            [Some(0), Some(11), Some(12)]
                .into_iter()
                .all(|code| judge(code).is_ok())
        );
        let error = judge(Some(112)).unwrap_err();
        assert!(error.message.contains("INVALID_ZONE"), "{error}");
        assert!(judge(None).is_err());
    }
}
