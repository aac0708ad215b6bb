//! One file a command.

pub(crate) mod agent_binary;
pub(crate) mod apply;
mod failed_run;
pub(crate) mod failover;
pub(crate) mod handover;
pub(crate) mod manual;
pub(crate) mod plan;
mod put_back;
pub(crate) mod rehearse;
pub(crate) mod remove;
pub(crate) mod render;
pub(crate) mod rollback;
pub(crate) mod status;
