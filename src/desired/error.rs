//! What can go wrong while a desired state is made.

use crate::state::Error;

/// Why there is no desired state: a mistake in the inventory or in a template of the operator's, or a host on which the
/// inventory cannot be had.
pub type DesiredError = Error;

/// A value holds a character that could break out of the file it is rendered into. The value itself is not shown: it may
/// be a secret. `field` is in the inventory's words, `format` the kind of file.
pub(super) fn unsafe_value(host: &str, field: &str, character: &str, format: &str) -> DesiredError {
    DesiredError::new(format!("{field}: {character} is not allowed in {format}"))
        .at_host(host)
        .hint("change the value in the inventory")
}
