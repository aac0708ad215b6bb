//! Why something on this host could not be done.

use std::path::Path;

pub use crate::state::Error;

/// Result of this room's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed file operation, `map_err(at("write", &path))`: `cannot write /etc/hosts: No space left on device (os error
/// 28)`.
pub fn at<'a>(what: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |cause| {
        let number = cause.raw_os_error();
        let error = Error::new(format!("cannot {what} {}", path.display())).because(cause);
        match number {
            Some(libc::ENOSPC) => error.hint("free some space on that file system and apply again"),
            Some(libc::EROFS) => error.hint("the file system is mounted read-only; see dmesg for the reason"),
            Some(libc::EPERM | libc::EACCES) => {
                error.hint("the executor must be root; an immutable attribute (lsattr) refuses root too")
            }
            _ => error,
        }
    }
}
