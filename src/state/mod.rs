//! The vocabulary that the controller and the hosts share.
//!
//! Nothing in this room does I/O. The controller turns an inventory into a [`HostState`]; the executor on the host
//! answers with [`Facts`], a [`Plan`] and [`Event`]s. Everything travels as one JSON object a line ([`frame`]).

pub mod drift;
pub mod edit;
pub mod event;
pub mod facts;
pub mod fault;
pub mod frame;
pub mod plan;
pub mod redact;
pub mod resource;
pub mod secret;
pub mod status;
pub mod time;
pub mod transaction;

pub use drift::{By, Drift, Moment, Packaged, Remedy};
pub use event::{Event, EventKind, Outcome, OutcomeKind};
pub use facts::{Facts, Interface, NetworkManagerKind, NginxLayout, Profile, Release, UnitState};
pub use fault::Fault;
pub use frame::{Reply, Request};
pub use plan::{Change, Plan};
pub use resource::{Content, Engine, HostState, Reaction, Resource, SelinuxMode, Spec, Stage, Validator};
pub use secret::Secret;
pub use status::{
    AgentInstance, AgentStatus, DisabledCheck, HostStatus, InstanceState, InstanceStatus, RunningInstance,
};
pub use transaction::{Foreign, Goal, PutBack, PutBackPlan, Transaction, TransactionOutcome};

/// The response header that tells which host answered; never sent by a welcome page.
pub const NODE_HEADER: &str = "X-Hapair-Node";

/// The node-local health location: answered by nginx itself, tests no upstream.
pub const HEALTH_PATH: &str = "/.hapair/health";

/// Identifier of one transaction: `20261122T164512Z-3f9a`, chosen by the controller, sortable by time.
///
/// Only ASCII letters, digits and `-` may occur in it: it becomes part of paths and unit names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct TxnId(String);

impl TxnId {
    /// Accepts 1 to 40 characters of `[0-9A-Za-z-]`; anything else is `None`.
    pub fn new(text: &str) -> Option<TxnId> {
        let ok = (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        ok.then(|| TxnId(text.to_owned()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the transactions of one run share: `20261122T164512Z-3f9a` of `20261122T164512Z-3f9a-2`. An identifier
    /// without a number at its end is a run of its own.
    pub fn stamp(&self) -> &str {
        self.parts().0
    }

    /// Stamp and number: sorts the transactions of a host by time.
    pub fn parts(&self) -> (&str, u32) {
        let cut = self.0.rsplit_once('-').filter(|(stamp, _)| stamp.contains('-'));
        let numbered = cut.and_then(|(stamp, number)| Some((stamp, number.parse().ok()?)));
        numbered.unwrap_or((&self.0, 0))
    }
}

impl std::fmt::Display for TxnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::TxnId;

    #[test]
    fn transactions_of_one_run_share_a_stamp() {
        let id = |text: &str| TxnId::new(text).expect("valid");
        assert_eq!(id("20261122T164512Z-3f9a-12").parts(), ("20261122T164512Z-3f9a", 12));
        // The random part may be all digits.
        assert_eq!(id("20261122T164512Z-1234").parts(), ("20261122T164512Z-1234", 0));
        assert_eq!(id("one").stamp(), "one");
        assert!(id("20261122T164512Z-3f9a-2").parts() < id("20261122T164512Z-3f9a-10").parts());
    }
}
