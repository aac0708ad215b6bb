//! Breaking things on purpose. The undo is armed with PID 1 before anything is broken.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::os::error::{Error, Result, at};
use crate::host::os::files::Access;
use crate::host::os::root::Root;
use crate::host::os::systemd::TransientUnit;
use crate::host::os::{executor, files, private_json, systemd};
use crate::state::{Engine, Fault, UnitAction};

/// What was before each fault that is in force.
const DIRECTORY: &str = "/run/hapair/fault";

/// What was before the fault.
#[derive(Debug, Serialize, Deserialize)]
struct Before {
    active: bool,
}

/// Everything a fault leaves lies under /run, so that a reboot ends it too.
struct Traces {
    /// What was before; its presence is the fault.
    memory: PathBuf,
    /// Keeps anyone from starting the unit again: a condition that fails. A run-time mask would do nothing for units
    /// whose file is in /etc/systemd/system, which comes before /run; drop-ins count wherever the unit's file is.
    hold: PathBuf,
    /// Name of the timer that undoes.
    timer: String,
}

fn traces(root: &Root, unit: &str) -> Result<Traces> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if unit.is_empty() || unit.contains("..") || !unit.chars().all(plain) {
        return Err(Error::new(format!("not a unit's name: {unit}")));
    }
    Ok(Traces {
        memory: root.path(&format!("{DIRECTORY}/{unit}.json")),
        hold: root.path(&format!("/run/systemd/system/{unit}.d/90-hapair-fault.conf")),
        timer: format!("hapair-undo-{}", unit.replace(['.', '@'], "-")),
    })
}

/// Breaks something, to be undone after `undo_after` seconds whatever becomes of us.
///
/// # Errors
/// The undo cannot be armed (then nothing was broken), or systemd does not stop the unit (then all is undone).
pub fn inject(root: &Root, fault: &Fault, undo_after: u64) -> Result<()> {
    let Fault::Stop { unit } = fault;
    let traces = traces(root, unit)?;
    if traces.memory.exists() {
        return Err(Error::new(format!("{unit} is already stopped by an earlier drill"))
            .hint("repair it first, or wait for its timer"));
    }
    let now = systemd::one(unit);
    if !now.exists() {
        return Err(Error::new(format!("there is no unit {unit} on this host")));
    }
    let program = executor::executor();
    let undo = TransientUnit {
        name: &traces.timer,
        description: "hapair: undo a drill's fault",
        command: &[&program, "undo-fault", "stop", unit],
    };
    undo.start_after(undo_after)?;
    let broken = hold(&traces, now.is_active()).and_then(|()| systemd::ctl(UnitAction::Stop, unit));
    if broken.is_err() {
        repair(root, fault)?;
    }
    broken
}

fn hold(traces: &Traces, active: bool) -> Result<()> {
    if let Some(parent) = traces.memory.parent() {
        files::private_directory(parent)?;
    }
    private_json::write_private(&traces.memory, &Before { active })?;
    if let Some(parent) = traces.hold.parent() {
        fs::create_dir_all(parent).map_err(at("create", parent))?;
    }
    let text = format!(
        "# hapair's drill holds this unit down\n[Unit]\nConditionPathExists=!{}\n",
        traces.memory.display()
    );
    files::write_atomic(&traces.hold, text.as_bytes(), Access::roots(0o644), None)?;
    systemd::daemon_reload()
}

/// Undoes a fault. One that is not there is repaired already.
///
/// # Errors
/// The unit does not come up again.
pub fn repair(root: &Root, fault: &Fault) -> Result<()> {
    let Fault::Stop { unit } = fault;
    let traces = traces(root, unit)?;
    if root.is_live() {
        systemd::quiet(UnitAction::Stop, &format!("{}.timer", traces.timer));
    }
    let Ok(text) = fs::read(&traces.memory) else {
        return Ok(());
    };
    let before: Before = serde_json::from_slice(&text).unwrap_or(Before { active: true });
    files::remove(&traces.hold)?;
    if let Some(parent) = traces.hold.parent() {
        // Only if it is empty: others may have a drop-in there.
        let _ = fs::remove_dir(parent);
    }
    files::remove(&traces.memory)?;
    if !root.is_live() {
        return Ok(());
    }
    systemd::daemon_reload()?;
    // Its package may have been removed meanwhile.
    if before.active && systemd::one(unit).exists() {
        systemd::ctl(UnitAction::Start, unit)
    } else {
        Ok(())
    }
}

/// No engine of this host is held stopped: one that is cannot be started, and its timer would start it in the midst of
/// whatever comes later.
///
/// # Errors
/// Names the unit, and how to let it go.
pub fn no_engine_held(root: &Root) -> Result<()> {
    for engine in [Engine::Agent, Engine::Keepalived] {
        let unit = engine.unit();
        if !traces(root, unit)?.memory.exists() {
            continue;
        }
        let (why, hint) = match engine {
            Engine::Keepalived => (
                "by `hapair handover --hold` or by a drill",
                "run `hapair handover --resume` to start it again, then repeat the command",
            ),
            Engine::Agent => (
                "by an unfinished drill",
                "it will be started again automatically: `systemctl list-timers 'hapair-undo-*'` on the host shows when",
            ),
        };
        return Err(Error::new(format!("{unit} is being held stopped {why}")).hint(hint));
    }
    Ok(())
}

/// hapair itself holds this unit down: a drill, or a handover with an engine that cannot hold back.
pub fn is_in_force(root: &Root, unit: &str) -> bool {
    traces(root, unit).is_ok_and(|traces| traces.memory.exists())
}

/// Undoes every fault: nothing may be left that holds a unit down when its memory goes.
///
/// # Errors
/// As [`repair`]; the others are undone all the same.
pub fn repair_all(root: &Root) -> Result<()> {
    let names = root.names(DIRECTORY);
    let mut result = Ok(());
    for unit in names.iter().filter_map(|name| name.strip_suffix(".json")) {
        let fault = Fault::Stop { unit: unit.to_owned() };
        result = result.and(repair(root, &fault));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_smuggled_in() {
        let root = Root::at("/nonexistent");
        for unit in ["", "../x", "a/b.service", "x;y", "a b"] {
            assert!(traces(&root, unit).is_err(), "{unit}");
        }
        assert_eq!(
            traces(&root, "nginx.service").unwrap().timer,
            "hapair-undo-nginx-service"
        );
    }

    #[test]
    fn a_held_engine_says_how_to_let_it_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert!(no_engine_held(&root).is_ok());
        fs::create_dir_all(root.path("/run/hapair/fault")).unwrap();
        fs::write(
            root.path("/run/hapair/fault/keepalived.service.json"),
            "{\"active\":true}",
        )
        .unwrap();
        let error = no_engine_held(&root).unwrap_err();
        assert!(
            error.message.starts_with("keepalived.service is being held stopped"),
            "{error}"
        );
        assert!(
            error.hints[0].contains("`hapair handover --resume`"),
            "{:?}",
            error.hints
        );
    }
}
