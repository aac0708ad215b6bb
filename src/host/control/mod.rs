//! Units, reboots, faults and holds on request.

pub mod fault;
pub mod handover;
pub mod keep_vips;
pub mod reboot;
pub mod stopped_units;
