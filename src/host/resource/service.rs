//! Units: enabled, disabled, running, stopped.

use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result};
use crate::host::os::systemd;
use crate::host::record::undo::Undo;
use crate::host::resource::worker::Worker;
use crate::state::Reaction;

pub(crate) fn converge(worker: &mut Worker<'_>, unit: &str, enabled: Option<bool>, active: Option<bool>) -> Result<()> {
    let now = systemd::one(unit);
    if !now.exists() {
        return Err(Error::new(format!("there is no unit {unit} on this host"))
            .hint("the package that brings it is not installed; see the packages and repositories of the inventory"));
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
    match enabled {
        Some(true) if !now.is_enabled() && now.enabled != "static" => systemd::ctl("enable", unit)?,
        Some(false) if !now.enabled.is_empty() && now.enabled != "disabled" => systemd::ctl("disable", unit)?,
        _ => {}
    }
    match active {
        Some(true) if !now.is_active() => start(worker, unit),
        Some(false) => systemd::ctl("stop", unit),
        _ => Ok(()),
    }
}

fn start(worker: &mut Worker<'_>, unit: &str) -> Result<()> {
    systemd::ctl("start", unit)?;
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
