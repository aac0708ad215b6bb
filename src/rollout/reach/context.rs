//! What reaching a pair takes.

use std::sync::Arc;

use crate::desired::{Secrets, Templates};
use crate::inventory::Inventory;
use crate::remote::{Ask, Target};
use crate::rollout::progress::Observer;

/// What every command over the pair needs.
pub struct Context<'a> {
    /// The pair.
    pub inventory: &'a Inventory,
    /// How to reach each host, in the inventory's order.
    pub targets: [Target; 2],
    /// Questions to the operator.
    pub ask: Arc<dyn Ask>,
    /// Templates of the files.
    pub templates: &'a Templates,
    /// Resolved secrets.
    pub secrets: Secrets,
    /// Who is told.
    pub observer: &'a dyn Observer,
}
