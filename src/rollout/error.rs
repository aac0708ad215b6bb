//! Why a rollout stopped.

use crate::remote::{RemoteError, RemoteErrorKind};

/// Why a rollout stopped. `Display` says what and on which host; `hints` what to do now.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RolloutError {
    /// Which kind, for the exit code.
    pub kind: RolloutErrorKind,
    /// The host concerned, if one is.
    pub host: Option<String>,
    /// Lower case, no final period; names the host.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutErrorKind {
    /// A step failed and could not be undone, or a proof failed.
    Failed,
    /// The request makes no sense for this inventory or pair.
    Usage,
    /// A host could not be reached or refused us.
    Unreachable,
    /// A host put everything back.
    RolledBack,
}

impl RolloutError {
    /// A failure on one host.
    pub fn on(host: &str, kind: RolloutErrorKind, message: impl std::fmt::Display) -> RolloutError {
        RolloutError {
            kind,
            host: Some(host.to_owned()),
            message: format!("{host}: {message}"),
            hints: Vec::new(),
        }
    }

    /// A failure of the pair as a whole.
    pub fn pair(kind: RolloutErrorKind, message: impl Into<String>) -> RolloutError {
        RolloutError {
            kind,
            host: None,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The message without the host's name.
    pub(super) fn bare(&self) -> &str {
        let host = self.host.as_deref().unwrap_or_default();
        let bare = self.message.strip_prefix(host).and_then(|m| m.strip_prefix(": "));
        bare.unwrap_or(&self.message)
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> RolloutError {
        self.hints.push(hint.into());
        self
    }
}

impl From<RemoteError> for RolloutError {
    fn from(error: RemoteError) -> Self {
        let kind = match error.kind {
            RemoteErrorKind::Unreachable | RemoteErrorKind::Lost => RolloutErrorKind::Unreachable,
            RemoteErrorKind::Refused => RolloutErrorKind::Failed,
        };
        RolloutError {
            kind,
            message: error.to_string(),
            host: Some(error.host),
            hints: error.hints,
        }
    }
}
