//! Where a configuration's text comes from, and its logical lines.

use std::path::Path;
use std::sync::Arc;

use super::diag::Place;

/// Where a parse gets from what is not in the text.
pub trait Resolver {
    /// The files that a pattern of an `include` names, in order; the pattern is relative to the directory of `from`.
    ///
    /// No match is an empty list, a file without content an [`Include`] that says why.
    fn include(&self, pattern: &str, from: &Path) -> Vec<Include>;
    /// `${_ENV name}`.
    fn env(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
    /// The file of a key of `auth_hmac`.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn key_file(&self, path: &str) -> Result<KeyFile, String> {
        let _ = path;
        Err("there are no files here".to_owned())
    }
    /// `${_RANDOM min max}`: both ends included.
    fn random(&self, min: u32, max: u32) -> u32 {
        let _ = max;
        min
    }
}

/// The file of a key.
#[derive(Clone)]
pub struct KeyFile {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its group or everybody may do something with it.
    pub open_to_others: bool,
}

/// One file that an `include` named.
#[derive(Debug, Clone)]
pub struct Include {
    /// Its path.
    pub path: String,
    /// Its content, or why there is none.
    pub content: Result<String, Unread>,
}

/// Why an included file has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is nothing that keepalived would read: a directory, a device, a FIFO, an executable file.
    Skipped(String),
    /// It should have been read and could not be.
    Failed(String),
}

/// A resolver that has no files and no environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Resolver for NoFiles {
    fn include(&self, _: &str, _: &Path) -> Vec<Include> {
        Vec::new()
    }
}

/// What the text alone does not say.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Path of the text, for messages and for relative includes.
    pub path: &'a str,
    /// What `@id` is compared with: `-i`, or the host name up to its first dot.
    pub config_id: &'a str,
    /// `${_INSTANCE}`: the value of `-i` or the host name.
    pub instance: &'a str,
    /// Files and environment.
    pub resolver: &'a dyn Resolver,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            path: "keepalived.conf",
            config_id: "",
            instance: "",
            resolver: &NoFiles,
        }
    }
}

/// Where a character came from; a logical line may be several lines of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A character and where it came from.
pub(super) type Ch = (char, At);

/// A logical line: no comment, no definition, nothing left to replace.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) chars: Vec<Ch>,
    pub(super) file: Arc<str>,
    pub(super) file_index: u32,
}

impl Line {
    pub(super) fn place(&self, at: At) -> Place {
        Place {
            file: self.file.clone(),
            file_index: self.file_index,
            line: at.line,
            column: at.column,
        }
    }

    pub(super) fn with(&self, chars: Vec<Ch>) -> Line {
        Line { chars, ..self.clone() }
    }
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
