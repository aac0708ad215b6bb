//! Arguments, one file a command, renderers.

mod args;
mod exit;

use clap::Parser;

pub use exit::Exit;

/// Parses the arguments, runs one command, maps its result to an exit code.
pub fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    let exit = match args.command {
        _ => Exit::Failed,
    };
    exit.into()
}
