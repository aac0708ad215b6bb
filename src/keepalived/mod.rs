//! keepalived.conf: lexer, parser, model, check.
//!
//! Pure: what has to be read from elsewhere (included files, environment) is asked of a [`Resolver`]. The way of a text:
//! [`expand`] (comments, `@` conditions, `$` definitions, `~SEQ`, includes) gives lines, [`tree`] gives statements with
//! nested bodies, [`table`] says which words exist and what may follow them, [`build`](self) fills the [`Config`],
//! [`check`] looks at the whole. Nothing panics on any input; everything found is reported at once, with line and column.

mod address;
mod build;
mod builder;
mod check;
mod diag;
mod effective;
mod expand;
mod family;
mod garp;
mod glob;
mod hmac;
mod instance;
mod model;
mod parse;
mod sequences;
mod source;
mod sync_group;
pub mod table;
mod tracked;
mod tree;
mod value;

pub use check::check;
pub use diag::{Diagnostic, Place, Severity};
pub use family::Family;
pub use glob::glob_match;
pub use model::*;
pub use parse::{blocks, lint, parse};
pub use source::{Include, KeyFile, NoFiles, Options, Resolver, Unread};
pub use tree::{Block, Stmt, Word, split_command};

#[cfg(test)]
mod tests;
