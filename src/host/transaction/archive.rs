//! What old, pruned transactions did: `remove` names what it cannot restore instead of guessing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::os::files::Saved;
use crate::host::os::root::Root;
use crate::host::record::txn::{LAST, Txn, all};
use crate::host::record::undo::{self, OnPaths};
use crate::host::record::{fingerprint, history};
use crate::host::resource::undoings;

const FILE: &str = "/var/lib/hapair/pruned";

/// One forgotten transaction: one line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    paths: Vec<Touched>,
    /// Units, host name and the like, in words.
    others: Vec<String>,
    packages: Vec<String>,
    #[serde(default)]
    along: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Touched {
    path: PathBuf,
    before: String,
    left: Option<String>,
}

/// What all pruned transactions did, taken together.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    /// Paths that did not exist before the first of them, with what the last of them left there.
    pub(crate) created: BTreeMap<PathBuf, String>,
    /// What was there before is lost.
    pub(crate) lost: BTreeSet<String>,
    /// Installed by hapair.
    pub(crate) packages: BTreeSet<String>,
    /// Brought along for those.
    pub(crate) along: BTreeSet<String>,
}

/// Takes note of a transaction that is about to be forgotten.
pub(crate) fn note(root: &Root, txn: &Txn) {
    let mut entries = undo::read(txn);
    if !history::is_in_force(root, txn) {
        // What it replaced is in place again; what it installed stayed.
        entries.retain(|e| undoings::of(e).installed().is_some());
    }
    let notes = fingerprint::read(txn);
    let mut line = Line {
        id: txn.id.to_string(),
        paths: Vec::new(),
        others: Vec::new(),
        packages: Vec::new(),
        along: Vec::new(),
    };
    for entry in &entries {
        if let OnPaths::Saved(path, saved) = entry.on_paths() {
            // Its first state counts.
            if path != root.path(LAST) && line.paths.iter().all(|t| t.path != path) {
                line.paths.push(Touched {
                    path: path.to_owned(),
                    before: fingerprint::fingerprint_of_saved(saved, &txn.old()),
                    left: notes
                        .get(path)
                        .cloned()
                        .filter(|_| !matches!(saved, Saved::Directory { .. })),
                });
            }
        }
        let undoing = undoings::of(entry);
        if let Some(installed) = undoing.installed() {
            installed.add_to(&mut line.packages, &mut line.along);
        }
        line.others.extend(undoing.lost());
    }
    if entries.is_empty() {
        return;
    }
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(root.path(FILE));
    let _ = file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_data()));
}

/// Everything that was noted.
pub(crate) fn read(root: &Root) -> Archive {
    let mut all = Archive::default();
    let text = root.read(FILE).unwrap_or_default();
    for line in text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok()) {
        all.lost.extend(line.others);
        all.packages.extend(line.packages);
        all.along.extend(line.along);
        for Touched { path, before, left } in line.paths {
            let ours = before == fingerprint::missing() || all.created.get(&path) == Some(&before);
            match left {
                Some(left) if ours => drop(all.created.insert(path, left)),
                _ => {
                    all.created.remove(&path);
                    all.lost.insert(path.display().to_string());
                }
            }
        }
    }
    all
}

/// How many ended transactions are kept for rollback.
const KEPT: usize = 20;

/// Removes the oldest ended transactions beyond those kept.
pub fn prune(root: &Root) {
    let ended: Vec<Txn> = all(root)
        .into_iter()
        .filter(|t| t.is_finished() && !t.has("armed"))
        .collect();
    for txn in ended.iter().take(ended.len().saturating_sub(KEPT)) {
        note(root, txn);
        let _ = std::fs::remove_dir_all(&txn.dir);
    }
}
