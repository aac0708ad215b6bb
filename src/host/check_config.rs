//! hapair's own reading of keepalived.conf, on the host.

use super::error::{Error, Result};
use crate::agent::config::Files;
use crate::keepalived::{Diagnostic, Options, Severity, lint};

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
