//! The vocabulary that the controller and the hosts share.
//!
//! Nothing in this room does I/O. The controller turns an inventory into a [`HostState`]; the executor on the host
//! answers with [`Facts`], a [`Plan`] and [`Event`]s. Everything travels as one JSON object a line ([`frame`]).

pub mod arp;
pub mod control_group;
pub mod drift;
pub mod edit;
pub mod error;
pub mod event;
pub mod facts;
pub mod fault;
pub mod finding;
pub mod frame;
pub mod health;
pub mod hex;
pub mod http;
pub mod plan;
pub mod preflight;
pub mod redact;
pub mod resource;
pub mod secret;
pub mod status;
pub mod system;
pub mod time;
pub mod transaction;
pub mod txn_id;
pub mod unit_action;

pub use drift::{By, Drift, Moment, Packaged, Remedy};
pub use error::Error;
pub use event::{Event, EventKind, Outcome, OutcomeKind};
pub use facts::{Facts, Interface, NginxLayout, Profile, Release, UnitState};
pub use fault::Fault;
pub use finding::{Finding, FindingId, Severity};
pub use frame::{Reply, Request};
pub use health::{HEALTH_PATH, NODE_HEADER};
pub use plan::{Change, Plan};
pub use preflight::{AdvertNeed, ForeignRouter, HostPreflight, ListenNeed, Needs, Segment, Station, Unseen};
pub use resource::{Content, HostState, Reaction, Resource, Spec, Stage, Validator};
pub use secret::Secret;
pub use status::{
    AgentInstance, AgentStatus, DisabledCheck, HostStatus, InstanceState, InstanceStatus, RunningInstance,
};
pub use system::{Engine, NetworkManagerKind, SelinuxMode};
pub use transaction::{Foreign, Goal, HostRollback, HostRollbackPlan, Transaction, TransactionOutcome};
pub use txn_id::TxnId;
pub use unit_action::UnitAction;
