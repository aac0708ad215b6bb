//! What a rollout tells while it runs.

use serde::Serialize;

use crate::state::{Event, Plan};

/// Something happened. Serialised as one JSON object a line for `--output json`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Progress {
    /// A conversation with a host is open.
    Connected {
        /// Name in the inventory.
        host: String,
        /// Where it was reached.
        address: String,
        /// What it runs.
        release: String,
        /// ms from the first packet to its facts.
        took_ms: u64,
    },
    /// A host's plan.
    Plan {
        /// Name in the inventory.
        host: String,
        /// What would change.
        plan: Plan,
    },
    /// Part of the work on one host begins.
    Phase {
        /// Name in the inventory.
        host: String,
        /// `network, selinux`: what is converged.
        what: String,
        /// Changes to come.
        changes: usize,
    },
    /// A line of a host's transaction.
    Event {
        /// Name in the inventory.
        host: String,
        /// The line.
        #[serde(flatten)]
        event: Event,
    },
    /// Something is being waited for.
    Wait {
        /// Name in the inventory, if it concerns one host.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Lower case: `nginx answers locally`.
        what: String,
    },
    /// What was waited for came true, or a fact worth a line.
    Fact {
        /// Name in the inventory, if it concerns one host.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Lower case, past or present tense.
        what: String,
    },
    /// Not an error, but the operator should know.
    Warning {
        /// Name in the inventory, if it concerns one host.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Lower case, no final period.
        message: String,
    },
}

/// Who is told. Called from the rollout's own task only.
pub trait Observer {
    /// Something happened.
    fn tell(&self, progress: Progress);
}

impl<'a> dyn Observer + 'a {
    pub(crate) fn wait(&self, host: &str, what: impl Into<String>) {
        self.tell(Progress::Wait {
            host: Some(host.to_owned()),
            what: what.into(),
        });
    }

    pub(crate) fn fact(&self, host: &str, what: impl Into<String>) {
        self.tell(Progress::Fact {
            host: Some(host.to_owned()),
            what: what.into(),
        });
    }

    pub(crate) fn warn(&self, host: &str, message: impl Into<String>) {
        self.tell(Progress::Warning {
            host: Some(host.to_owned()),
            message: message.into(),
        });
    }
}
