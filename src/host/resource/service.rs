//! Units: enabled, disabled, running, stopped.

use std::time::{Duration, Instant};

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Questions, Trace, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::switch::Switch;
use crate::host::resource::undoing::Undoing;
use crate::host::resource::worker::Worker;
use crate::state::{Reaction, UnitAction};

/// A systemd unit.
pub(crate) struct Service<'a> {
    /// With suffix.
    pub(crate) unit: &'a str,
    /// Starts at boot; `None`: not our business.
    pub(crate) enabled: Option<bool>,
    /// Runs now; `None`: not our business.
    pub(crate) active: Option<bool>,
}

impl Kind for Service<'_> {
    fn questions(&self) -> Questions {
        Questions {
            packages: Vec::new(),
            units: vec![self.unit.to_owned()],
        }
    }

    fn observe(&self, _root: &Root, tools: &Tools) -> Observed {
        let state = tools.unit(self.unit);
        Observed::Unit {
            exists: state.exists(),
            active: state.is_active(),
            stopped: !matches!(
                state.active.as_str(),
                "active" | "activating" | "reloading" | "deactivating"
            ),
            enabled: state.enabled,
        }
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Unit {
            exists,
            active,
            stopped,
            enabled,
        } = observed
        else {
            return Found::of_another_kind();
        };
        let mut todo = Vec::new();
        match self.active {
            Some(true) if !active => todo.push(UnitAction::Start),
            Some(false) if *exists && !stopped => todo.push(UnitAction::Stop),
            _ => {}
        }
        match self.enabled {
            Some(true) if !starts_at_boot(*exists, enabled) => todo.push(UnitAction::Enable),
            Some(false) if *exists && matches!(enabled.as_str(), "enabled" | "enabled-runtime" | "linked") => {
                todo.push(UnitAction::Disable);
            }
            _ => {}
        }
        let verbs: Vec<&str> = todo.into_iter().map(UnitAction::verb).collect();
        Found::listed(&verbs, " and ")
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Unit { .. } = observed else {
            return Err(of_another_kind());
        };
        let unit = self.unit;
        let now = systemd::one(unit);
        if !now.exists() {
            return Err(Error::new(format!("there is no unit {unit} on this host")).hint(
                "the package that provides it is not installed; see the packages and repositories of the inventory",
            ));
        }
        worker.undo.add(&Undo::Unit {
            unit: unit.to_owned(),
            active: now.is_active(),
            enabled: now.enabled.clone(),
        })?;
        if now.load == "masked" {
            return Err(Error::new(format!("{unit} is masked on this host")).hint(format!(
                "somebody masked it on purpose; `systemctl unmask {unit}` allows it again"
            )));
        }
        match self.enabled {
            Some(true) if !now.is_enabled() && now.enabled != "static" => systemd::ctl(UnitAction::Enable, unit)?,
            Some(false) if !now.enabled.is_empty() && now.enabled != "disabled" => {
                systemd::ctl(UnitAction::Disable, unit)?
            }
            _ => {}
        }
        match self.active {
            Some(true) if !now.is_active() => start(worker, unit),
            Some(false) => systemd::ctl(UnitAction::Stop, unit),
            _ => Ok(()),
        }
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (
            Observed::Unit {
                active: ran,
                enabled: was,
                ..
            },
            Observed::Unit {
                exists,
                active,
                enabled,
                ..
            },
        ) = (was, now)
        else {
            return Vec::new();
        };
        if !exists {
            return vec!["the unit is gone".into()];
        }
        let ran = Switch {
            was: *ran,
            now: *active,
        };
        let mut words: Vec<String> = ran
            .turned("started", "stopped")
            .map(str::to_owned)
            .into_iter()
            .collect();
        if was != enabled {
            words.push(if enabled.is_empty() {
                "not enabled".into()
            } else {
                enabled.clone()
            });
        }
        words
    }

    fn trace(&self, _root: &Root, _was: &Observed, _now: &Observed) -> Trace {
        Trace::Unit(self.unit.to_owned())
    }

    /// A unit file must be known before its service starts.
    fn needs_first(&self) -> Option<Reaction> {
        Some(Reaction::DaemonReload)
    }
}

/// Units without an `[Install]` section cannot be enabled: whatever wants them starts them.
fn starts_at_boot(exists: bool, have: &str) -> bool {
    exists && matches!(have, "enabled" | "static" | "indirect" | "generated" | "alias")
}

fn start(worker: &mut Worker<'_>, unit: &str) -> Result<()> {
    systemd::ctl(UnitAction::Start, unit)?;
    // It has read the new files: a reload would only repeat that.
    worker
        .pending
        .retain(|r| !matches!(r, Reaction::Reload { unit: u } | Reaction::Restart { unit: u } if u == unit));
    // `activating (auto-restart)` is a crash loop, not a start.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let state = systemd::one(unit);
        match state.active.as_str() {
            "active" => return Ok(()),
            "activating" if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            other => {
                return Err(Error::new(format!(
                    "{unit} is {other} after its start: {}",
                    systemd::journal(unit, 10)
                ))
                .hint(format!("see `systemctl status {unit}` on the host")));
            }
        }
    }
}

/// Undoes a change of a unit's state. Of several records the state before the first is restored
/// ([`crate::host::resource::unit_before`]).
pub(crate) struct UnitUndo<'a> {
    /// With suffix.
    pub(crate) unit: &'a str,
}

impl Undoing for UnitUndo<'_> {
    fn capture(&self, root: &Root, undo: &mut Log) -> Result<()> {
        if !root.is_live() {
            return Ok(());
        }
        let now = systemd::one(self.unit);
        undo.add(&Undo::Unit {
            unit: self.unit.to_owned(),
            active: now.is_active(),
            enabled: now.enabled,
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("the state of {}", self.unit))
    }

    fn cuts_ssh(&self) -> bool {
        self.unit == "firewalld.service"
    }
}
