//! Runs one stored transaction as a unit of systemd's: it continues when the connection drops.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::change::reactions;
use crate::host::change::step::step;
use crate::host::control::keep_vips;
use crate::host::observe::tools::Tools;
use crate::host::os::error::Result;
use crate::host::os::root::Root;
use crate::host::record::exclusive::{MOMENT, exclusive};
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::revert_timer;
use crate::host::record::txn::{LAST, Txn, check_cancel};
use crate::host::record::undo::Log;
use crate::host::report::baseline;
use crate::host::resource::boot;
use crate::host::resource::kind::Config;
use crate::host::resource::observe::observe;
use crate::host::resource::undoing::When;
use crate::host::resource::worker::Worker;
use crate::host::transaction::archive::prune;
use crate::host::transaction::confirm::{address_after, arm_timer, await_confirm};
use crate::host::transaction::revert::{outcome, undo_all};
use crate::host::transaction::{interrupted, rollback};
use crate::state::resource::Resource;
use crate::state::{EventKind, Outcome, OutcomeKind, TxnId};

/// `hapair-agent txn ID`.
///
/// # Errors
/// The transaction cannot be read; everything later is told in its journal.
pub fn run(root: &Root, id: &TxnId) -> Result<()> {
    let txn = Txn::new(root, id);
    let request = Stored::load(&txn)?;
    let journal = Journal::open(&txn, &request.state.secrets)?;
    execute(root, &txn, &request, journal)
}

/// Runs a transaction to its end and writes `Finished`.
///
/// # Errors
/// The journal cannot be written.
pub fn execute(root: &Root, txn: &Txn, request: &Stored, journal: Journal) -> Result<()> {
    let mut journal = journal;
    let lock = exclusive(root, MOMENT);
    if lock.is_none() {
        txn.release();
        let error = "another transaction runs on this host".to_owned();
        let hints = vec!["wait for it to end, then apply again".to_owned()];
        let outcome = Outcome {
            result: OutcomeKind::Failed,
            changed: 0,
            error,
            hints,
            reboot_needed: false,
        };
        return journal.write(EventKind::Finished { outcome });
    }
    let pending = interrupted::settle(root, txn, &mut journal);
    let mut worker = Worker {
        root,
        txn,
        request,
        undo: Log::open(txn)?,
        journal,
        tools: Tools::default(),
        pending,
        validated: BTreeSet::new(),
        changed: 0,
        armed: false,
        vips_before: Vec::new(),
    };
    let done = match &request.back {
        None => steps(&mut worker),
        Some(what) => rollback::run(&mut worker, what),
    };
    txn.release();
    let outcome = match done {
        Ok(hints) => {
            let reboot_needed = request.back.is_none() && note_applied(&mut worker);
            Outcome {
                result: OutcomeKind::Done,
                changed: worker.changed,
                error: String::new(),
                hints,
                reboot_needed,
            }
        }
        Err(error) => {
            if worker.armed && !txn.turn("armed", "reverting") && txn.has("reverting") {
                // The timer was faster: it writes the end, and stops this process while it does.
                std::thread::sleep(Duration::from_secs(600));
            }
            let journal = &mut worker.journal;
            let reverted = undo_all(root, txn, When::Now, &mut |line| journal.log(line));
            if worker.armed {
                revert_timer::disarm(txn);
            }
            outcome(reverted, error)
        }
    };
    worker.journal.write(EventKind::Finished { outcome })?;
    prune(root);
    Ok(())
}

/// Takes note of what an apply left, for drift and rollback. Returns whether a reboot is needed.
fn note_applied(worker: &mut Worker<'_>) -> bool {
    let state = &worker.request.state;
    let resources: Vec<&Resource> = state.resources.iter().collect();
    let observed = observe(worker.root, &resources, &mut worker.tools);
    if worker.changed > 0 {
        let _ = worker.undo.keep(&worker.root.path(LAST));
        worker.undo.all_done();
    }
    baseline::write(worker.root, &worker.txn.id, state, &resources, &observed);
    boot::needed(&resources, &observed, Config::InPlace)
}

fn steps(worker: &mut Worker<'_>) -> Result<Vec<String>> {
    let request = worker.request;
    for stage in &request.stages {
        let resources: Vec<&Resource> = request.state.resources.iter().filter(|r| r.stage == *stage).collect();
        let before = worker.changed;
        let mut announced = false;
        worker.validated.clear();
        for resource in &resources {
            check_cancel(worker.txn)?;
            step(worker, resource, &resources, *stage, &mut announced, arm_timer)?;
        }
        reactions::run_pending(worker)?;
        if worker.armed {
            let engine = worker.request.state.engine;
            let journal = &mut worker.journal;
            keep_vips::keep_vips(engine, &worker.vips_before, &mut |line| journal.log(line))?;
            await_confirm(worker, address_after(worker))?;
        }
        if worker.changed > before {
            check_cancel(worker.txn)?;
        }
    }
    Ok(Vec::new())
}
