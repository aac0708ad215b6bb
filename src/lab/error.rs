//! What can go wrong with a lab.

use std::path::Path;

/// Why the lab could not do it. `Display` says what failed; the hints say what to do now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LabError {
    /// Lower case, no final period.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

impl LabError {
    /// What to do now, one sentence each.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// An error without hints; lower case, no final period.
    pub fn new(message: impl Into<String>) -> LabError {
        LabError {
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds something to do now.
    pub fn hint(mut self, hint: impl Into<String>) -> LabError {
        self.hints.push(hint.into());
        self
    }
}

/// Adds to an I/O error what was being done.
pub(super) trait Doing<T> {
    /// `what` completes "cannot …".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
    /// The error names the path.
    fn at(self, verb: &str, path: &Path) -> Result<T, LabError>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|e| LabError::new(format!("cannot {}: {e}", what())))
    }

    fn at(self, verb: &str, path: &Path) -> Result<T, LabError> {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}
