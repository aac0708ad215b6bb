//! What the host remembers of its transactions.

use serde::Deserialize;

use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::host::record::request::Stored;
use crate::host::record::tail::Tail;
use crate::host::record::txn::{Txn, all};
use crate::host::record::undo;
use crate::state::resource::Resource;
use crate::state::{EventKind, HostRollback, OutcomeKind, Transaction, TransactionOutcome, TxnId};

/// The part of `request.json` that tells who and what; the rest, which is long, is passed over.
#[derive(Debug, Deserialize)]
struct Who {
    operator: String,
    #[serde(default)]
    back: Option<HostRollback>,
}

/// Marker: holds the id of the transaction that put this one back.
pub(crate) const ROLLED_BACK: &str = "rolled_back";

/// Marker: was killed, and later transactions went on from there.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// Every transaction, oldest first.
pub fn history(root: &Root) -> Vec<Transaction> {
    let mut found: Vec<Transaction> = all(root).iter().filter_map(|txn| describe(root, txn)).collect();
    // Names tell two runs of one second apart, not which came first.
    found.sort_by_key(|t| t.at_ms);
    found
}

/// The last `count` of them, newest first.
pub fn last(root: &Root, count: usize) -> Vec<Transaction> {
    history(root).into_iter().rev().take(count).collect()
}

/// One transaction; `None` where its request cannot be read: it never began.
pub(crate) fn describe(root: &Root, txn: &Txn) -> Option<Transaction> {
    let who: Who = serde_json::from_slice(&std::fs::read(txn.file("request.json")).ok()?).ok()?;
    let events = Tail::new(&txn.file("journal"), 0).read();
    let done = events.iter();
    let done = done
        .filter(|e| matches!(e.kind, EventKind::ResourceDone { .. }))
        .count();
    let (outcome, changed) = match events.last().map(|e| &e.kind) {
        Some(EventKind::Finished { outcome }) => match outcome.result {
            OutcomeKind::Done if is_rolled_back(root, txn) => (TransactionOutcome::RolledBack, outcome.changed),
            OutcomeKind::Done => (TransactionOutcome::Applied, outcome.changed),
            OutcomeKind::Reverted => (TransactionOutcome::Reverted, 0),
            OutcomeKind::Failed if is_rolled_back(root, txn) => (TransactionOutcome::RolledBack, done),
            OutcomeKind::Failed if txn.has(INTERRUPTED) => (TransactionOutcome::Interrupted, done),
            // It found the host busy and never began.
            OutcomeKind::Failed if undo::read(txn).is_empty() => (TransactionOutcome::Reverted, 0),
            OutcomeKind::Failed => (TransactionOutcome::Failed, done),
        },
        _ if txn.has("armed") || (root.is_live() && systemd::one(&format!("{}.service", txn.unit())).is_active()) => {
            (TransactionOutcome::Running, done)
        }
        _ => (TransactionOutcome::Interrupted, done),
    };
    Some(Transaction {
        id: txn.id.clone(),
        at_ms: events.first().map_or(0, |e| e.at_ms),
        operator: who.operator,
        outcome,
        changed,
        rolls_back: who.back.map(|b| b.transactions).unwrap_or_default(),
    })
}

/// The transaction that rolled this one back has finished. One that was killed is itself reverted by the next.
fn is_rolled_back(root: &Root, txn: &Txn) -> bool {
    let by = std::fs::read_to_string(txn.file(ROLLED_BACK)).ok();
    let Some(by) = by.as_deref().and_then(|text| TxnId::new(text.trim())) else {
        return false;
    };
    let by = Txn::new(root, &by);
    // The newer of two is never pruned before the older.
    !by.dir.exists() || by.is_done()
}

/// The transactions that are in force and can be rolled back, newest first.
pub(crate) fn in_force(root: &Root) -> Vec<Txn> {
    let standing = |txn: &Txn| {
        describe(root, txn).is_some_and(|t| {
            t.can_be_rolled_back() || (t.rolls_back.is_empty() && t.outcome == TransactionOutcome::Running)
        })
    };
    let newest = all(root).into_iter().rev();
    newest
        .filter(|txn| standing(txn) && !undo::read(txn).is_empty())
        .collect()
}

/// It is in force and can be rolled back.
pub(crate) fn is_in_force(root: &Root, txn: &Txn) -> bool {
    describe(root, txn).is_some_and(|t| t.can_be_rolled_back())
}

/// A transaction whose revert timer waits for a confirm.
pub fn armed(root: &Root) -> Option<String> {
    all(root)
        .into_iter()
        .rev()
        .find(|t| t.has("armed"))
        .map(|t| t.id.to_string())
}

/// Resources that a transaction began to change.
pub(crate) fn started<'a>(txn: &Txn, request: &'a Stored) -> Vec<&'a Resource> {
    let events = Tail::new(&txn.file("journal"), 0).read();
    let started: Vec<&str> = events
        .iter()
        .filter_map(|e| {
            if let EventKind::ResourceStarted { resource, .. } = &e.kind {
                Some(resource.as_str())
            } else {
                None
            }
        })
        .collect();
    let resources = request.state.resources.iter();
    resources.filter(|r| started.contains(&r.id.as_str())).collect()
}
