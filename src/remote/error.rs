//! Why a host could not be used.

use crate::state::{Error, Reply};

/// Why a host could not be used; names the host.
pub type RemoteError = Error<RemoteErrorKind>;

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

/// A host's answer that its request failed is an error; any other is the answer.
///
/// # Errors
/// [`Reply::Error`], as [`RemoteErrorKind::Refused`].
pub fn accepted(host: &str, reply: Reply) -> Result<Reply, RemoteError> {
    match reply {
        Reply::Error { message, hints } => {
            Err(RemoteError::on(host, RemoteErrorKind::Refused, message).with_hints(hints))
        }
        reply => Ok(reply),
    }
}
