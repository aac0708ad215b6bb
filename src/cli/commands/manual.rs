//! `hapair completions` and `hapair man`: generated from the same definition as the help.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::args::Args;
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::ui::Ui;
use crate::state::error::Doing;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hapair", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Exit::Done)
}

pub(crate) fn man(directory: &Path, ui: &Ui) -> Result<Exit, Failure> {
    let shown = directory.display();
    std::fs::create_dir_all(directory).at("create", directory)?;
    clap_mangen::generate_to(Args::command(), directory).at("write to", directory)?;
    ui.note(format!("man pages are in {shown}"));
    Ok(Exit::Done)
}
