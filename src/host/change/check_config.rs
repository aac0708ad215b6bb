//! hapair's own reading of keepalived.conf, on the host: its text, and whether what it runs can be run here.

use std::path::Path;

use crate::agent::config::{self, Files};
use crate::agent::script;
use crate::host::os::error::{Error, Result};
use crate::keepalived::{Diagnostic, Options, Severity, lint};
use crate::state::DisabledCheck;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The text: what it runs may be still to come.
    Text,
    /// The text, and the scripts on this host that it names.
    Host,
}

/// Everything there is to say about a text.
pub fn findings(text: &str, path: &str, scope: Scope) -> Vec<Diagnostic> {
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
    let (config, mut findings) = lint(text, &options);
    if scope == Scope::Host {
        findings.extend(script::findings(&config));
        findings.sort_by_key(|d| (d.place.file_index, d.place.line, d.place.column));
    }
    findings
}

/// The checks of a file that are not run on this host; none if it cannot be read.
pub fn disabled(path: &Path) -> Vec<DisabledCheck> {
    let Ok(loaded) = config::load(path, None) else {
        return Vec::new();
    };
    let disabled = script::disabled(&loaded.config).into_iter();
    disabled
        .map(|(script, reason)| DisabledCheck {
            name: script.name.clone(),
            reason,
        })
        .collect()
}

/// Checks a text.
///
/// # Errors
/// It holds an error; all of them are in the message.
pub fn check(text: &str, path: &str, scope: Scope) -> Result<()> {
    let errors: Vec<Diagnostic> = findings(text, path, scope)
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
