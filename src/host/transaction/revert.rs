//! Undoing a transaction: applies its undo records.

use std::time::Duration;

use crate::host::control::keep_vips;
use crate::host::observe::facts::net;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::host::record::exclusive::exclusive;
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::revert_timer;
use crate::host::record::txn::Txn;
use crate::host::record::undo::{self, Undo};
use crate::host::resource::undoing::{Undoing, When};
use crate::host::resource::undoings;
use crate::host::resource::unit_before::{self, units_before};
use crate::state::{EventKind, Outcome, OutcomeKind, TxnId, UnitAction};

/// Undoes everything: files first, newest change first; then what reads them. Continues after a failure, so that as
/// much as possible is as it was; returns what stays changed, for the operator.
///
/// # Errors
/// What could not be undone.
pub fn undo_all(root: &Root, txn: &Txn, when: When, log: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let mut entries = undo::read(txn);
    entries.reverse();
    undo_entries(root, txn, &entries, when, log)
}

/// The same with entries (newest first) that the caller has read, and seen fit to change.
///
/// # Errors
/// What could not be undone.
pub(crate) fn undo_entries(
    root: &Root,
    txn: &Txn,
    entries: &[Undo],
    when: When,
    log: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let mut failures: Vec<String> = Vec::new();
    let mut tried = |result: Result<()>, log: &mut dyn FnMut(&str)| {
        if let Err(error) = result {
            log(&format!("while reverting: {error:#}"));
            failures.push(error.in_full());
        }
    };
    let undoings: Vec<Box<dyn Undoing + '_>> = entries.iter().map(undoings::of).collect();
    if root.is_live() && when == When::Now {
        for entry in &undoings {
            tried(entry.before_files(), log);
        }
    }
    let units = units_before(entries);
    if root.is_live() {
        // While their unit files are still there, and with the configuration that they run with.
        for (unit, before) in &units {
            tried(unit_before::stop(unit, before, when), log);
        }
    }
    let mut stays = Vec::new();
    for entry in &undoings {
        tried(entry.files(&txn.old(), log), log);
        stays.extend(entry.stays(root));
    }
    if root.is_live() {
        let state = Stored::load(txn).map(|request| request.state).unwrap_or_default();
        let vips: Vec<String> = state.instances.iter().flat_map(|i| i.vips.iter().cloned()).collect();
        let vips = net::owned(&vips);
        if undoings.iter().any(|entry| entry.changes_units()) {
            tried(systemd::daemon_reload(), log);
        }
        for entry in &undoings {
            tried(entry.system(when, log), log);
        }
        for (unit, before) in &units {
            tried(unit_before::start(unit, before, when), log);
        }
        if when == When::Now {
            for entry in &undoings {
                tried(entry.readers(), log);
            }
        }
        if when == When::Now && undoings.iter().any(|entry| entry.interface().is_some()) {
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

/// What a revert says at the end of the journal.
pub(crate) fn outcome(reverted: Result<Vec<String>>, error: Error) -> Outcome {
    let why = error.in_full();
    let mut hints = error.hints;
    let (result, message) = match reverted {
        Ok(stays) => {
            hints.extend(stays);
            (OutcomeKind::Reverted, why)
        }
        Err(failed) => {
            hints.push("inspect the host: the old files are in the transaction's directory `old`".into());
            (
                OutcomeKind::Failed,
                format!("{why}; reverting it failed too: {failed:#}"),
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
/// The transaction cannot be read, or not everything could be undone.
pub fn by_timer(root: &Root, id: &TxnId, when: When) -> Result<()> {
    let txn = Txn::new(root, id);
    if !txn.turn("armed", "reverting") {
        return Ok(());
    }
    if when == When::Now {
        // It waits for the confirm that did not come, or hangs in the very step that is being reverted.
        systemd::quiet(UnitAction::Stop, &format!("{}.service", txn.unit()));
    }
    txn.release();
    // No other transaction may converge during the revert; a process that was just stopped gives the lock up at once.
    let _lock = exclusive(root, LOCK_PATIENCE);
    let request = Stored::load(&txn)?;
    let mut journal = Journal::open(&txn, &request.state.secrets)?;
    let reverted = undo_all(root, &txn, when, &mut |line| journal.log(line));
    let why = if when == When::AtBoot {
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
