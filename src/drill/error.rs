//! Why a drill was not finished.

use crate::remote::{RemoteError, RemoteErrorKind};

/// Why a drill was not finished. Nothing stays broken: the fault was repaired, or its host repairs it by itself, and
/// then `hints` say so.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DrillError {
    /// Which kind.
    pub kind: DrillErrorKind,
    /// What failed, on which host.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillErrorKind {
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
        let message = error.to_string();
        DrillError {
            kind: DrillErrorKind::Host(error.kind),
            message,
            hints: error.hints,
        }
    }
}

/// The pair is not in a state to be drilled.
pub(super) fn refuse(message: String, hints: &[&str]) -> DrillError {
    let hints = hints.iter().map(|h| (*h).to_owned()).collect();
    DrillError {
        kind: DrillErrorKind::Precondition,
        message,
        hints,
    }
}
