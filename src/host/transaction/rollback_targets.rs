//! The transactions that a rollback undoes, and what they were asked for.

use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::record::history;
use crate::host::record::request::Stored;
use crate::host::record::txn::Txn;
use crate::host::record::undo::{self, Undo};
use crate::host::resource::undoings;
use crate::state::{Engine, HostRollback, HostState};

/// One transaction that is rolled back.
pub(crate) struct Target {
    pub(crate) txn: Txn,
    /// Its undo log, newest entry first.
    pub(crate) entries: Vec<Undo>,
}

/// The transactions, newest first, after the checks that need no look at the files.
pub(crate) fn targets(root: &Root, what: &HostRollback) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for id in &what.transactions {
        let txn = Txn::new(root, id);
        let Some(known) = history::describe(root, &txn) else {
            return Err(Error::new(format!("there is no transaction {id} on this host"))
                .hint("`hapair status` lists the recent ones; old ones are pruned"));
        };
        if !known.can_be_rolled_back() {
            let why = if known.rolls_back.is_empty() {
                format!("it is {}", known.outcome)
            } else {
                "it is a rollback itself".to_owned()
            };
            return Err(Error::new(format!("transaction {id} cannot be rolled back: {why}")));
        }
        let mut entries = undo::read(&txn);
        entries.reverse();
        entries.iter_mut().for_each(count_stopped_engine_as_running);
        targets.push(Target { txn, entries });
    }
    targets.sort_by(|a, b| b.txn.id.parts().cmp(&a.txn.id.parts()));
    if let Some(oldest) = targets.last()
        && let Some(later) = history::in_force(root)
            .iter()
            .find(|txn| txn.id.parts() > oldest.txn.id.parts() && targets.iter().all(|target| target.txn.id != txn.id))
    {
        let message = format!(
            "transaction {} came after {} and is in force: it must be rolled back first",
            later.id, oldest.txn.id
        );
        return Err(Error::new(message).hint(format!("`hapair rollback {}`", later.id)));
    }
    Ok(targets)
}

/// An engine that starts at boot and did not run when its transaction began was stopped by hapair for that transaction (an
/// election-critical change), so it is restored to running.
fn count_stopped_engine_as_running(entry: &mut Undo) {
    if let Undo::Unit { unit, active, enabled } = entry {
        let is_engine = [Engine::Agent, Engine::Keepalived].iter().any(|e| e.unit() == unit);
        *active |= is_engine && enabled.starts_with("enabled");
    }
}

impl Target {
    /// Its rollback can cut the connection.
    pub(crate) fn cuts_ssh(&self) -> bool {
        let by_kind = self.entries.iter().any(|entry| undoings::of(entry).cuts_ssh());
        // A file of the network is one of a resource that says so.
        by_kind
            || Stored::load(&self.txn).is_ok_and(|request| {
                let started = history::started(&self.txn, &request);
                started.iter().any(|resource| resource.cuts_ssh)
            })
    }
}

/// The state that the newest of them was asked for, without its resources, and the secrets of all of them.
pub fn state_after_rollback(root: &Root, what: &HostRollback) -> HostState {
    let requests = what.transactions.iter().map(|id| Stored::load(&Txn::new(root, id)));
    let mut states = requests.filter_map(|r| Some(r.ok()?.state));
    let mut state = states.next().unwrap_or_default();
    state.resources.clear();
    for secret in states.flat_map(|s| s.secrets) {
        if !state.secrets.contains(&secret) {
            state.secrets.push(secret);
        }
    }
    state
}
