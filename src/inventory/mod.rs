//! `inventory.yaml` to a validated [`Inventory`]; every error points at a line.

mod model;

pub use model::*;
