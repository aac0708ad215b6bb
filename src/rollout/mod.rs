//! Order over the pair: connect, plan, converge one host at a time, health gates, confirm, proof.
//!
//! Nothing here prints; what happens is told to an [`Observer`].

mod apply;
mod clocks;
mod election_critical;
mod error;
mod handover;
mod health;
mod order;
mod progress;
mod reach;
mod reboot;
mod rollback;
mod saved_plan;
mod selection;
mod takeover;
mod transact;

pub use apply::{ApplyOptions, ApplyReport, Interrupt, apply};
pub use error::{RolloutError, RolloutErrorKind};
pub use handover::{Handover, HandoverOptions, hand_over, resume};
pub use health::verify::{Proof, Vantage, Verification, verify};
pub use order::{Phase, standby_first};
pub use progress::{Observer, Progress};
pub use reach::pair::{Context, Member, Pair, survey};
pub use reboot::reboot;
pub use rollback::{Rollback, RollbackOptions, RollbackReport, plan_rollback, purge, rollback};
pub use saved_plan::SavedPlan;
pub use selection::Which;
