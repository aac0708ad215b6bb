//! Order over the pair: connect, plan, converge one host at a time, health gates, confirm, proof.
//!
//! `reach` finds, keeps and regains a host, `health` judges the pair, `transact` runs one transaction on one host, `converge` is the
//! order of an apply over both, `preflight` is what is found before it, `stand_in` moves the VIP out of the way of the work.
//!
//! Nothing here prints; what happens is told to an [`Observer`].

mod apply;
mod clocks;
mod converge;
mod election_critical;
mod error;
mod handover;
mod health;
mod interrupt;
mod order;
mod preflight;
mod progress;
mod reach;
mod reboot;
mod rollback;
mod rollback_order;
mod run;
mod saved_plan;
mod selection;
mod split;
mod stand_in;
mod takeover;
mod transact;

pub use apply::apply;
pub use error::{RolloutError, RolloutErrorKind};
pub use handover::{Handover, HandoverOptions, hand_over, resume};
pub use health::verify::{Proof, Vantage, Verification, verify};
pub use interrupt::{Interrupt, InterruptSender};
pub use order::{Phase, standby_first};
pub use preflight::preflight;
pub use progress::{Observer, Progress};
pub use reach::context::Context;
pub use reach::member::Member;
pub use reach::pair::{Pair, survey};
pub use reboot::reboot;
pub use rollback::{Rollback, RollbackOptions, RollbackReport, plan_rollback, purge, rollback};
pub use run::{ApplyOptions, ApplyReport, StoppedEngine};
pub use saved_plan::SavedPlan;
pub use selection::Selection;
