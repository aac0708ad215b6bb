//! Why a drill was not finished.

use crate::remote::{RemoteError, RemoteErrorKind};
use crate::state::Error;

/// Why a drill was not finished. Nothing stays broken: the fault was repaired, or its host repairs it by itself, and
/// then the hints say so.
pub type DrillError = Error<DrillErrorKind>;

/// Which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillErrorKind {
    /// What is asked for makes no sense for this inventory.
    Usage,
    /// The pair is not in a state to be drilled; nothing was broken.
    Precondition,
    /// A conversation with a host failed.
    Host(RemoteErrorKind),
    /// The operator stopped it.
    Cancelled,
    /// This machine could not do its part.
    Local,
}

impl From<RemoteError> for DrillError {
    fn from(error: RemoteError) -> DrillError {
        error.map_kind(DrillErrorKind::Host)
    }
}

/// The pair is not in a state to be drilled.
pub(super) fn refuse(message: String) -> DrillError {
    DrillError::of(DrillErrorKind::Precondition, message)
}
