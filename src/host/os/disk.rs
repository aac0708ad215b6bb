//! Room on file systems.

use std::os::unix::fs::MetadataExt;

use nix::sys::statvfs::statvfs;

use crate::host::os::root::Root;

/// Room on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// A directory on it.
    pub path: String,
    /// Bytes that root may still write.
    pub bytes: u64,
    /// Files that may still be made; `None`: without limit.
    pub files: Option<u64>,
}

/// Room where these directories are, each file system once.
pub fn room(root: &Root, paths: &[&str]) -> Vec<Room> {
    let mut devices = Vec::new();
    let mut all = Vec::new();
    for path in paths {
        let place = root.path(path);
        let Ok(device) = std::fs::metadata(&place).map(|m| m.dev()) else {
            continue;
        };
        let Ok(stat) = statvfs(&place) else { continue };
        if devices.contains(&device) {
            continue;
        }
        devices.push(device);
        all.push(Room {
            path: (*path).to_owned(),
            bytes: stat.blocks_free() * stat.fragment_size(),
            // Some file systems count none.
            files: (stat.files() > 0).then(|| stat.files_free()),
        });
    }
    all
}
