//! Reports about the host: status, and drift from how hapair left it.

pub mod attribution;
pub mod baseline;
pub mod drift;
pub mod elections;
pub mod engine_state;
pub mod status;
