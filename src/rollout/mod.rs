//! Order over the pair: connect, plan, converge one host at a time, health gates, confirm, proof.
//!
//! Nothing here prints; what happens is told to an [`Observer`].

mod again;
mod agree;
mod apply;
mod clocks;
mod confirm;
mod connect;
mod error;
mod follow;
mod gate;
mod handover;
mod order;
mod passwords;
mod progress;
mod reboot;
mod roles;
mod rollback;
mod saved;
mod takeover;
mod verify;
mod which;

pub use apply::{ApplyOptions, ApplyReport, Interrupt, apply};
pub use connect::{Context, Member, Pair, survey};
pub use error::{RolloutError, RolloutErrorKind};
pub use handover::{Handover, HandoverOptions, hand_over, resume};
pub use order::{Phase, standby_first};
pub use progress::{Observer, Progress};
pub use reboot::reboot;
pub use rollback::{Rollback, RollbackOptions, RollbackReport, plan_rollback, purge, rollback};
pub use saved::SavedPlan;
pub use verify::{Proof, Vantage, Verification, verify};
pub use which::Which;
