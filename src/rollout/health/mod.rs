//! Whether the pair is well: a gate between two hosts, who owns what, the proof from outside at the end.

pub(super) mod gate;
pub(super) mod roles;
pub(super) mod verify;
