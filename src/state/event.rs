//! What a running transaction tells, in the order of its journal.

use serde::{Deserialize, Serialize};

use super::resource::Stage;

/// One line of the transaction's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 in each transaction; a re-attached reader asks for what follows.
    pub seq: u64,
    /// ms since 1970, the host's clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: Stage,
    },
    /// A resource is about to be changed. Written before anything is touched.
    ResourceStarted {
        /// Its id.
        resource: String,
        /// As in the plan.
        summary: String,
    },
    /// A resource is as desired now.
    ResourceDone {
        /// Its id.
        resource: String,
        /// How long it took, ms.
        took_ms: u64,
    },
    /// A line of output worth showing (package manager, validator), secrets masked.
    Log {
        /// Without newline.
        line: String,
    },
    /// A revert timer owned by PID 1 runs; the transaction waits for a confirm.
    Armed {
        /// When the host reverts unless it is confirmed, in seconds from this event.
        seconds: u64,
    },
    /// What could cut the connection has been activated: connect anew and confirm.
    AwaitConfirm {
        /// Where to connect: the host's address after the change.
        address: String,
    },
    /// The confirm arrived; the timer is gone.
    Confirmed,
    /// The transaction ended. Always the last event.
    Finished {
        /// How.
        outcome: Outcome,
    },
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which way.
    pub result: OutcomeKind,
    /// Number of resources changed.
    pub changed: usize,
    /// What failed, for whom, and where; empty when nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What to do now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// A reboot is needed for a change to take full effect.
    #[serde(default)]
    pub reboot_needed: bool,
}

/// Which way a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// As desired.
    Done,
    /// A step failed and the transaction was reverted.
    Reverted,
    /// A step failed and the revert failed too.
    Failed,
}
