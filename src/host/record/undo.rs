//! The undo records of a transaction, written before anything is touched.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::os::error::{Result, at};
use crate::host::os::files::{self, Saved};
use crate::host::record::fingerprint;
use crate::host::record::txn::Txn;
use crate::state::{NetworkManagerKind, Reaction};

/// One undo record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// What was at a path.
    Path {
        /// Absolute, the executor's view.
        path: PathBuf,
        /// What was there.
        saved: Saved,
    },
    /// A unit's state.
    Unit {
        /// With suffix.
        unit: String,
        /// It ran.
        active: bool,
        /// `UnitFileState`.
        enabled: String,
    },
    /// A reaction that ran with the new files: it must run with the old ones.
    Reaction {
        /// Which.
        reaction: Reaction,
    },
    /// The kernel's host name.
    Hostname {
        /// Before.
        running: String,
    },
    /// SELinux's running mode.
    Selinux {
        /// Before.
        enforcing: bool,
    },
    /// A SELinux boolean.
    Boolean {
        /// Name.
        name: String,
        /// Before.
        value: bool,
    },
    /// What was added to a firewalld zone, as options: `--add-service=http`.
    Firewall {
        /// Zone.
        zone: String,
        /// Options.
        options: Vec<String>,
    },
    /// A network profile was activated: the old one must be.
    Network {
        /// Who activates.
        manager: NetworkManagerKind,
        /// Interface.
        interface: String,
        /// Profile.
        path: String,
    },
    /// A file was renamed.
    Renamed {
        /// Its name before.
        from: PathBuf,
        /// Its name since.
        to: PathBuf,
    },
    /// Packages that were not there before. They stay, unless `remove --packages` erases them.
    Installed {
        /// Names without version.
        packages: Vec<String>,
    },
    /// Packages that the package manager brought along for those.
    CameAlong {
        /// Names without version.
        packages: Vec<String>,
    },
    /// Something that is not undone, for the operator to know.
    Stays {
        /// What.
        text: String,
    },
}

/// What an undo record says of paths.
pub(crate) enum OnPaths<'a> {
    /// This was there.
    Saved(&'a Path, &'a Saved),
    /// What was called `from` is called `to`.
    Renamed { from: &'a Path, to: &'a Path },
    /// Nothing.
    Nothing,
}

impl Undo {
    /// What it says of paths.
    pub(crate) fn on_paths(&self) -> OnPaths<'_> {
        match self {
            Undo::Path { path, saved } => OnPaths::Saved(path, saved),
            Undo::Renamed { from, to } => OnPaths::Renamed { from, to },
            Undo::Unit { .. }
            | Undo::Reaction { .. }
            | Undo::Hostname { .. }
            | Undo::Selinux { .. }
            | Undo::Boolean { .. }
            | Undo::Firewall { .. }
            | Undo::Network { .. }
            | Undo::Installed { .. }
            | Undo::CameAlong { .. }
            | Undo::Stays { .. } => OnPaths::Nothing,
        }
    }

    /// Paths that it is about.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        match self.on_paths() {
            OnPaths::Saved(path, _) => vec![path.to_owned()],
            OnPaths::Renamed { from, to } => vec![from.to_owned(), to.to_owned()],
            OnPaths::Nothing => Vec::new(),
        }
    }
}

/// The log, open for writing.
#[derive(Debug)]
pub struct Log {
    txn: Txn,
    file: File,
    path: PathBuf,
    old: PathBuf,
    next: usize,
    /// Paths whose new state is still to be noted.
    touched: Vec<PathBuf>,
}

impl Log {
    /// Opens a transaction's undo log.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(txn: &Txn) -> Result<Log> {
        let path = txn.file("undo");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(at("open", &path))?;
        let next = std::fs::read_dir(txn.old()).map_or(0, Iterator::count);
        Ok(Log {
            txn: txn.clone(),
            file,
            path,
            old: txn.old(),
            next,
            touched: Vec::new(),
        })
    }

    /// Appends an entry, durably.
    ///
    /// # Errors
    /// The disk refuses: then nothing must be touched.
    pub fn add(&mut self, entry: &Undo) -> Result<()> {
        self.touched.extend(entry.paths());
        let mut line = serde_json::to_vec(entry).unwrap_or_default();
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(at("write", &self.path))
    }

    /// A step is done: takes note of what it left, for a rollback to see what someone else changed since.
    pub fn step_done(&mut self) {
        if !self.touched.is_empty() {
            fingerprint::note(&self.txn, &std::mem::take(&mut self.touched));
        }
    }

    /// The transaction is done: what it left once more, as a later step or a service may have written to it.
    pub fn all_done(&mut self) {
        let mut paths: Vec<PathBuf> = read(&self.txn).iter().flat_map(Undo::paths).collect();
        paths.sort();
        paths.dedup();
        self.touched = paths;
        self.step_done();
    }

    /// Saves what is at a path (and notes the directories that will be created for it).
    ///
    /// # Errors
    /// It cannot be read or kept.
    pub fn keep(&mut self, path: &Path) -> Result<()> {
        for directory in files::missing_parents(path) {
            self.add(&Undo::Path {
                path: directory,
                saved: Saved::Missing,
            })?;
        }
        self.next += 1;
        let saved = files::save(path, &self.old.join(format!("{:04}", self.next)))?;
        self.add(&Undo::Path {
            path: path.to_owned(),
            saved,
        })
    }
}

/// All entries, oldest first.
pub(crate) fn read(txn: &Txn) -> Vec<Undo> {
    let text = std::fs::read_to_string(txn.file("undo")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
