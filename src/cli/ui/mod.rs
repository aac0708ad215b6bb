//! What the operator sees: data on stdout, progress and errors on stderr.

mod console;
mod human;
mod style;

pub(crate) use console::{Ui, ask_yes};
