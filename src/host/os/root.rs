//! Where the host's files are: `/`, or a directory that stands for it in tests.

use std::path::{Path, PathBuf};

/// The host that is worked on.
#[derive(Debug, Clone)]
pub struct Root {
    prefix: PathBuf,
}

impl Root {
    /// The machine this runs on.
    pub fn live() -> Root {
        Root {
            prefix: PathBuf::from("/"),
        }
    }

    /// A directory laid out like a host. Nothing outside it is read or written, and no command is run.
    pub fn at(prefix: impl Into<PathBuf>) -> Root {
        Root { prefix: prefix.into() }
    }

    /// Whether this is the machine itself: only then are there units, packages and interfaces to ask for.
    pub fn is_live(&self) -> bool {
        self.prefix == Path::new("/")
    }

    /// Where a path of the host is.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.prefix.join(absolute.trim_start_matches('/'))
    }

    /// A text file's content; `None` if there is none or it cannot be read.
    pub fn read(&self, absolute: &str) -> Option<String> {
        let bytes = std::fs::read(self.path(absolute)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A one-line file, trimmed; empty if there is none.
    pub fn line(&self, absolute: &str) -> String {
        self.read(absolute)
            .and_then(|t| t.lines().next().map(|l| l.trim().to_owned()))
            .unwrap_or_default()
    }

    /// Names in a directory, sorted; empty if there is none.
    pub fn names(&self, absolute: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(absolute)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Numeric id of a user (`/etc/passwd`) or group (`/etc/group`); the files are read here because libc's own
    /// lookup would load the host's NSS modules into a static binary.
    pub fn id_of(&self, database: Database, name: &str) -> Option<u32> {
        self.read(database.path())?.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
        })
    }

    /// Name for a numeric id, or the number itself where no line has it.
    pub fn name_of(&self, database: Database, id: u32) -> String {
        let found = self.read(database.path()).and_then(|text| {
            text.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)?.parse::<u32>().ok()? == id).then(|| name.to_owned())
            })
        });
        found.unwrap_or_else(|| id.to_string())
    }
}

/// An account database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Users.
    Passwd,
    /// Groups.
    Group,
}

impl Database {
    fn path(self) -> &'static str {
        match self {
            Database::Passwd => "/etc/passwd",
            Database::Group => "/etc/group",
        }
    }
}
