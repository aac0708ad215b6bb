//! What a transaction left at the paths it touched, so that a rollback knows what someone else changed since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::os::files::{Access, Saved};
use crate::host::os::root::Root;
use crate::host::record::txn::{Txn, all};
use crate::state::TxnId;
use crate::state::hex::hex;

/// One line of the file `left`.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    path: PathBuf,
    print: String,
}

const MISSING: &str = "missing";

/// What is at a path, in a word that tells two states of it apart: kind, mode, owner, bytes.
pub(crate) fn fingerprint_of(path: &Path) -> String {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return MISSING.to_owned();
    };
    let access = Access::of(&meta);
    if meta.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        format!("link {}", target.to_string_lossy())
    } else if meta.is_dir() {
        directory(access)
    } else {
        file(fs::read(path).ok().as_deref(), access)
    }
}

/// The same of what a transaction keeps.
pub(crate) fn fingerprint_of_saved(saved: &Saved, old: &Path) -> String {
    match saved {
        Saved::Missing => MISSING.to_owned(),
        Saved::Symlink { target } => format!("link {target}"),
        Saved::Directory { access } => directory(*access),
        Saved::File { stored, access, .. } => file(fs::read(old.join(stored)).ok().as_deref(), *access),
    }
}

/// Of a path at which nothing is.
pub(crate) fn missing() -> String {
    MISSING.to_owned()
}

fn directory(Access { mode, uid, gid }: Access) -> String {
    format!("directory {mode:o} {uid} {gid}")
}

fn file(bytes: Option<&[u8]>, Access { mode, uid, gid }: Access) -> String {
    let sum = bytes.map_or_else(|| "unreadable".to_owned(), |b| hex(&Sha256::digest(b)));
    format!("file {mode:o} {uid} {gid} {sum}")
}

/// Takes note of these paths as they are now. A note that cannot be written makes a rollback ask for `--force`; it is
/// no reason to fail.
pub(crate) fn note(txn: &Txn, paths: &[PathBuf]) {
    use std::io::Write;
    let mut text = String::new();
    for path in paths {
        let line = Line {
            path: path.clone(),
            print: fingerprint_of(path),
        };
        text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        text.push('\n');
    }
    let file = fs::OpenOptions::new().create(true).append(true).open(txn.file("left"));
    let _ = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()));
}

/// What the transaction left, as far as it got to take note; the last note of a path counts.
pub(crate) fn read(txn: &Txn) -> BTreeMap<PathBuf, String> {
    let text = fs::read_to_string(txn.file("left")).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok());
    lines.map(|l| (l.path, l.print)).collect()
}

/// A transaction after `since` that did not end well, or has not ended, and left this path as it is now: what it did is
/// remembered nowhere else.
pub(crate) fn left_by_unended(root: &Root, path: &Path, since: &TxnId) -> Option<TxnId> {
    let now = fingerprint_of(path);
    let later = all(root).into_iter().filter(|txn| txn.id.parts() > since.parts());
    let unended = later.filter(|txn| !txn.is_done());
    unended
        .into_iter()
        .find(|txn| read(txn).get(path) == Some(&now))
        .map(|txn| txn.id)
}
