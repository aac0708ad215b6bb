//! How a command fails: what to say and with which exit code, at one place.

use super::exit::Exit;
use super::ui::Ui;
use crate::inventory::InventoryErrors;
use crate::state::Error;

/// Ends a command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to say, and how to exit.
    pub(crate) error: Box<Error<Exit>>,
    /// Already laid out with its own `error:` lines (the inventory's errors show the offending lines).
    pub(crate) verbatim: bool,
    /// Resources changed all the same, by host, for the summary.
    pub(crate) changed: serde_json::Value,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure::from(Error::of(exit, message))
    }

    /// Wrong usage or inventory.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub(crate) fn exit(&self) -> Exit {
        self.error.kind
    }

    /// The same with the error changed.
    pub(crate) fn map(self, change: impl FnOnce(Error<Exit>) -> Error<Exit>) -> Failure {
        Failure {
            error: Box::new(change(*self.error)),
            ..self
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        self.map(|error| error.hint(hint))
    }

    /// Says it.
    pub(crate) fn report(&self, ui: &Ui) {
        let Error { host, hints, .. } = &*self.error;
        let message = self.error.in_full();
        if self.verbatim {
            ui.finish();
            ui.note(&message);
            ui.json(&serde_json::json!({ "type": "error", "message": message, "hints": hints }));
        } else {
            ui.error(host.as_deref(), &message, hints);
        }
    }
}

impl<K> From<Error<K>> for Failure
where
    Exit: From<K>,
{
    fn from(error: Error<K>) -> Failure {
        Failure {
            error: Box::new(error.map_kind(Exit::from)),
            verbatim: false,
            changed: serde_json::json!({}),
        }
    }
}

impl From<InventoryErrors> for Failure {
    fn from(errors: InventoryErrors) -> Failure {
        Failure {
            verbatim: true,
            ..Failure::usage(errors.to_string())
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Failed, error.to_string())
    }
}
