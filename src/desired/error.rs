//! What can go wrong while a desired state is made.

/// Why there is no desired state. `Display` says what and where; [`DesiredError::hints`] what to do now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    /// The inventory has no such host.
    #[error("no host '{host}' in the inventory")]
    UnknownHost {
        /// As asked.
        host: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// What the inventory wants cannot be had on this host.
    #[error("{host}: {message}")]
    Impossible {
        /// The host's name in the inventory.
        host: String,
        /// Lower case, no final period.
        message: String,
        /// What to do now.
        hints: Vec<String>,
    },
    /// A value holds a character that could break out of the file it is rendered into.
    #[error("{host}: {field}: {character} is not allowed in {format}")]
    Unsafe {
        /// The host's name in the inventory.
        host: String,
        /// Which value, in the inventory's words; the value itself is not shown, it may be a secret.
        field: String,
        /// The character, made visible.
        character: String,
        /// The kind of file.
        format: &'static str,
    },
    /// A template does not parse or does not render.
    #[error("template {template}:{line}:{column}: {message}")]
    Template {
        /// The template's name: its path below the template directory.
        template: String,
        /// From 1; 0 when the template as a whole is meant.
        line: usize,
        /// From 1; 0 when the template as a whole is meant.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The directory of overriding templates cannot be used.
    #[error("template directory {path}: {message}")]
    Overrides {
        /// The file or directory in question.
        path: String,
        /// What is wrong.
        message: String,
        /// What to do now.
        hints: Vec<String>,
    },
}

impl DesiredError {
    /// What to do now; may be empty.
    pub fn hints(&self) -> Vec<String> {
        match self {
            DesiredError::UnknownHost { known, .. } => vec![format!("the inventory has {}", known.join(" and "))],
            DesiredError::Impossible { hints, .. } | DesiredError::Overrides { hints, .. } => hints.clone(),
            DesiredError::Unsafe { .. } => vec!["change the value in the inventory".to_owned()],
            DesiredError::Template { template, .. } => {
                vec![format!(
                    "correct or remove {template} in the directory of your own templates"
                )]
            }
        }
    }
}
