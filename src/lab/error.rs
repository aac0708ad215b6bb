//! What can go wrong with a lab.

pub(super) use crate::state::error::Doing;

/// Why the lab could not do it.
pub type LabError = crate::state::Error;
