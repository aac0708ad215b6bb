//! Putting back what a transaction replaced.

use std::path::Path;
use std::time::Duration;

use super::undo::{self, Undo};
use super::{Journal, Stored, Txn, arm};
use crate::host::converge;
use crate::host::error::{Error, Result};
use crate::host::root::Root;
use crate::host::{engine, exec, facts, place, systemd};
use crate::state::{EventKind, Outcome, OutcomeKind, Reaction, TxnId};

/// Puts everything back: files first, newest change first; then what reads them. Goes on after a failure, so that as
/// much as possible is as it was; returns what stays changed, for the operator.
///
/// # Errors
/// What could not be put back.
pub fn put_back(root: &Root, txn: &Txn, boot: bool, log: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let mut entries = undo::read(txn);
    entries.reverse();
    let mut failures: Vec<String> = Vec::new();
    let mut tried = |result: Result<()>, log: &mut dyn FnMut(&str)| {
        if let Err(error) = result {
            log(&format!("while reverting: {error}"));
            failures.push(error.message);
        }
    };
    if root.is_live() && !boot {
        // Before its files are put back: a running firewalld remembers, and would write what it remembers.
        for entry in &entries {
            tried(put_back_firewall(entry), log);
        }
    }
    let mut stays = Vec::new();
    let mut units_changed = false;
    for entry in &entries {
        match entry {
            Undo::Path { path, saved } => {
                units_changed |= path.components().any(|c| c.as_os_str() == "systemd");
                log(&format!("put back {}", path.display()));
                tried(place::restore(path, saved, &txn.old()), log);
            }
            Undo::Renamed { from, to } if to.exists() => {
                let renamed = std::fs::rename(to, from);
                tried(renamed.map_err(|e| Error::io("rename back", to, &e)), log);
            }
            Undo::Stays { text } => stays.push(text.clone()),
            _ => {}
        }
    }
    if root.is_live() {
        let state = Stored::load(txn).map(|request| request.state).unwrap_or_default();
        let vips: Vec<String> = state.instances.iter().flat_map(|i| i.vips.iter().cloned()).collect();
        let vips = facts::owned(&vips);
        if units_changed
            || entries.contains(&Undo::Reaction {
                reaction: Reaction::DaemonReload,
            })
        {
            tried(systemd::daemon_reload(), log);
        }
        for entry in &entries {
            tried(put_back_system(entry, boot, log), log);
        }
        for entry in &entries {
            tried(put_back_unit(entry, boot), log);
        }
        if !boot && entries.iter().any(|e| matches!(e, Undo::Network { .. })) {
            let kept = engine::keep_vips(state.engine, &vips, log);
            tried(kept, log);
        }
    }
    if failures.is_empty() {
        Ok(stays)
    } else {
        Err(Error::new(failures.join("; ")))
    }
}

/// Takes out of a running firewalld what was added, permanently and now.
fn put_back_firewall(entry: &Undo) -> Result<()> {
    let Undo::Firewall { zone, options } = entry else {
        return Ok(());
    };
    if !systemd::one("firewalld.service").is_active() {
        return Ok(());
    }
    let zone = format!("--zone={zone}");
    for option in options {
        let remove = option.replacen("--add-", "--remove-", 1);
        // What is not there is a warning with exit code 0.
        exec::run(
            "firewall-cmd",
            &["--permanent", &zone, &remove],
            Duration::from_secs(60),
        )?;
        exec::run("firewall-cmd", &[&zone, &remove], Duration::from_secs(60))?;
    }
    Ok(())
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
        } if !boot => converge::network::activate(*manager, interface, Path::new(path), log),
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

fn put_back_unit(entry: &Undo, boot: bool) -> Result<()> {
    match entry {
        Undo::Unit { unit, active, enabled } => {
            let now = systemd::one(unit);
            if !now.exists() {
                return Ok(());
            }
            let was_enabled = matches!(enabled.as_str(), "enabled" | "enabled-runtime");
            if was_enabled != now.is_enabled() {
                systemd::quiet(if was_enabled { "enable" } else { "disable" }, unit);
            }
            match (*active, now.is_active()) {
                // A start that waits would wait for this very boot.
                (wanted, _) if boot => {
                    let verb = if wanted { "start" } else { "stop" };
                    exec::run("systemctl", &["--no-block", verb, "--", unit], Duration::from_secs(20)).map(drop)
                }
                (true, false) => systemd::ctl("start", unit),
                (false, true) => systemd::ctl("stop", unit),
                _ => Ok(()),
            }
        }
        Undo::Reaction {
            reaction: Reaction::Reload { unit },
        } if !boot && systemd::one(unit).is_active() => systemd::ctl("reload", unit),
        Undo::Reaction {
            reaction: Reaction::Restart { unit },
        } if !boot && systemd::one(unit).is_active() => systemd::ctl("restart", unit),
        _ => Ok(()),
    }
}

/// What a revert says at the end of the journal.
pub(super) fn outcome(reverted: Result<Vec<String>>, error: Error) -> Outcome {
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
    let request = Stored::load(&txn)?;
    let mut journal = Journal::open(&txn.file("journal"), &request.state.secrets)?;
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
    arm::remove_guard(&txn);
    failed.map_or(Ok(()), |message| Err(Error::new(message)))
}
