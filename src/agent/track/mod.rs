//! What decides about the priority: scripts, processes, files, interfaces that settle.

pub(super) mod checks;
pub(super) mod debounce;
pub(super) mod processes;
pub(super) mod track_files;
