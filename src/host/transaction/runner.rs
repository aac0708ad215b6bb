//! Runs one stored transaction, as a unit of PID 1's: it goes on when the connection dies.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::host::change::{reactions, staging};
use crate::host::control::keep_vips;
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::record::exclusive::{MOMENT, exclusive};
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::revert_timer;
use crate::host::record::txn::{LAST, Txn, check_cancel};
use crate::host::record::undo::Log;
use crate::host::report::baseline;
use crate::host::resource::diff::{Context, diff};
use crate::host::resource::kind::Config;
use crate::host::resource::observe::observe;
use crate::host::resource::undoing::When;
use crate::host::resource::worker::Worker;
use crate::host::resource::{boot, converge, kinds};
use crate::host::transaction::archive::prune;
use crate::host::transaction::confirm::{address_after, arm_timer, await_confirm};
use crate::host::transaction::revert::{outcome, put_back};
use crate::host::transaction::{interrupted, rollback};
use crate::state::resource::{Resource, Stage};
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
    let armed = worker.armed;
    let Worker {
        mut journal,
        mut undo,
        changed,
        mut tools,
        ..
    } = worker;
    let outcome = match done {
        Ok(hints) if request.back.is_some() => Outcome {
            result: OutcomeKind::Done,
            changed,
            error: String::new(),
            hints,
            reboot_needed: false,
        },
        Ok(hints) => {
            let resources: Vec<&Resource> = request.state.resources.iter().collect();
            let observed = observe(root, &resources, &mut tools);
            if changed > 0 {
                let _ = undo.keep(&root.path(LAST));
                undo.all_done();
            }
            baseline::write(root, &txn.id, &request.state, &resources, &observed);
            Outcome {
                result: OutcomeKind::Done,
                changed,
                error: String::new(),
                hints,
                reboot_needed: boot::needed(&resources, &observed, Config::InPlace),
            }
        }
        Err(error) => {
            if armed && !txn.turn("armed", "reverting") && txn.has("reverting") {
                // The timer was faster: it writes the end, and stops this process while it does.
                std::thread::sleep(Duration::from_secs(600));
            }
            let reverted = put_back(root, txn, When::Now, &mut |line| journal.log(line));
            if armed {
                revert_timer::disarm(txn);
            }
            outcome(reverted, error)
        }
    };
    journal.write(EventKind::Finished { outcome })?;
    prune(root);
    Ok(())
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
            step(worker, resource, &resources, *stage, &mut announced)?;
        }
        reactions::all(worker)?;
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

/// Observes one resource anew, and if it is not as desired, converges it and looks again.
fn step(
    worker: &mut Worker<'_>,
    resource: &Resource,
    stage_resources: &[&Resource],
    stage: Stage,
    announced: &mut bool,
) -> Result<()> {
    let named = |error: Error| error.context(&resource.id);
    let request = worker.request;
    worker.tools = Tools::default();
    let Some(observed) = observe(worker.root, &[resource], &mut worker.tools).pop() else {
        return Ok(());
    };
    let context = Context {
        secrets: &request.state.secrets,
        engine_active: false,
    };
    let Some(change) = diff(resource, &observed, &context) else {
        return Ok(());
    };
    if !*announced {
        *announced = true;
        worker.journal.write(EventKind::StageStarted { stage })?;
    }
    if resource.cuts_ssh && !worker.armed && worker.root.is_live() {
        arm_timer(worker).map_err(named)?;
    }
    let started = Instant::now();
    worker.journal.write(EventKind::ResourceStarted {
        resource: resource.id.clone(),
        summary: change.summary,
    })?;
    staging::validate_group(worker, resource, stage_resources).map_err(named)?;
    if let Some(reaction) = kinds::of(&resource.spec).needs_first() {
        reactions::now(worker, &reaction).map_err(named)?;
    }
    converge::converge(worker, resource, &observed).map_err(named)?;
    worker.undo.step_done();
    worker.tools = Tools::default();
    let after = observe(worker.root, &[resource], &mut worker.tools).pop();
    if let Some(left) = after.and_then(|o| diff(resource, &o, &context)) {
        return Err(named(
            Error::new(format!("still not as desired after the change: {}", left.summary))
                .hint("something else on the host writes the same thing; find out what"),
        ));
    }
    worker.pending.extend(resource.reactions.iter().cloned());
    worker.changed += 1;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    worker.journal.write(EventKind::ResourceDone {
        resource: resource.id.clone(),
        took_ms,
    })
}
