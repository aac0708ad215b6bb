//! One file a command.

pub(crate) mod agent_binary;
pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod failover;
pub(crate) mod handover;
pub(super) mod lab;
pub(crate) mod manual;
pub(crate) mod plan;
pub(crate) mod rehearse;
pub(crate) mod remove;
pub(crate) mod render;
pub(crate) mod rollback;
mod rollback_flow;
pub(crate) mod status;
mod undo_failed_apply;
