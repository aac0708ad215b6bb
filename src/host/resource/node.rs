//! What is at a path.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::os::root::{Database, Root};
use crate::host::resource::text_diff::lines;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// Its bytes; for the executor's copy a word that says whether it is one.
        #[serde(with = "as_text")]
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// By name, or the number where none is known.
        owner: String,
        /// By name, or the number.
        group: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// By name, or the number.
        owner: String,
        /// By name, or the number.
        group: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where to.
        target: String,
    },
    /// A socket, device or pipe, or something that cannot be read.
    Other {
        /// What it is.
        what: String,
    },
}

/// Bytes that are UTF-8 travel as a string: a list of numbers is four times as long.
pub(crate) mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        })
    }
}

impl Node {
    /// Mode and owners of a file or a directory.
    pub(crate) fn attributes(&self) -> Option<Attributes<'_>> {
        match self {
            Node::File { mode, owner, group, .. } | Node::Directory { mode, owner, group } => Some(Attributes {
                mode: *mode,
                owner,
                group,
            }),
            Node::Missing | Node::Symlink { .. } | Node::Other { .. } => None,
        }
    }

    /// Text of a file; `None` for everything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Node::File { content, .. } => Some(String::from_utf8_lossy(content).into_owned()),
            _ => None,
        }
    }
}

/// Content of [`Node::File`] for a file that is the executor, byte for byte.
pub const IS_EXECUTOR: &[u8] = b"executor";

/// What is at `path` now.
pub fn node(root: &Root, path: &Path) -> Node {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Node::Missing,
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => return Node::Missing,
        Err(e) => return Node::Other { what: e.to_string() },
    };
    let mode = meta.permissions().mode() & 0o7777;
    let owner = root.name_of(Database::Passwd, meta.uid());
    let group = root.name_of(Database::Group, meta.gid());
    if meta.is_symlink() {
        let target = fs::read_link(path)
            .map(|t| t.to_string_lossy().into_owned())
            .unwrap_or_default();
        Node::Symlink { target }
    } else if meta.is_dir() {
        Node::Directory { mode, owner, group }
    } else if meta.is_file() {
        match fs::read(path) {
            Ok(content) => Node::File {
                content,
                mode,
                owner,
                group,
            },
            Err(e) => Node::Other { what: e.to_string() },
        }
    } else {
        Node::Other {
            what: "not a regular file".to_owned(),
        }
    }
}

/// Where an edit of `path` lands: a symbolic link is followed, as an editor would.
pub fn edit_target(root: &Root, path: &str) -> std::path::PathBuf {
    let at = root.path(path);
    fs::canonicalize(&at).unwrap_or(at)
}

/// Mode and owners of a file or a directory, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) owner: &'a str,
    pub(crate) group: &'a str,
}

impl Attributes<'_> {
    /// `mode 0644 to 0600, owner root:root to ann:ann`: from these to `other`.
    pub(crate) fn change_to(self, other: Attributes<'_>) -> Option<String> {
        let mut out = Vec::new();
        if self.mode != other.mode {
            out.push(format!("mode {:04o} to {:04o}", self.mode, other.mode));
        }
        if (self.owner, self.group) != (other.owner, other.group) {
            out.push(format!(
                "owner {}:{} to {}:{}",
                self.owner, self.group, other.owner, other.group
            ));
        }
        if out.is_empty() { None } else { Some(out.join(", ")) }
    }
}

/// What is kept of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// All of it.
    Text,
    /// Its hash in the content's place: a secret, a program, or something long.
    Hash,
}

/// Longer files are not compared line by line: bytes.
pub(crate) const DIFF_LIMIT: usize = 1 << 20;

/// What differs between two states of a path, in words.
pub(crate) fn difference(was: &Node, now: &Node, kept: Kept) -> Vec<String> {
    let both = was.attributes().zip(now.attributes());
    let attributes = both.and_then(|(was, now)| was.change_to(now));
    match (was, now) {
        (was, now) if was == now => Vec::new(),
        (Node::Missing, Node::Symlink { target }) => vec![format!("created, a link to {target}")],
        (Node::Missing, _) => vec!["created".into()],
        (_, Node::Missing) => vec!["deleted".into()],
        (Node::File { content: had, .. }, Node::File { content, .. }) => {
            let mut words = Vec::new();
            match (std::str::from_utf8(had), std::str::from_utf8(content)) {
                _ if had == content => {}
                (Ok(had), Ok(now)) if kept == Kept::Text && now.len() <= DIFF_LIMIT => {
                    words.push(format!("{} changed", lines(had, now)));
                }
                _ => words.push("content changed".into()),
            }
            words.extend(attributes);
            words
        }
        (Node::Directory { .. }, Node::Directory { .. }) => attributes.into_iter().collect(),
        (_, Node::Symlink { target }) => vec![format!("replaced by a link to {target}")],
        (_, Node::Directory { .. }) => vec!["replaced by a directory".into()],
        (_, Node::File { .. }) => vec!["replaced by a file".into()],
        (_, Node::Other { what }) => vec![format!("replaced ({what})")],
    }
}
