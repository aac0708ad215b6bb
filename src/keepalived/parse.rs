//! From a text to a configuration, to bare statements, to everything there is to say.

use super::check::check;
use super::diag::{Diagnostic, Place};
use super::model::Config;
use super::source::Options;
use super::tree::Block;
use super::{build, expand, tree};

/// Parses a configuration. The configuration is as complete as the text allows even if there are errors; whoever wants
/// to run it first looks for [`Severity::Error`](super::Severity::Error) here and in [`check`].
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
