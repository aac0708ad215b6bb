//! Why a rollout stopped.

use crate::remote::{RemoteError, RemoteErrorKind};
use crate::state::Reply;

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
    /// A host reverted.
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

/// Two hosts worked at once: both errors are told, and the worse one decides.
pub(super) fn both(a: Result<(), RolloutError>, b: Result<(), RolloutError>) -> Result<(), RolloutError> {
    match (a, b) {
        (Err(mut a), Err(b)) => {
            if b.kind != RolloutErrorKind::RolledBack {
                a.kind = b.kind;
            }
            a.message = format!("{}\n{}", a.message, b.message);
            a.hints.extend(b.hints);
            a.hints.dedup();
            Err(a)
        }
        (a, b) => a.and(b),
    }
}

/// How work on a host ended whose engine was stopped for it and is to run again: neither failure hides the other.
pub(super) fn with_engine_restart(
    host: &str,
    work: Result<(), RolloutError>,
    started: Result<(), RolloutError>,
) -> Result<(), RolloutError> {
    match (work, started) {
        (Err(error), Err(why)) => Err(error.hint(format!("VRRP on {host} could not be restarted: {why}"))),
        (work, started) => work.and(started),
    }
}

/// The executor and we are built from one tree; an answer out of turn is a defect worth a clear word.
pub(crate) fn unexpected(host: &str, reply: &Reply) -> RolloutError {
    let name = serde_json::to_value(reply)
        .ok()
        .and_then(|v| v["reply"].as_str().map(str::to_owned))
        .unwrap_or_default();
    RolloutError::on(
        host,
        RolloutErrorKind::Failed,
        format!("unexpected reply `{name}` from the executor"),
    )
    .hint("this is a bug in hapair; please report it with the output of -v")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_does_not_hide_that_vrrp_stays_stopped() {
        let failed = |what: &str| RolloutError::on("web1", RolloutErrorKind::Unreachable, what);
        let error =
            with_engine_restart("web1", Err(failed("connection lost")), Err(failed("no link"))).expect_err("failed");
        assert_eq!(error.message, "web1: connection lost");
        assert_eq!(error.hints, ["VRRP on web1 could not be restarted: web1: no link"]);
        assert!(with_engine_restart("web1", Ok(()), Err(failed("no link"))).is_err());
        assert!(with_engine_restart("web1", Ok(()), Ok(())).is_ok());
    }
}
