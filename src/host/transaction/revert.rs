//! Putting back what a transaction replaced.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::host::control::keep_vips;
use crate::host::observe::facts::net;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::{exec, files, systemd};
use crate::host::record::exclusive::exclusive;
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::revert_timer;
use crate::host::record::txn::Txn;
use crate::host::record::undo::{self, Undo};
use crate::host::resource;
use crate::state::{EventKind, Outcome, OutcomeKind, Reaction, TxnId};

/// Puts everything back: files first, newest change first; then what reads them. Goes on after a failure, so that as
/// much as possible is as it was; returns what stays changed, for the operator.
///
/// # Errors
/// What could not be put back.
pub fn put_back(root: &Root, txn: &Txn, boot: bool, log: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let mut entries = undo::read(txn);
    entries.reverse();
    put_back_entries(root, txn, &entries, boot, log)
}

/// The same with entries (newest first) that the caller has read, and seen fit to change.
///
/// # Errors
/// What could not be put back.
pub(crate) fn put_back_entries(
    root: &Root,
    txn: &Txn,
    entries: &[Undo],
    boot: bool,
    log: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let mut failures: Vec<String> = Vec::new();
    let mut tried = |result: Result<()>, log: &mut dyn FnMut(&str)| {
        if let Err(error) = result {
            log(&format!("while reverting: {error}"));
            failures.push(error.message);
        }
    };
    if root.is_live() && !boot {
        // Before its files are put back: a running firewalld remembers, and would write what it remembers.
        for entry in entries {
            tried(put_back_firewall(entry), log);
        }
    }
    let units = units_before(entries);
    if root.is_live() {
        // While their unit files are still there, and with the configuration that they run with.
        for (unit, before) in &units {
            tried(stop_unit(unit, before, boot), log);
        }
    }
    let mut stays = Vec::new();
    let mut units_changed = false;
    for entry in entries {
        match entry {
            Undo::Path { path, saved } => {
                units_changed |= path.components().any(|c| c.as_os_str() == "systemd");
                log(&format!("put back {}", path.display()));
                tried(files::restore(path, saved, &txn.old()), log);
            }
            Undo::Renamed { from, to } if to.exists() => {
                let renamed = std::fs::rename(to, from);
                tried(renamed.map_err(|e| Error::io("rename back", to, &e)), log);
            }
            entry => stays.extend(entry.stays(root)),
        }
    }
    if root.is_live() {
        let state = Stored::load(txn).map(|request| request.state).unwrap_or_default();
        let vips: Vec<String> = state.instances.iter().flat_map(|i| i.vips.iter().cloned()).collect();
        let vips = net::owned(&vips);
        if units_changed
            || entries.contains(&Undo::Reaction {
                reaction: Reaction::DaemonReload,
            })
        {
            tried(systemd::daemon_reload(), log);
        }
        for entry in entries {
            tried(put_back_system(entry, boot, log), log);
        }
        for (unit, before) in &units {
            tried(start_unit(unit, before, boot), log);
        }
        if !boot {
            for entry in entries {
                tried(put_back_reaction(entry), log);
            }
        }
        if !boot && entries.iter().any(|e| matches!(e, Undo::Network { .. })) {
            let kept = keep_vips::keep_vips(state.engine, &vips, log);
            tried(kept, log);
        }
    }
    if failures.is_empty() {
        Ok(stays)
    } else {
        Err(Error::new(failures.join("; ")))
    }
}

/// Takes out of a running firewalld what was added, permanently and now, or puts in again what was taken out.
fn put_back_firewall(entry: &Undo) -> Result<()> {
    let Undo::Firewall { zone, options } = entry else {
        return Ok(());
    };
    if !systemd::one("firewalld.service").is_active() {
        return Ok(());
    }
    let zone = format!("--zone={zone}");
    let mut failures = Vec::new();
    for option in options {
        let inverse = inverse(option);
        for args in [&["--permanent", &zone, &inverse][..], &[&zone, &inverse]] {
            let limit = Duration::from_secs(60);
            let told = exec::run("firewall-cmd", args, limit).and_then(|output| judge_firewall(args, &output, limit));
            failures.extend(told.err().map(|error| error.message));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Error::new(failures.join("; ")))
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
pub(crate) fn inverse(option: &str) -> String {
    match option.strip_prefix("--remove-") {
        Some(what) => format!("--add-{what}"),
        None => option.replacen("--add-", "--remove-", 1),
    }
}

/// Network, names, SELinux.
fn put_back_system(entry: &Undo, boot: bool, log: &mut dyn FnMut(&str)) -> Result<()> {
    let limit = Duration::from_secs(60);
    match entry {
        // At boot the network comes up later, from the file that is back in place.
        Undo::Network {
            manager,
            interface,
            path,
        } if !boot => resource::network::activate(*manager, interface, Path::new(path), log),
        Undo::Hostname { running } => {
            nix::unistd::sethostname(running).map_err(|e| Error::new(format!("cannot set the host name back: {e}")))
        }
        Undo::Selinux { enforcing } => exec::must("setenforce", &[if *enforcing { "1" } else { "0" }], limit).map(drop),
        Undo::Boolean { name, value } => {
            exec::must("setsebool", &["-P", name, if *value { "on" } else { "off" }], limit).map(drop)
        }
        _ => Ok(()),
    }
}

/// A unit before the transaction.
pub(crate) struct Before {
    /// It ran.
    pub(crate) active: bool,
    /// It started at boot.
    pub(crate) enabled: bool,
}

/// Units as they were before the first of these entries, which come newest first.
pub(crate) fn units_before(entries: &[Undo]) -> BTreeMap<&str, Before> {
    let mut units = BTreeMap::new();
    for entry in entries {
        if let Undo::Unit { unit, active, enabled } = entry {
            let before = Before {
                active: *active,
                enabled: matches!(enabled.as_str(), "enabled" | "enabled-runtime"),
            };
            units.insert(unit.as_str(), before);
        }
    }
    units
}

/// Off again, what did not run or start at boot before.
fn stop_unit(unit: &str, before: &Before, boot: bool) -> Result<()> {
    let now = systemd::one(unit);
    if !before.enabled && now.is_enabled() {
        systemd::quiet("disable", unit);
    }
    match boot {
        _ if before.active || !now.exists() => Ok(()),
        // A job that waits would wait for this very boot.
        true => exec::run("systemctl", &["--no-block", "stop", "--", unit], JOB_SENT).map(drop),
        false if now.is_active() => systemd::ctl("stop", unit),
        false => Ok(()),
    }
}

/// On again, what ran or started at boot before.
fn start_unit(unit: &str, before: &Before, boot: bool) -> Result<()> {
    let now = systemd::one(unit);
    if !now.exists() {
        return Ok(());
    }
    if before.enabled && !now.is_enabled() {
        systemd::quiet("enable", unit);
    }
    match boot {
        _ if !before.active => Ok(()),
        true => exec::run("systemctl", &["--no-block", "start", "--", unit], JOB_SENT).map(drop),
        false if !now.is_active() => systemd::ctl("start", unit),
        false => Ok(()),
    }
}

/// How long systemd may take to accept a job.
const JOB_SENT: Duration = Duration::from_secs(20);

fn put_back_reaction(entry: &Undo) -> Result<()> {
    match entry {
        Undo::Reaction {
            reaction: Reaction::Reload { unit },
        } if systemd::one(unit).is_active() => systemd::ctl("reload", unit),
        Undo::Reaction {
            reaction: Reaction::Restart { unit },
        } if systemd::one(unit).is_active() => systemd::ctl("restart", unit),
        _ => Ok(()),
    }
}

/// What a revert says at the end of the journal.
pub(crate) fn outcome(reverted: Result<Vec<String>>, error: Error) -> Outcome {
    let mut hints = error.hints;
    let (result, message) = match reverted {
        Ok(stays) => {
            hints.extend(stays);
            (OutcomeKind::Reverted, error.message)
        }
        Err(failed) => {
            hints.push("look at the host by hand: the old files are in its transaction's directory `old`".into());
            (
                OutcomeKind::Failed,
                format!("{}; putting things back failed too: {}", error.message, failed.message),
            )
        }
    };
    Outcome {
        result,
        changed: 0,
        error: message,
        hints,
        reboot_needed: false,
    }
}

/// How long a revert waits for another transaction; it must come, so then it goes ahead.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// `hapair-agent revert ID`: called by the timer or at boot. Nothing happens if the confirm came first.
///
/// # Errors
/// The transaction cannot be read, or not everything could be put back.
pub fn by_timer(root: &Root, id: &TxnId, boot: bool) -> Result<()> {
    let txn = Txn::new(root, id);
    if !txn.turn("armed", "reverting") {
        return Ok(());
    }
    if !boot {
        // It waits for the confirm that did not come, or hangs in the very step that is being reverted.
        systemd::quiet("stop", &format!("{}.service", txn.unit()));
    }
    txn.release();
    // No other transaction may converge while this one puts back; what was just stopped gives the lock up at once.
    let _lock = exclusive(root, LOCK_PATIENCE);
    let request = Stored::load(&txn)?;
    let mut journal = Journal::open(&txn, &request.state.secrets)?;
    let reverted = put_back(root, &txn, boot, &mut |line| journal.log(line));
    let why = if boot {
        Error::new("the host restarted before the change was confirmed")
    } else {
        Error::new(format!(
            "the change was not confirmed within {} s",
            request.confirm_timeout
        ))
        .hint("the host was not reachable after the change, or the controller was interrupted")
        .hint("check address, gateway and switch port, then apply again")
    };
    let outcome = outcome(reverted, why);
    let failed = (outcome.result == OutcomeKind::Failed).then(|| outcome.error.clone());
    journal.write(EventKind::Finished { outcome })?;
    revert_timer::remove_guard(&txn);
    failed.map_or(Ok(()), |message| Err(Error::new(message)))
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
