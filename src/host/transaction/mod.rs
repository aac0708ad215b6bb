//! Running a transaction: to its end, to its confirm, back by itself, or back on the operator's word.

pub mod archive;
pub mod confirm;
pub mod interrupted;
pub mod revert;
pub mod rollback;
pub mod rollback_plan;
pub mod rollback_targets;
pub mod runner;
pub mod uninstall;
