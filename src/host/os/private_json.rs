//! JSON files that only root reads.

use std::path::Path;

use crate::host::os::error::{Error, Result};
use crate::host::os::files;

/// Writes JSON to a private file, atomically.
pub fn write_private(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::new(format!("cannot encode: {e}")))?;
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    files::write_atomic(path, &bytes, 0o600, uid, gid, None)
}
