//! Putting files in place, atomically, and taking note of what was there.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::os::error::{Error, Result, at};
use crate::host::os::exec;
use crate::host::os::root::Root;

/// What was at a path before a transaction touched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub enum Saved {
    /// Nothing.
    Missing,
    /// A file.
    File {
        /// Where its bytes are kept, inside the transaction.
        stored: String,
        /// Of the file.
        #[serde(flatten)]
        access: Access,
        /// SELinux label.
        label: Option<String>,
    },
    /// A symbolic link.
    Symlink {
        /// Where to.
        target: String,
    },
    /// A directory; only its attributes are kept.
    Directory {
        /// Of the directory.
        #[serde(flatten)]
        access: Access,
    },
}

/// Who may do what with a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl Access {
    /// root's own, with these permission bits.
    pub const fn roots(mode: u32) -> Access {
        Access { mode, uid: 0, gid: 0 }
    }

    /// This process's own, with these permission bits.
    pub fn ours(mode: u32) -> Access {
        Access {
            mode,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }

    /// What a file or directory has now.
    pub fn of(meta: &fs::Metadata) -> Access {
        Access {
            mode: meta.permissions().mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        }
    }

    /// With owner and group by name.
    ///
    /// # Errors
    /// `/etc/passwd` or `/etc/group` has no such name.
    pub fn named(root: &Root, mode: u32, owner: &str, group: &str) -> Result<Access> {
        use crate::host::os::root::Database;
        let find = |what: &str, database: Database, name: &str| {
            root.id_of(database, name).ok_or_else(|| {
                Error::new(format!("there is no {what} `{name}` on this host"))
                    .hint("the package that creates it may be missing: see whether its repository is reachable")
            })
        };
        Ok(Access {
            mode,
            uid: find("user", Database::Passwd, owner)?,
            gid: find("group", Database::Group, group)?,
        })
    }
}

/// Copies what is at `path` into `store` (a new file there, readable by root only).
///
/// # Errors
/// It cannot be read, or the copy cannot be written.
pub fn save(path: &Path, store: &Path) -> Result<Saved> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Saved::Missing),
        Err(e) => return Err(at("look at", path)(e)),
    };
    let access = Access::of(&meta);
    if meta.is_symlink() {
        let target = fs::read_link(path).map_err(at("read the link", path))?;
        return Ok(Saved::Symlink {
            target: target.to_string_lossy().into_owned(),
        });
    }
    if meta.is_dir() {
        return Ok(Saved::Directory { access });
    }
    let bytes = fs::read(path).map_err(at("read", path))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(store)
        .map_err(at("keep a copy in", store))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(at("keep a copy in", store))?;
    let stored = store
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Saved::File {
        stored,
        access,
        label: label_of(path),
    })
}

/// Restores what [`save`] found.
///
/// # Errors
/// The stored copy cannot be read, or the path cannot be written.
pub fn restore(path: &Path, saved: &Saved, old: &Path) -> Result<()> {
    match saved {
        Saved::Missing => remove(path),
        Saved::File { stored, access, label } => {
            let kept = old.join(stored);
            let bytes = fs::read(&kept).map_err(at("read", &kept))?;
            // What was never touched needs no space to be restored.
            if is_as(path, &bytes, *access) {
                return Ok(());
            }
            if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
                remove(path)?;
            }
            write_atomic(path, &bytes, *access, label.as_deref())
        }
        Saved::Symlink { target } => {
            remove(path)?;
            symlink(target, path).map_err(at("restore the link", path))
        }
        Saved::Directory { access } => {
            if !path.is_dir() {
                remove(path)?;
                fs::create_dir_all(path).map_err(at("create", path))?;
            }
            set_access(path, *access)
        }
    }
}

/// A regular file with exactly these bytes and attributes.
fn is_as(path: &Path, bytes: &[u8], access: Access) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return false;
    };
    meta.is_file()
        && Access::of(&meta) == access
        && meta.len() == bytes.len() as u64
        && fs::read(path).is_ok_and(|have| have == bytes)
}

/// Removes a file, a link or an empty directory; one that is not there, or a directory with something in it that is not
/// ours, is left alone.
pub fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match gone {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTEMPTY | libc::ENOTDIR)) => Ok(()),
        Err(e) => Err(at("remove", path)(e)),
        Ok(()) => sync_parent(path),
    }
}

/// Puts a file in place: a temporary one in the same directory gets owner, mode and label before content, is synced
/// and renamed over the old.
///
/// # Errors
/// Whatever fails leaves the old file as it was and no temporary behind.
pub fn write_atomic(path: &Path, bytes: &[u8], access: Access, label: Option<&str>) -> Result<()> {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    // A name that neither yum, nginx, sudo nor network.service takes for its own.
    let temporary = path.with_file_name(format!(".hapair-{name}.tmp"));
    let _ = fs::remove_file(&temporary);
    let written = write_temporary(path, &temporary, bytes, access, label)
        .and_then(|()| fs::rename(&temporary, path).map_err(at("rename into place", path)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    if label.is_none() && selinux_enabled() {
        let _ = exec::run("restorecon", &["-F", &path.to_string_lossy()], Duration::from_secs(20));
    }
    sync_parent(path)
}

fn write_temporary(path: &Path, temporary: &Path, bytes: &[u8], access: Access, label: Option<&str>) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(at("write a temporary file for", path))?;
    std::os::unix::fs::fchown(&file, Some(access.uid), Some(access.gid)).map_err(at("set the owner of", path))?;
    file.set_permissions(fs::Permissions::from_mode(access.mode))
        .map_err(at("set the mode of", path))?;
    let policy = if label.is_none() { label_by_policy(path) } else { None };
    if let Some(label) = label.or(policy.as_deref()) {
        set_label(&file, label);
    }
    file.write_all(bytes).map_err(at("write", path))?;
    file.sync_all().map_err(at("write", path))
}

/// Sets owner and mode of what is at a path.
///
/// # Errors
/// The system refuses.
pub fn set_access(path: &Path, access: Access) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(access.uid), Some(access.gid)).map_err(at("set the owner of", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).map_err(at("set the mode of", path))
}

/// Makes the rename or removal itself durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(at("sync", parent))
}

/// Missing directories above `path`, outermost first.
pub fn missing_parents(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|dir| !dir.exists())
        .map(Path::to_path_buf)
        .collect();
    missing.reverse();
    missing
}

/// Creates a private directory and those above it.
///
/// # Errors
/// The system refuses.
pub fn private_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at("create", path))
}

/// SELinux is enabled in the running kernel (selinuxfs is mounted).
fn selinux_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// The SELinux label of a file; `None` where SELinux is off or the file system has none.
pub fn label_of(path: &Path) -> Option<String> {
    if !selinux_enabled() {
        return None;
    }
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut buffer = [0_u8; 512];
    // SAFETY: both strings end in NUL and the buffer is as long as stated.
    let length = unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            c"security.selinux".as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    let length = usize::try_from(length).ok().filter(|n| *n > 0)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Some(text.trim_end_matches('\0').to_owned())
}

/// The label that policy gives to a new file there; `None` where SELinux is off or the tool is missing.
fn label_by_policy(path: &Path) -> Option<String> {
    if !selinux_enabled() {
        return None;
    }
    let output = exec::run(
        "matchpathcon",
        &["-n", &path.to_string_lossy()],
        Duration::from_secs(20),
    )
    .ok()?;
    let label = output.stdout.trim();
    (output.ok() && label.contains(':')).then(|| label.to_owned())
}

/// Best effort: a file system without labels refuses, and `restorecon` follows.
fn set_label(file: &File, label: &str) {
    let Ok(text) = CString::new(label) else { return };
    let bytes = text.as_bytes_with_nul();
    // SAFETY: the descriptor is open, the name ends in NUL, and the value is as long as stated.
    unsafe {
        libc::fsetxattr(
            file.as_raw_fd(),
            c"security.selinux".as_ptr(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn save_and_restore_give_the_same_bytes_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("a.conf"), dir.path().join("old"));
        fs::create_dir(&old).unwrap();
        write_atomic(&path, b"before", Access::ours(0o640), None).unwrap();
        let saved = save(&path, &old.join("1")).unwrap();
        write_atomic(&path, b"after", Access::ours(0o600), None).unwrap();
        restore(&path, &saved, &old).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        restore(&path, &Saved::Missing, &old).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_was_there_is_stored_as_it_always_was() {
        let access = Access {
            mode: 0o640,
            uid: 1,
            gid: 2,
        };
        let file = Saved::File {
            stored: "0001".into(),
            access,
            label: Some("l".into()),
        };
        let written = [
            (Saved::Missing, r#"{"was":"missing"}"#),
            (
                file,
                r#"{"was":"file","stored":"0001","mode":416,"uid":1,"gid":2,"label":"l"}"#,
            ),
            (
                Saved::Symlink { target: "t".into() },
                r#"{"was":"symlink","target":"t"}"#,
            ),
            (
                Saved::Directory { access },
                r#"{"was":"directory","mode":416,"uid":1,"gid":2}"#,
            ),
        ];
        for (saved, text) in written {
            assert_eq!(serde_json::to_string(&saved).unwrap(), text);
            assert_eq!(serde_json::from_str::<Saved>(text).unwrap(), saved);
        }
    }

    #[test]
    fn a_full_disk_harms_nothing() {
        // /dev/full refuses every byte, but only a directory can hold a temporary; a directory that is gone is the
        // nearest failure that needs no root.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/a.conf");
        let error = write_atomic(&path, b"x", Access::ours(0o644), None).unwrap_err();
        assert!(error.message.contains("a.conf"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_come_back_as_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        symlink("target", &path).unwrap();
        let saved = save(&path, &dir.path().join("kept")).unwrap();
        write_atomic(&path, b"x", Access::ours(0o644), None).unwrap();
        restore(&path, &saved, dir.path()).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("target"));
    }
}
