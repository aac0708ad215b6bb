//! Finding, keeping and regaining a host: where it answers, who it is, what to do when the connection is lost.

pub(super) mod after_boot;
pub(super) mod confirm;
pub(super) mod context;
pub(super) mod locate;
pub(super) mod member;
pub(super) mod pair;
pub(super) mod passwords;
pub(super) mod reattach;
pub(super) mod reconnect;
pub(super) mod redial;
