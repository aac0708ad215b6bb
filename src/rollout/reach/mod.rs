//! Finding, keeping and regaining a host: where it answers, who it is, what to do when the connection is lost.

pub(super) mod confirm;
pub(super) mod pair;
pub(super) mod passwords;
pub(super) mod reconnect;
