//! A string that never shows itself.

use serde::{Deserialize, Serialize};

/// A password or key. `Debug` and `Display` print `********`; it travels only inside frames (encrypted by SSH).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself; every call is a place to look at when something leaks.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What stands in the place of a secret wherever one would be shown.
pub const MASK: &str = "********";

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}
