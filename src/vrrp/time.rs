//! The clock of the state machine, which the caller reads.

/// A point on the caller's monotonic clock: time since any fixed moment.
pub type Time = std::time::Duration;
