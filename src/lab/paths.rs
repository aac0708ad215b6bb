//! Where a lab's things are: every name follows from the lab's name.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Doing, LabError};

/// State of all labs.
pub(super) const STATE: &str = "/run/hapair/lab";

/// Images of all labs; survives `down`.
pub(super) const CACHE: &str = "/var/cache/hapair/lab";

/// Paths of one lab.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) name: String,
}

impl Paths {
    pub(super) fn new(name: &str) -> Result<Paths, LabError> {
        let fine = (1..=48).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !name.starts_with('-');
        if !fine {
            return Err(LabError::new(format!("`{name}` cannot be the name of a lab"))
                .hint("use 1 to 48 letters, digits, `-` or `_`"));
        }
        Ok(Paths { name: name.to_owned() })
    }

    pub(super) fn state(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    pub(super) fn spec(&self) -> PathBuf {
        self.state().join("lab.json")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.state().join("id_ed25519")
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.state().join("known_hosts")
    }

    pub(super) fn host(&self, host: &str) -> PathBuf {
        self.state().join("hosts").join(host)
    }

    pub(super) fn controller(&self) -> PathBuf {
        self.state().join("controller")
    }

    /// Name of the bridge's network namespace.
    pub(super) fn bridge_ns(&self) -> String {
        format!("hp-{}-net", self.name)
    }

    /// Name of the controller's network namespace.
    pub(super) fn controller_ns(&self) -> String {
        format!("hp-{}-ctl", self.name)
    }
}

/// An exclusive `flock` on a directory, released on drop.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Creates the directory if need be and locks it, waiting at most `patience`; `waiting` is called once if that
    /// takes a while. Whoever removes the directory does so while holding the lock, so a lock on a removed directory
    /// is taken anew.
    pub(super) fn take(dir: &Path, patience: Duration, waiting: &mut dyn FnMut()) -> Result<DirLock, LabError> {
        let start = Instant::now();
        let mut told = false;
        loop {
            std::fs::create_dir_all(dir).at("create", dir)?;
            let file = match File::open(dir) {
                Ok(file) => file,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e).at("open", dir),
            };
            // SAFETY: the descriptor is open for as long as `file` lives.
            let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
            if locked {
                let same = match (file.metadata(), std::fs::metadata(dir)) {
                    (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
                    _ => false,
                };
                if same {
                    return Ok(DirLock { _file: file });
                }
                continue;
            }
            if start.elapsed() > patience {
                return Err(LabError::new(format!("{} is in use by another hapair", dir.display()))
                    .hint("wait until it is done, or end it"));
            }
            if !std::mem::replace(&mut told, true) {
                waiting();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Removes a tree; one that is not there is fine. A process that is just dying may still put something in, and an
/// overlay that is just unmounted still hold its work directory: hence a few tries.
pub(super) fn remove_tree(path: &Path) -> Result<(), LabError> {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(()),
            Err(e) if start.elapsed() > Duration::from_secs(2) => return Err(e).at("remove", path),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Writes a file with its mode, creating missing directories (mode 755).
pub(super) fn write(path: &Path, mode: u32, content: impl AsRef<[u8]>) -> Result<(), LabError> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).at("create", parent)?;
    }
    // Created closed and opened up afterwards: some of these files hold keys.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .at("write", path)?;
    file.write_all(content.as_ref()).at("write", path)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .at("set the mode of", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_name_never_leaves_its_directory() {
        for bad in ["", "..", "a/b", ".", "-x", "a b", &"x".repeat(49)] {
            assert!(Paths::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Paths::new("edge-2").unwrap().state(),
            Path::new("/run/hapair/lab/edge-2")
        );
    }

    #[test]
    fn a_lock_excludes_and_survives_removal_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab");
        let first = DirLock::take(&path, Duration::ZERO, &mut || {}).unwrap();
        assert!(DirLock::take(&path, Duration::ZERO, &mut || {}).is_err());
        std::fs::remove_dir(&path).unwrap();
        let second = DirLock::take(&path, Duration::ZERO, &mut || {}).unwrap();
        drop(first);
        assert!(DirLock::take(&path, Duration::ZERO, &mut || {}).is_err());
        drop(second);
        DirLock::take(&path, Duration::ZERO, &mut || {}).unwrap();
    }
}
