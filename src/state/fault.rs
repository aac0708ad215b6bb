//! Faults the drill injects. Each has a timed undo that the host arms before it breaks anything.

use serde::{Deserialize, Serialize};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Stop a unit and keep it stopped until repaired (scripts that start it again are held off by a run-time mask).
    Stop {
        /// With suffix.
        unit: String,
    },
}
