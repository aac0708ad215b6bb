//! What people and programs learn of the daemon: notifications, mail, status, metrics, the control socket.

pub(super) mod auth_hmac;
pub(super) mod control;
pub(super) mod fifo;
pub(super) mod mail;
pub(super) mod metrics;
pub(super) mod metrics_http;
pub(super) mod neighbours;
pub(super) mod notify;
pub(super) mod other_router;
pub(super) mod report;
pub(super) mod status;
