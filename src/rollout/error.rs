//! Why a rollout stopped.

use crate::remote::{RemoteError, RemoteErrorKind};
use crate::state::{Error, Reply};

/// Why a rollout stopped.
pub type RolloutError = Error<RolloutErrorKind>;

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

impl From<RemoteErrorKind> for RolloutErrorKind {
    fn from(kind: RemoteErrorKind) -> RolloutErrorKind {
        match kind {
            RemoteErrorKind::Unreachable | RemoteErrorKind::Lost => RolloutErrorKind::Unreachable,
            RemoteErrorKind::Refused => RolloutErrorKind::Failed,
        }
    }
}

impl From<RemoteError> for RolloutError {
    fn from(error: RemoteError) -> RolloutError {
        error.map_kind(RolloutErrorKind::from)
    }
}

/// Two hosts worked at once: both errors are told, and the worse one decides.
pub(super) fn both(a: Result<(), RolloutError>, b: Result<(), RolloutError>) -> Result<(), RolloutError> {
    match (a, b) {
        (Err(a), Err(b)) => {
            let kind = if b.kind == RolloutErrorKind::RolledBack {
                a.kind
            } else {
                b.kind
            };
            Err(a.beside(b).with_kind(kind))
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
        (Err(error), Err(why)) => Err(error.hint(format!("VRRP on {host} could not be restarted: {}", why.bare()))),
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
        assert_eq!(error.in_full(), "web1: connection lost");
        assert_eq!(error.hints, ["VRRP on web1 could not be restarted: no link"]);
        assert!(with_engine_restart("web1", Ok(()), Err(failed("no link"))).is_err());
        assert!(with_engine_restart("web1", Ok(()), Ok(())).is_ok());
    }
}
