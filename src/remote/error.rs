//! Why a host could not be used.

/// Why a host could not be used. `Display` says what and where; `hints` say what to do now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host}: {message}")]
pub struct RemoteError {
    /// The host's name in the inventory.
    pub host: String,
    /// Which kind of failure, for exit codes.
    pub kind: RemoteErrorKind,
    /// Lower case, no final period.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Which kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteErrorKind {
    /// Could not be reached, refused us, or is not who it was.
    Unreachable,
    /// The connection broke in mid-conversation; a transaction on the host continues without us.
    Lost,
    /// The host answered that the request failed.
    Refused,
}
