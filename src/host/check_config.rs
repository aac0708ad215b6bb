//! hapair's own reading of keepalived.conf, on the host.

use std::path::Path;

use super::error::{Error, Result};
use crate::keepalived::{Diagnostic, Include, Options, Resolver, Severity, glob_match, lint};

/// Reads what `include` names from the host's files.
#[derive(Debug, Clone, Copy)]
struct Files;

impl Resolver for Files {
    fn include(&self, pattern: &str, from: &Path) -> Vec<Include> {
        let full = from.parent().unwrap_or(Path::new("/")).join(pattern);
        let (Some(parent), Some(name)) = (full.parent(), full.file_name().map(|n| n.to_string_lossy())) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(parent) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|found| glob_match(&name, found))
            .collect();
        names.sort();
        let read = |name: String| {
            let path = parent.join(name);
            let content = std::fs::read_to_string(&path).map_err(|e| e.to_string());
            Include {
                path: path.to_string_lossy().into_owned(),
                content,
            }
        };
        names.into_iter().map(read).collect()
    }
}

/// Everything there is to say about a text.
pub fn findings(text: &str, path: &str) -> Vec<Diagnostic> {
    let name = nix::unistd::gethostname()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let short = name.split('.').next().unwrap_or_default();
    let options = Options {
        path,
        config_id: short,
        instance: &name,
        resolver: &Files,
    };
    lint(text, &options).1
}

/// Checks a text.
///
/// # Errors
/// It holds an error; all of them are in the message.
pub fn check(text: &str, path: &str) -> Result<()> {
    let errors: Vec<Diagnostic> = findings(text, path)
        .into_iter()
        .filter(|d| d.severity == Severity::Error)
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = errors.iter().map(|d| format!("{}: {}", d.place, d.message)).collect();
    let mut error = Error::new(lines.join("; "));
    error.hints.extend(errors.into_iter().filter_map(|d| d.hint));
    Err(error)
}
