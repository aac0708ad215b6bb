//! systemd, as far as 219 has it: `systemctl` and `systemd-run`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::os::clock::now_ms;
use crate::host::os::error::{Error, Result, at};
use crate::host::os::files::Access;
use crate::host::os::{exec, files};
use crate::state::{UnitAction, UnitState};

/// A start of nginx or keepalived that takes longer hangs.
const JOB: Duration = Duration::from_secs(100);

/// How long systemd may take to accept a job.
const JOB_ACCEPTED: Duration = Duration::from_secs(20);

/// What systemd says of these units, with one call. Without systemd every unit counts as absent.
pub fn show(units: &[String]) -> BTreeMap<String, UnitState> {
    let absent = || UnitState {
        load: "not-found".into(),
        active: "inactive".into(),
        ..UnitState::default()
    };
    let mut states: BTreeMap<String, UnitState> = units.iter().map(|u| (u.clone(), absent())).collect();
    if units.is_empty() {
        return states;
    }
    let mut args = vec!["show", "-p", "Id,LoadState,ActiveState,UnitFileState,MainPID", "--"];
    args.extend(units.iter().map(String::as_str));
    let Ok(output) = exec::run("systemctl", &args, Duration::from_secs(20)) else {
        return states;
    };
    for (unit, state) in units.iter().zip(parse_show(&output.stdout)) {
        states.insert(unit.clone(), state);
    }
    states
}

/// Blocks of `key=value` lines, one block a unit, in the order asked for (an alias answers with another `Id`).
fn parse_show(text: &str) -> impl Iterator<Item = UnitState> {
    text.trim()
        .split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .map(|block| {
            let mut state = UnitState::default();
            for (key, value) in block.lines().filter_map(|l| l.split_once('=')) {
                match key {
                    "LoadState" => state.load = value.to_owned(),
                    "ActiveState" => state.active = value.to_owned(),
                    "UnitFileState" => state.enabled = value.to_owned(),
                    "MainPID" => state.main_pid = value.parse().unwrap_or(0),
                    _ => {}
                }
            }
            state
        })
}

/// One unit.
pub fn one(unit: &str) -> UnitState {
    show(&[unit.to_owned()]).remove(unit).unwrap_or_default()
}

/// When a unit last began or ceased to run, ms since 1970; `None` where nothing tells.
pub fn switched_at_ms(unit: &str) -> Option<u64> {
    let args = [
        "show",
        "-p",
        "ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic",
        "--",
        unit,
    ];
    let output = exec::run("systemctl", &args, Duration::from_secs(20)).ok()?;
    let values = output.stdout.lines().filter_map(|l| l.split_once('='));
    let last_us = values.filter_map(|(_, v)| v.trim().parse::<u64>().ok()).max()?;
    if last_us == 0 {
        // A unit that is neither wanted nor running is forgotten.
        return last_word_ms(unit);
    }
    let up = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).ok()?;
    let up_us = u64::try_from(Duration::from(up).as_micros()).ok()?;
    Some(now_ms().saturating_sub(up_us.saturating_sub(last_us) / 1000))
}

/// When the journal heard of a unit last, which is of its stop where it does not run; ms since 1970.
fn last_word_ms(unit: &str) -> Option<u64> {
    let args = ["-q", "--no-pager", "-n", "1", "-o", "json", "-u", unit];
    let output = exec::run("journalctl", &args, Duration::from_secs(10)).ok()?;
    let entry: serde_json::Value = serde_json::from_str(output.stdout.lines().next()?).ok()?;
    let micros: u64 = entry["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()?;
    Some(micros / 1000)
}

/// `systemctl VERB UNIT`, to the end of the job.
///
/// # Errors
/// The job failed; the message ends with the unit's last lines in the journal.
pub fn ctl(action: UnitAction, unit: &str) -> Result<()> {
    let verb = action.verb();
    if matches!(action, UnitAction::Start | UnitAction::Restart) {
        // systemd refuses a unit its sixth start within ten seconds, a restart after the stop: a network would stay down.
        reset_failed(unit);
    }
    let output = exec::run("systemctl", &[verb, "--", unit], JOB)?;
    if output.ok() {
        return Ok(());
    }
    let mut error = exec::failed("systemctl", &[verb, unit], &output, JOB);
    match action {
        UnitAction::Start | UnitAction::Restart | UnitAction::Reload => {
            let lines = journal(unit, 10);
            if !lines.is_empty() {
                error = error.followed_by(format_args!("; its journal: {lines}"));
            }
            error = error.hint(format!(
                "see `systemctl status {unit}` and `journalctl -u {unit}` on the host"
            ));
        }
        // The unit's journal does not explain why these fail.
        UnitAction::Stop | UnitAction::Enable | UnitAction::Disable => {}
    }
    Err(error)
}

/// `systemctl VERB UNIT` that fails without a word: for what is only tidied up.
pub fn quiet(action: UnitAction, unit: &str) {
    let _ = exec::run("systemctl", &[action.verb(), "--", unit], JOB);
}

/// `systemctl --no-block VERB UNIT`: asks for the job and does not wait for its end.
///
/// # Errors
/// systemd does not accept the job.
pub fn request(action: UnitAction, unit: &str) -> Result<()> {
    exec::must("systemctl", &["--no-block", action.verb(), "--", unit], JOB_ACCEPTED).map(drop)
}

/// `systemctl reset-failed UNIT`: systemd forgets that it failed, and how often it was started. Fails without a word, as
/// there may be nothing to forget.
pub fn reset_failed(unit: &str) {
    let _ = exec::run("systemctl", &["reset-failed", "--", unit], JOB);
}

/// `systemctl daemon-reload`.
///
/// # Errors
/// systemd did not take it.
pub fn daemon_reload() -> Result<()> {
    exec::must("systemctl", &["daemon-reload"], JOB).map(drop)
}

/// The unit's last lines, without time stamps.
pub fn journal(unit: &str, lines: usize) -> String {
    let count = lines.to_string();
    let args = ["-u", unit, "-n", &count, "--no-pager", "-o", "cat", "-q"];
    exec::run("journalctl", &args, Duration::from_secs(10))
        .map(|o| o.stdout.trim().to_owned())
        .unwrap_or_default()
}

/// A command that PID 1 runs as a unit of its own.
pub struct TransientUnit<'a> {
    /// Its name, without suffix.
    pub name: &'a str,
    /// For `systemctl status` and the journal.
    pub description: &'a str,
    /// Program and arguments.
    pub command: &'a [&'a str],
}

impl TransientUnit<'_> {
    /// Starts it now.
    ///
    /// # Errors
    /// systemd refused it.
    pub fn start(&self) -> Result<()> {
        self.run(&[])
    }

    /// Starts it after `seconds`, whatever becomes of us.
    ///
    /// # Errors
    /// systemd refused it.
    pub fn start_after(&self, seconds: u64) -> Result<()> {
        // The default accuracy of a timer is a minute.
        let after = format!("--on-active={seconds}s");
        self.run(&[&after, "--timer-property=AccuracySec=100ms"])
    }

    fn run(&self, extra: &[&str]) -> Result<()> {
        let TransientUnit {
            name,
            description,
            command,
        } = self;
        // 219 has no --collect: a failed unit of this name from before would be in the way.
        for suffix in ["service", "timer"] {
            reset_failed(&format!("{name}.{suffix}"));
        }
        let unit = format!("--unit={name}");
        let description = format!("--description={description}");
        let mut args = vec!["--quiet", &unit, &description];
        args.extend(extra);
        args.push("--");
        args.extend(*command);
        let output = exec::run("systemd-run", &args, JOB)?;
        if output.ok() {
            return Ok(());
        }
        Err(Error::new(format!("systemd-run {unit} failed: {}", output.tail(5)))
            .hint("hapair needs systemd 219 or later as PID 1 on the host"))
    }
}

/// A unit file of hapair's own, and the wish that boots start it.
fn boot_paths(unit: &str) -> (PathBuf, PathBuf) {
    let units = Path::new("/etc/systemd/system");
    (units.join(unit), units.join("multi-user.target.wants").join(unit))
}

/// Writes a unit that the next boot starts; on the disk when this returns.
///
/// # Errors
/// It cannot be written.
pub fn start_at_boot(unit: &str, text: &str) -> Result<()> {
    let (file, wish) = boot_paths(unit);
    files::write_atomic(&file, text.as_bytes(), Access::roots(0o644), None)?;
    if let Some(directory) = wish.parent() {
        fs::create_dir_all(directory).map_err(at("create", directory))?;
    }
    let _ = fs::remove_file(&wish);
    symlink(&file, &wish).map_err(at("write", &wish))?;
    files::sync_parent(&wish)
}

/// Takes such a unit away; one that is not there is fine.
pub fn forget_at_boot(unit: &str) {
    let (file, wish) = boot_paths(unit);
    let _ = fs::remove_file(wish);
    let _ = fs::remove_file(file);
}

/// Such a unit is there.
pub fn starts_at_boot(unit: &str) -> bool {
    boot_paths(unit).0.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_in_order() {
        let text = "Id=nginx.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=77\n\n\
                    Id=firewalld.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nMainPID=0\n";
        let states: Vec<UnitState> = parse_show(text).collect();
        assert!(states[0].exists() && states[0].is_active() && states[0].is_enabled() && states[0].main_pid == 77);
        assert!(!states[1].exists() && !states[1].is_active());
    }
}
