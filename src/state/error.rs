//! The one shape of an error: what failed, on which host, what to do now, and the cause. A room adds its kind.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What a cause may be: another error, or a text.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What failed, with what to do now and the cause.
///
/// `{}` shows the host and the message; `{:#}` the causes after them too, as an operator is to read it:
/// `web1: cannot write /etc/hosts: No space left on device (os error 28)`. Where only text can travel (a frame, a
/// journal, another message), [`Error::in_full`] is what to send.
///
/// `K` is the room's kind of failure, which decides exit codes; `()` where nobody asks for one.
#[derive(Debug, Clone)]
pub struct Error<K = ()> {
    /// Which kind.
    pub kind: K,
    /// The host concerned, by its name in the inventory, if it is one.
    pub host: Option<String>,
    /// Lower case, no final period; without the host and the cause.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without a kind, so far without hints.
    pub fn new(message: impl Into<String>) -> Error {
        Error::of((), message)
    }
}

impl<K> Error<K> {
    /// An error of that kind, so far without hints.
    pub fn of(kind: K, message: impl Into<String>) -> Error<K> {
        Error {
            kind,
            host: None,
            message: message.into(),
            hints: Vec::new(),
            cause: None,
        }
    }

    /// A failure on one host.
    pub fn on(host: &str, kind: K, message: impl Into<String>) -> Error<K> {
        Error::of(kind, message).at_host(host)
    }

    /// The host concerned.
    #[must_use]
    pub fn at_host(mut self, host: &str) -> Error<K> {
        self.host = Some(host.to_owned());
        self
    }

    /// Adds a hint: what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error<K> {
        self.hints.push(hint.into());
        self
    }

    /// Adds hints.
    #[must_use]
    pub fn with_hints(mut self, hints: impl IntoIterator<Item = String>) -> Error<K> {
        self.hints.extend(hints);
        self
    }

    /// Keeps why it failed.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Error<K> {
        self.cause = Some(cause.into().into());
        self
    }

    /// Says what was being done when it failed, which becomes the cause; host and hints stay in sight.
    #[must_use]
    pub fn context(self, doing: impl Into<String>) -> Error<K> {
        let inner = Error {
            cause: self.cause,
            ..Error::new(self.message)
        };
        Error {
            kind: self.kind,
            host: self.host,
            message: doing.into(),
            hints: self.hints,
            cause: Some(Arc::new(inner)),
        }
    }

    /// The same error as another room tells it.
    #[must_use]
    pub fn with_kind<L>(self, kind: L) -> Error<L> {
        self.map_kind(|_| kind)
    }

    /// The same error as another room tells it, its kind by the room's own.
    #[must_use]
    pub fn map_kind<L>(self, kind: impl FnOnce(K) -> L) -> Error<L> {
        Error {
            kind: kind(self.kind),
            host: self.host,
            message: self.message,
            hints: self.hints,
            cause: self.cause,
        }
    }

    /// The message with its causes, without the host.
    pub fn bare(&self) -> String {
        let mut text = self.message.clone();
        for cause in self.causes() {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        text
    }

    /// Host, message and causes in one text.
    pub fn in_full(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}: {}", self.bare()),
            None => self.bare(),
        }
    }

    /// Says something after the message and its causes, which become one text.
    #[must_use]
    pub fn followed_by(mut self, more: impl fmt::Display) -> Error<K> {
        self.message = format!("{}{more}", self.bare());
        self.cause = None;
        self
    }

    /// Two failures at once, each on a line of its own; a hint is not repeated.
    #[must_use]
    pub fn beside(self, other: Error<K>) -> Error<K> {
        let message = format!("{}\n{}", self.in_full(), other.in_full());
        let (mut hints, more) = (self.hints, other.hints);
        let new: Vec<String> = more.into_iter().filter(|hint| !hints.contains(hint)).collect();
        hints.extend(new);
        Error::of(self.kind, message).with_hints(hints)
    }

    /// The system's error number, if a system call is behind it.
    pub fn os_error(&self) -> Option<i32> {
        let system = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>()?.raw_os_error();
        self.causes().find_map(system)
    }

    /// The causes, nearest first.
    fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let nearest = self.cause.as_deref().map(|cause| cause as _);
        std::iter::successors(nearest, |cause: &&(dyn std::error::Error + 'static)| cause.source())
    }
}

impl<K> fmt::Display for Error<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&self.in_full());
        }
        if let Some(host) = &self.host {
            write!(f, "{host}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl<K: fmt::Debug> std::error::Error for Error<K> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Adds to an I/O error what was being done.
pub trait Doing<T> {
    /// `what` completes "cannot …".
    ///
    /// # Errors
    /// As before, with that text.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;

    /// The error names the path.
    ///
    /// # Errors
    /// As before, with that text.
    fn at(self, verb: &str, path: &Path) -> Result<T, Error>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|e| Error::new(format!("cannot {}", what())).because(e))
    }

    fn at(self, verb: &str, path: &Path) -> Result<T, Error> {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    fn no_space() -> Error<u8> {
        let cause = io::Error::from_raw_os_error(28);
        Error::on("web1", 7, "cannot write /etc/hosts")
            .because(cause)
            .hint("free some space")
    }

    #[test]
    fn the_cause_is_kept_and_shown_on_demand() {
        let error = no_space();
        assert_eq!(error.to_string(), "web1: cannot write /etc/hosts");
        let whole = "web1: cannot write /etc/hosts: No space left on device (os error 28)";
        assert_eq!(format!("{error:#}"), whole);
        assert_eq!(error.in_full(), whole);
        assert_eq!(error.bare(), whole.strip_prefix("web1: ").unwrap());
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::StorageFull));
        assert_eq!(error.os_error(), Some(28));
        assert_eq!(Error::new("no").because("of a text").os_error(), None);
    }

    #[test]
    fn context_goes_in_front_and_keeps_kind_host_hints_and_the_system_error() {
        let error = no_space().context("hosts file");
        assert_eq!(
            error.in_full(),
            "web1: hosts file: cannot write /etc/hosts: No space left on device (os error 28)"
        );
        assert_eq!((error.kind, error.os_error()), (7, Some(28)));
        assert_eq!(error.hints, ["free some space"]);
        let told = error.with_kind("failed").followed_by("; reverted");
        assert!(told.in_full().ends_with("(os error 28); reverted"), "{told:#}");
        assert!(told.source().is_none());
    }

    #[test]
    fn two_failures_stand_on_two_lines_with_each_hint_once() {
        let other = Error::on("web2", 9, "no answer").hint("free some space").hint("look");
        let both = no_space().beside(other);
        assert_eq!(
            both.in_full(),
            "web1: cannot write /etc/hosts: No space left on device (os error 28)\nweb2: no answer"
        );
        assert_eq!((both.kind, both.host.as_deref()), (7, None));
        assert_eq!(both.hints, ["free some space", "look"]);
    }
}
