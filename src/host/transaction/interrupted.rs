//! Transactions that were killed. What they had placed is whole (files are renamed into place) and is converged further
//! by the next apply, which would put it there again; what they had yet to set off is made up for.
//!
//! A killed revert is another thing: it is run again.

use std::collections::BTreeSet;

use crate::host::os::error::Error;
use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::host::record::history::{INTERRUPTED, started};
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::revert_timer::revert_unit;
use crate::host::record::txn::{Txn, all};
use crate::host::resource::undoing::When;
use crate::host::transaction::revert::{outcome, undo_all};
use crate::state::resource::Stage;
use crate::state::{Change, EventKind, Outcome, OutcomeKind, Reaction};

/// Transactions without an end that nobody works on.
fn interrupted(root: &Root) -> Vec<Txn> {
    let open = |txn: &Txn| !txn.is_finished() && !txn.has("armed") && txn.has("request.json");
    let works = |unit: String| systemd::one(&format!("{unit}.service")).is_active();
    let dead = |txn: &Txn| !root.is_live() || !(works(txn.unit()) || works(revert_unit(txn)));
    all(root).into_iter().filter(|txn| open(txn) && dead(txn)).collect()
}

/// Killed in a revert, or a rollback: both are undone completely, so that what is in force is what the history says.
fn is_to_be_undone(txn: &Txn) -> bool {
    txn.has("reverting") || Stored::load(txn).is_ok_and(|request| request.back.is_some())
}

/// What a killed transaction may have left to do.
#[derive(Default)]
struct Left {
    /// Of what it had started to change, in its order.
    stages: Vec<Stage>,
    /// What that sets off, and perhaps did not.
    reactions: BTreeSet<Reaction>,
    /// What decides the election is among it: an engine may run with what is no longer in its file.
    election_critical: bool,
}

fn left(txn: &Txn) -> Left {
    let Ok(request) = Stored::load(txn) else {
        return Left::default();
    };
    let resources = started(txn, &request);
    Left {
        stages: resources.iter().map(|r| r.stage).collect(),
        reactions: resources.iter().flat_map(|r| r.reactions.iter().cloned()).collect(),
        election_critical: resources.iter().any(|r| r.election_critical),
    }
}

fn named(reaction: &Reaction) -> String {
    match reaction {
        Reaction::Reload { unit } => format!("reload {unit}"),
        Reaction::Restart { unit } => format!("restart {unit}"),
        Reaction::DaemonReload => "daemon-reload".to_owned(),
        Reaction::MakeCache => "rebuild package metadata".to_owned(),
    }
}

/// What an apply has to make up for, as changes of a plan: files may be as desired already while what reads them still
/// runs with the old ones. `engine_active`: an engine is in election, perhaps with an older configuration.
pub fn changes(root: &Root, engine_active: bool) -> Vec<Change> {
    let describe = |txn: Txn| {
        let left = left(&txn);
        let again = is_to_be_undone(&txn);
        let todo: Vec<String> = left.reactions.iter().map(named).collect();
        let summary = if again {
            "revert what it changed".to_owned()
        } else {
            todo.join(", ")
        };
        (again || !todo.is_empty()).then(|| Change {
            resource: format!("interrupted transaction {}", txn.id),
            // What is undone may be of any stage, so it comes before what every stage has to do.
            stage: if again {
                Stage::Hostname
            } else {
                left.stages.last().copied().unwrap_or(Stage::Vrrp)
            },
            summary,
            diff: None,
            cuts_ssh: false,
            election_critical: engine_active && left.election_critical,
        })
    };
    interrupted(root).into_iter().filter_map(describe).collect()
}

/// Ends every killed transaction; returns what is to be set off.
pub(crate) fn settle(root: &Root, current: &Txn, journal: &mut Journal) -> BTreeSet<Reaction> {
    let mut pending = BTreeSet::new();
    for txn in interrupted(root).into_iter().filter(|txn| txn.id != current.id) {
        let Ok(request) = Stored::load(&txn) else { continue };
        let end = if is_to_be_undone(&txn) {
            journal.log(&format!(
                "transaction {} was killed before it finished; reverting what it changed",
                txn.id
            ));
            let reverted = undo_all(root, &txn, When::Now, &mut |line| journal.log(line));
            outcome(
                reverted,
                Error::new("the transaction was interrupted while it was reverted"),
            )
        } else {
            journal.log(&format!(
                "transaction {} was interrupted; continuing where it stopped",
                txn.id
            ));
            pending.extend(left(&txn).reactions);
            let _ = txn.mark(INTERRUPTED);
            Outcome {
                result: OutcomeKind::Failed,
                changed: 0,
                error: format!("the transaction was interrupted; {} continued from there", current.id),
                hints: Vec::new(),
                reboot_needed: false,
            }
        };
        // systemd remembers it as failed until told otherwise.
        if root.is_live() {
            systemd::reset_failed(&format!("{}.service", txn.unit()));
        }
        if let Ok(mut its) = Journal::open(&txn, &request.state.secrets) {
            let _ = its.write(EventKind::Finished { outcome: end });
        }
    }
    pending
}
