//! Inventory, facts and templates to a host's desired state.
