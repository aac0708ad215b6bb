//! The conversation with the controller, and what it needs beside the host: the operator lock, output, watches.

pub mod address_watch;
pub mod follow;
pub mod operator_lock;
pub mod output;
pub mod plan;
pub mod session;
