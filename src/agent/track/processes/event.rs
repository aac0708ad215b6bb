//! What the kernel tells of a process.

/// What the kernel tells of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A copy of another.
    Forked { parent: u32, child: u32 },
    /// It became another program, or took another name.
    Renamed(u32),
    /// It is gone.
    Ended(u32),
    /// There was more than could be told.
    Missed,
}
