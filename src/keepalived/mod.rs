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
mod garp;
mod glob;
mod hmac;
mod instance;
mod model;
mod sequences;
mod source;
mod sync_group;
pub mod table;
mod tracked;
mod tree;
mod value;

pub use check::check;
pub use diag::{Diagnostic, Place, Severity};
pub use glob::glob_match;
pub use model::*;
pub use source::{Include, KeyFile, NoFiles, Options, Resolver, Unread};
pub use tree::{Block, Stmt, Word, split_command};

/// Parses a configuration. The configuration is as complete as the text allows even if there are errors; whoever wants
/// to run it first looks for [`Severity::Error`] here and in [`check`].
pub fn parse(text: &str, options: &Options<'_>) -> (Config, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let lines = expand::expand(text, options, &mut diagnostics);
    let statements = tree::build(&lines, &mut diagnostics);
    let config = build::config(&statements, options.resolver, &mut diagnostics);
    if config.instances.is_empty() {
        let place = Place {
            file: options.path.into(),
            file_index: 0,
            line: 1,
            column: 1,
        };
        diagnostics.push(Diagnostic::warning(&place, "there is no vrrp_instance"));
    }
    diagnostics.sort_by_key(|d| d.place.order());
    (config, diagnostics)
}

/// The statements of a text after expansion, without meaning: two files are the same configuration if these are equal.
pub fn blocks(text: &str, options: &Options<'_>) -> (Vec<Block>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let lines = expand::expand(text, options, &mut diagnostics);
    let statements = tree::build(&lines, &mut diagnostics);
    (statements.iter().map(Block::from).collect(), diagnostics)
}

/// Parses and checks: everything there is to say about a text.
pub fn lint(text: &str, options: &Options<'_>) -> (Config, Vec<Diagnostic>) {
    let (config, mut diagnostics) = parse(text, options);
    diagnostics.extend(check(&config));
    diagnostics.sort_by_key(|d| d.place.order());
    (config, diagnostics)
}

#[cfg(test)]
mod tests;
