//! What the parser and the check have to say.

use std::fmt;
use std::sync::Arc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Accepted; the effect is probably not what was meant.
    Warning,
    /// Cannot be run.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As given in the options, or as the resolver named an included file.
    pub file: Arc<str>,
    /// In which order the file was opened: 0 is the main file.
    pub file_index: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters. What a definition produced has the place of its `$`.
    pub column: u32,
}

impl Place {
    pub(super) fn order(&self) -> (u32, u32, u32) {
        (self.file_index, self.line, self.column)
    }
}

impl Default for Place {
    fn default() -> Place {
        Place {
            file: Arc::from(""),
            file_index: 0,
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What; lower case, no final period. Never holds a password.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity,
            place: place.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// Something that cannot be run.
    pub fn error(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Error, place, message)
    }

    /// Something that is accepted.
    pub fn warning(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, place, message)
    }

    pub(super) fn note(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Note, place, message)
    }

    /// The same with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
