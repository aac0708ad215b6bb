//! What a running drill tells, for progress bars and logs.

use super::result::ScenarioResult;
use super::scenario::Scenario;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum DrillEvent {
    /// A scenario begins on a host.
    Started {
        /// Which.
        scenario: Scenario,
        /// The owner that will be broken.
        host: String,
        /// Most ms without service that still pass.
        budget_ms: u64,
    },
    /// A phase begins.
    Phase(Phase),
    /// Now and then while waiting: what the prober has counted so far, over all VIPs.
    Probing {
        /// Probes that ended.
        total: u64,
        /// Those that failed.
        failed: u64,
        /// Node that answers now on the first VIP under test, if it says so.
        node: Option<String>,
    },
    /// A host says that it owns an address, or no longer does.
    Ownership {
        /// Which host.
        host: String,
        /// Which address.
        vip: String,
        /// Owns it from now on; `false`: no longer.
        owns: bool,
        /// ms since the scenario's probing began.
        at_ms: u64,
    },
    /// Something the operator should know.
    Note(String),
    /// A scenario ended with a verdict.
    Finished(Box<ScenarioResult>),
}

/// Where in a scenario we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading both hosts' status and asking the VIP.
    Preconditions,
    /// Probing the healthy pair.
    Baseline,
    /// The fault is being injected.
    Inject,
    /// Waiting for the other host to answer.
    AwaitMove,
    /// The fault is being undone.
    Repair,
    /// Waiting for the VIP to come back, or to stay where it is.
    AwaitReturn,
}

impl Phase {
    /// For people: what is waited for.
    pub fn text(self) -> &'static str {
        match self {
            Phase::Preconditions => "the check of both hosts",
            Phase::Baseline => "good answers before the fault",
            Phase::Inject => "the fault to be injected",
            Phase::AwaitMove => "the VIP to move",
            Phase::Repair => "the repair",
            Phase::AwaitReturn => "the pair to settle",
        }
    }
}
