//! How a command fails: what to say and with which exit code, at one place.

use crate::rollout::{RolloutError, RolloutErrorKind};

use super::exit::Exit;
use super::ui::Ui;

/// Ends a command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) host: Option<String>,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// Already laid out with its own `error:` lines (the inventory's errors show the offending lines).
    pub(crate) verbatim: bool,
    /// Resources changed all the same, by host, for the summary.
    pub(crate) changed: serde_json::Value,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            host: None,
            message: message.into(),
            hints: Vec::new(),
            verbatim: false,
            changed: serde_json::json!({}),
        }
    }

    /// Wrong usage or inventory.
    pub(crate) fn usage(error: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::Usage, error.to_string())
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// Says it.
    pub(crate) fn report(&self, ui: &Ui) {
        if self.verbatim {
            ui.finish();
            ui.note(&self.message);
            ui.json(&serde_json::json!({ "type": "error", "message": self.message, "hints": self.hints }));
        } else {
            ui.error(self.host.as_deref(), &self.message, &self.hints);
        }
    }
}

impl From<RolloutError> for Failure {
    fn from(error: RolloutError) -> Failure {
        let exit = match error.kind {
            RolloutErrorKind::Failed => Exit::Failed,
            RolloutErrorKind::Usage => Exit::Usage,
            RolloutErrorKind::Unreachable => Exit::Unreachable,
            RolloutErrorKind::RolledBack => Exit::RolledBack,
        };
        Failure {
            exit,
            host: error.host,
            message: error.message,
            hints: error.hints,
            verbatim: false,
            changed: serde_json::json!({}),
        }
    }
}

impl From<crate::remote::RemoteError> for Failure {
    fn from(error: crate::remote::RemoteError) -> Failure {
        RolloutError::from(error).into()
    }
}

impl From<crate::inventory::InventoryErrors> for Failure {
    fn from(errors: crate::inventory::InventoryErrors) -> Failure {
        Failure {
            verbatim: true,
            ..Failure::usage(errors)
        }
    }
}

impl From<crate::lab::LabError> for Failure {
    fn from(error: crate::lab::LabError) -> Failure {
        Failure {
            hints: error.hints().to_vec(),
            ..Failure::new(Exit::Failed, error.to_string())
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Failed, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Exit::Failed, format!("{error:#}"))
    }
}
