//! Putting transactions back that were done: a rollback is a transaction of its own, with an undo log of its own, so
//! that one that fails, is killed or is not confirmed leaves the host as it was before it.

use std::net::IpAddr;

use crate::host::observe::facts::net;
use crate::host::os::error::Result;
use crate::host::os::files::Access;
use crate::host::os::{files, rpm_erase};
use crate::host::record::history::ROLLED_BACK;
use crate::host::record::txn::{Txn, check_cancel};
use crate::host::resource::undoing::When;
use crate::host::resource::undoings;
use crate::host::resource::worker::Worker;
use crate::host::transaction::confirm::{arm_timer, await_confirm};
use crate::host::transaction::revert::undo_entries;
use crate::host::transaction::rollback_targets::{Target, targets};
use crate::host::transaction::{archive, rollback_plan, uninstall};
use crate::state::{EventKind, Goal, HostRollback, TxnId};

/// Puts the transactions back, newest first. Returns what stays, for the operator.
///
/// # Errors
/// What failed; the worker's undo log then leads back to where this began.
pub(crate) fn run(worker: &mut Worker<'_>, what: &HostRollback) -> Result<Vec<String>> {
    let root = worker.root;
    let planned = rollback_plan::plan(root, what)?.plan;
    let targets = targets(root, what)?;
    if root.is_live() && targets.iter().any(Target::cuts_ssh) {
        arm_timer(worker)?;
    }
    let forgotten = archive::read(root);
    for target in &targets {
        check_cancel(worker.txn)?;
        let began = std::time::Instant::now();
        let resource = format!("transaction {}", target.txn.id);
        worker.journal.write(EventKind::ResourceStarted {
            resource: resource.clone(),
            summary: "roll back what it changed".to_owned(),
        })?;
        for entry in &target.entries {
            undoings::of(entry).capture(root, &mut worker.undo)?;
        }
        let journal = &mut worker.journal;
        undo_entries(root, &target.txn, &target.entries, When::Now, &mut |line| {
            journal.log(line);
        })?;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        worker.journal.write(EventKind::ResourceDone { resource, took_ms })?;
    }
    worker.changed = planned.changes.len();
    check_cancel(worker.txn)?;
    if worker.armed {
        await_confirm(worker, address_after(worker, &targets))?;
    }
    let mut stays = planned.notes.clone();
    if what.goal != Goal::Rollback {
        let journal = &mut worker.journal;
        uninstall::run(root, &mut worker.undo, &forgotten, &mut |line| journal.log(line))?;
    }
    for target in &targets {
        mark(&target.txn, &worker.txn.id)?;
    }
    if what.goal == Goal::RemoveWithPackages {
        // Not to be undone, so it comes last, and what fails is told.
        let journal = &mut worker.journal;
        match rpm_erase::run(root, &rollback_plan::installed(root, &forgotten), &mut |line| {
            journal.log(line)
        }) {
            Ok(left) => stays.extend(left.into_iter().filter(|text| !planned.notes.contains(text))),
            Err(error) => stays.push(format!("packages stay installed: {error:#}")),
        }
    }
    Ok(stays)
}

/// This transaction counts as rolled back as soon as the other, of this id, is done.
fn mark(txn: &Txn, by: &TxnId) -> Result<()> {
    let path = txn.file(ROLLED_BACK);
    files::write_atomic(&path, by.as_str().as_bytes(), Access::ours(0o600), None)
}

/// Where the host is to be found once its old network is back; empty: where it was.
fn address_after(worker: &Worker<'_>, targets: &[Target]) -> String {
    let entries = targets.iter().flat_map(|target| &target.entries);
    let interfaces = entries.filter_map(|entry| undoings::of(entry).interface().map(str::to_owned));
    let state = &worker.request.state;
    let is_vip = |address: &str| state.instances.iter().any(|i| i.vips.iter().any(|v| v == address));
    let addresses = interfaces.flat_map(|name| net::addresses_of(&name));
    let plain = addresses.filter_map(|a| Some(a.split_once('/')?.0.to_owned()));
    let mut fit = plain.filter(|a| a.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) && !is_vip(a));
    fit.next().unwrap_or_default()
}
