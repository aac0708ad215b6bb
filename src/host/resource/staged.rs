//! A file as it will be.

use std::path::PathBuf;

/// One file as it will be.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Where it will be.
    pub path: PathBuf,
    /// All of it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}
