//! Making one resource as desired.

use crate::host::os::error::Result;
use crate::host::resource::kinds;
use crate::host::resource::observed::Observed;
use crate::host::resource::worker::Worker;
use crate::state::resource::Resource;

/// Makes a resource as desired.
///
/// # Errors
/// What failed; what was replaced is in the undo log.
pub fn converge(worker: &mut Worker<'_>, resource: &Resource, observed: &Observed) -> Result<()> {
    kinds::of(&resource.spec).converge(worker, observed)
}
