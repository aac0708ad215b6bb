//! JSON files that only root reads.

use std::path::Path;

use crate::host::os::error::{Error, Result};
use crate::host::os::files::{self, Access};

/// Writes JSON to a private file, atomically.
pub fn write_private(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::new("cannot encode").because(e))?;
    files::write_atomic(path, &bytes, Access::ours(0o600), None)
}
