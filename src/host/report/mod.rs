//! Telling of the host: status, and what is no longer as hapair left it.

pub mod attribution;
pub mod baseline;
pub mod drift;
pub mod elections;
pub mod engine_state;
pub mod status;
