//! Putting transactions back that were done: a rollback is a transaction of its own, with an undo log of its own, so
//! that one that fails, is killed or is not confirmed leaves the host as it was before it.

use std::net::IpAddr;

use crate::host::observe::facts::{net, system};
use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::os::{rpm_erase, systemd};
use crate::host::record::history::ROLLED_BACK;
use crate::host::record::txn::{Txn, check_cancel};
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::worker::Worker;
use crate::host::transaction::confirm::{arm_timer, await_confirm};
use crate::host::transaction::revert::{inverse, put_back_entries};
use crate::host::transaction::rollback_targets::{Target, targets};
use crate::host::transaction::{rollback_plan, uninstall};
use crate::state::{EventKind, Goal, PutBack, SelinuxMode, TxnId};

/// Puts the transactions back, newest first. Returns what stays, for the operator.
///
/// # Errors
/// What failed; the worker's undo log then leads back to where this began.
pub(crate) fn run(worker: &mut Worker<'_>, what: &PutBack) -> Result<Vec<String>> {
    let root = worker.root;
    let planned = rollback_plan::plan(root, what)?.plan;
    let targets = targets(root, what)?;
    if root.is_live() && targets.iter().any(Target::cuts_ssh) {
        arm_timer(worker)?;
    }
    let forgotten = crate::host::record::archive::read(root);
    for target in &targets {
        check_cancel(worker.txn)?;
        let began = std::time::Instant::now();
        let resource = format!("transaction {}", target.txn.id);
        worker.journal.write(EventKind::ResourceStarted {
            resource: resource.clone(),
            summary: "put back what it replaced".to_owned(),
        })?;
        for entry in &target.entries {
            capture(root, &mut worker.undo, entry)?;
        }
        let journal = &mut worker.journal;
        put_back_entries(root, &target.txn, &target.entries, false, &mut |line| {
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
        uninstall::take_off(root, &mut worker.undo, &forgotten, &mut |line| journal.log(line))?;
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
            Err(error) => stays.push(format!("packages stay installed: {error}")),
        }
    }
    Ok(stays)
}

/// This transaction is put back as soon as the other, of this id, is done.
fn mark(txn: &Txn, by: &TxnId) -> Result<()> {
    let path = txn.file(ROLLED_BACK);
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    crate::host::os::files::file(&path, by.as_str().as_bytes(), 0o600, uid, gid, None)
}

/// Takes note of what is there now, so that putting `entry` back can itself be undone.
fn capture(root: &Root, undo: &mut Log, entry: &Undo) -> Result<()> {
    match entry {
        Undo::Path { path, .. } => undo.keep(path),
        Undo::Renamed { from, to } if to.exists() => {
            undo.keep(from)?;
            undo.add(&Undo::Renamed {
                from: to.clone(),
                to: from.clone(),
            })
        }
        Undo::Unit { unit, .. } if root.is_live() => {
            let now = systemd::one(unit);
            undo.add(&Undo::Unit {
                unit: unit.clone(),
                active: now.is_active(),
                enabled: now.enabled,
            })
        }
        Undo::Reaction { .. } | Undo::Network { .. } => undo.add(entry),
        Undo::Hostname { .. } => undo.add(&Undo::Hostname {
            running: root.line("/proc/sys/kernel/hostname"),
        }),
        Undo::Selinux { .. } => undo.add(&Undo::Selinux {
            enforcing: system::selinux_runtime(root) == SelinuxMode::Enforcing,
        }),
        Undo::Boolean { name, .. } => undo.add(&Undo::Boolean {
            name: name.clone(),
            value: root.line(&format!("/sys/fs/selinux/booleans/{name}")).starts_with('1'),
        }),
        Undo::Firewall { zone, options } => undo.add(&Undo::Firewall {
            zone: zone.clone(),
            options: options.iter().map(|o| inverse(o)).collect(),
        }),
        Undo::Renamed { .. }
        | Undo::Unit { .. }
        | Undo::Installed { .. }
        | Undo::CameAlong { .. }
        | Undo::Stays { .. } => Ok(()),
    }
}

/// Where the host is to be found once its old network is back; empty: where it was.
fn address_after(worker: &Worker<'_>, targets: &[Target]) -> String {
    let entries = targets.iter().flat_map(|target| &target.entries);
    let interfaces = entries.filter_map(|entry| match entry {
        Undo::Network { interface, .. } => Some(interface),
        _ => None,
    });
    let state = &worker.request.state;
    let is_vip = |address: &str| state.instances.iter().any(|i| i.vips.iter().any(|v| v == address));
    let addresses = interfaces.flat_map(|name| net::addresses_of(name));
    let plain = addresses.filter_map(|a| Some(a.split_once('/')?.0.to_owned()));
    let mut fit = plain.filter(|a| a.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) && !is_vip(a));
    fit.next().unwrap_or_default()
}
