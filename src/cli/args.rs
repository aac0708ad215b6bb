//! The command line, in one place: help, man pages and completions come from here.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Turns two bare CentOS hosts into a verified nginx high-availability pair.
#[derive(Debug, Parser)]
#[command(name = "hapair", version, about)]
pub(crate) struct Args {
    /// The pair's inventory
    #[arg(short, long, global = true, default_value = "inventory.yaml", value_name = "FILE")]
    pub(crate) inventory: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write every file a host would get
    Render,
}
