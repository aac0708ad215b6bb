//! The failover drill: break one thing on purpose, watch the VIP from outside, repair it, judge.
//!
//! [`DrillPlan`] says what to do and by when (from the inventory), [`run`] does it over two [`HostLink`]s and tells what
//! happens as [`DrillEvent`]s, [`DrillReport`] is what came of it, [`report`] writes it as JSON, HTML, SVG or JUnit XML.
//!
//! What is measured, and how:
//!
//! * `outage_ms`: the longest time between two answers through the VIP with a failed request in between, by send time,
//!   over the whole scenario, fail-back included ([`crate::probe::Timeline`]). Over several VIPs: the worst.
//! * `max_owners`: how many stations owned one VIP at once. Two sources: the hosts' own word, their clocks put on ours
//!   by the fastest report of each, where an overlap counts from [`OVERLAP_RESOLUTION_MS`] on; and ARP answers, where two stations count as two owners
//!   once both answered [`ARP_ROUNDS`] requests in a row. Shorter overlaps belong to every hand-over (the new owner
//!   speaks before the old one has heard it) or to the way of measuring; the longest one is reported all the same.

pub mod budget;
mod error;
mod event;
mod link;
mod owners;
mod plan;
pub mod report;
mod result;
mod run;
mod scenario;
mod session;
mod verdict;

#[cfg(test)]
mod tests;

pub use error::{DrillError, DrillErrorKind};
pub use event::{DrillEvent, Phase};
pub use link::HostLink;
pub use owners::{ARP_ROUNDS, OVERLAP_RESOLUTION_MS};
pub use plan::{DrillPlan, Endpoint, InstancePlan};
pub use result::{DrillReport, Failback, Mark, Ownership, ScenarioResult, Span, VipResult};
pub use run::run;
pub use scenario::{Scenario, UnknownScenario};
