//! Why something on this host could not be done.

use std::fmt;
use std::path::Path;

/// What failed, with its cause, and what to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Lower case, no final period; names the file, unit or command.
    pub message: String,
    /// What to do now.
    pub hints: Vec<String>,
}

/// Result of this room's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without hints.
    pub fn new(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }

    /// A failed file operation: `cannot write /etc/hosts: No space left on device (os error 28)`.
    pub fn io(what: &str, path: &Path, cause: &std::io::Error) -> Error {
        let error = Error::new(format!("cannot {what} {}: {cause}", path.display()));
        match cause.raw_os_error() {
            Some(libc::ENOSPC) => error.hint("free some space on that file system and apply again"),
            Some(libc::EROFS) => error.hint("the file system is mounted read-only; see dmesg for the reason"),
            Some(libc::EPERM | libc::EACCES) => {
                error.hint("the executor must be root; an immutable attribute (lsattr) refuses root too")
            }
            _ => error,
        }
    }

    /// Puts what was being done in front.
    pub fn context(mut self, what: &str) -> Error {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `map_err(at("write", &path))`.
pub fn at<'a>(what: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |cause| Error::io(what, path, &cause)
}
