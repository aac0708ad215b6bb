//! What a host remembers of its transactions, and how they are rolled back.

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::resource::InstanceRef;
use super::txn_id::TxnId;

/// One transaction in a host's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its identifier.
    pub id: TxnId,
    /// When its first event was written, ms since 1970, the host's clock.
    pub at_ms: u64,
    /// `user@machine`.
    pub operator: String,
    /// What became of it.
    pub outcome: TransactionOutcome,
    /// Number of resources it changed.
    pub changed: usize,
    /// The transactions that it rolled back; empty for an apply.
    #[serde(default, rename = "rolls_back", skip_serializing_if = "Vec::is_empty")]
    pub rolls_back: Vec<TxnId>,
}

impl Transaction {
    /// It is an apply that is in force, wholly or in part, so that a rollback has something to undo.
    pub fn can_be_rolled_back(&self) -> bool {
        self.rolls_back.is_empty()
            && matches!(
                self.outcome,
                TransactionOutcome::Applied | TransactionOutcome::Interrupted | TransactionOutcome::Failed
            )
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionOutcome {
    /// It runs, or waits for its confirm.
    Running,
    /// Done, and in force.
    Applied,
    /// Done, and rolled back since by a later transaction.
    RolledBack,
    /// A step failed, and the transaction was reverted.
    Reverted,
    /// Killed; what it had done is in force.
    Interrupted,
    /// A step failed, and the revert failed too.
    Failed,
}

impl std::fmt::Display for TransactionOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TransactionOutcome::Running => "running",
            TransactionOutcome::Applied => "applied",
            TransactionOutcome::RolledBack => "rolled back",
            TransactionOutcome::Reverted => "reverted",
            TransactionOutcome::Interrupted => "interrupted",
            TransactionOutcome::Failed => "failed",
        })
    }
}

/// Which transactions to roll back on one host, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRollback {
    /// Newest first. Every transaction of the host that came after the oldest of them and is in force must be among
    /// them.
    pub transactions: Vec<TxnId>,
    /// What to do with files that somebody else changed since.
    pub foreign: Foreign,
    /// How far.
    pub goal: Goal,
}

/// What becomes of files that somebody else changed after the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreign {
    /// Refuse, naming them.
    Refuse,
    /// Restore the version from before the transaction anyway.
    Overwrite,
}

/// How much to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// To before the transactions.
    Rollback,
    /// And remove hapair itself.
    Remove,
    /// And the packages that hapair installed.
    RemoveWithPackages,
}

/// What a rollback would do on one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRollbackPlan {
    /// The changes; notes name what stays.
    pub plan: Plan,
    /// A VRRP engine runs afterwards, as one does now.
    #[serde(rename = "speaks")]
    pub engine_runs_after: bool,
    /// It does, and nginx too.
    #[serde(rename = "serves")]
    pub serves_after: bool,
    /// Instances of the configuration that is restored.
    pub instances: Vec<InstanceRef>,
}
