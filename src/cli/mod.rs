//! Arguments, one file a command, renderers.

mod args;
mod commands;
mod error;
mod exit;
mod secrets;
mod session;
mod ui;

use clap::Parser;
use serde_json::json;

use args::{Args, Command};
use error::Failure;
use ui::Ui;

pub use exit::Exit;

/// Parses the arguments, runs one command, maps its result to an exit code.
pub fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let ui = Ui::new(&args.global);
    let name = args.command.name();
    let exit = match run(&args, &ui) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.report(&ui);
            ui.summary(name, failure.exit, failure.changed, json!({}));
            failure.exit
        }
    };
    ui.finish();
    exit.into()
}

fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Render(render) => commands::render::run(global, render, ui),
        Command::Plan(plan) => inside(global, || commands::plan::run(global, plan, ui)),
        Command::Apply(apply) => inside(global, || commands::apply::run(global, apply, ui)),
        Command::Status => inside(global, || commands::status::run(global, ui)),
        Command::Failover(failover) => inside(global, || commands::failover::run(global, failover, ui)),
        Command::Handover(handover) => inside(global, || commands::handover::run(global, handover, ui)),
        Command::Rollback(rollback) => inside(global, || commands::rollback::run(global, rollback, ui)),
        Command::Remove(remove) => inside(global, || commands::remove::run(global, remove, ui)),
        Command::Rehearse(rehearse) => commands::rehearse::run(global, rehearse, ui),
        Command::Lab(lab) => commands::lab::run(global, &lab.command, ui),
        Command::AgentBinary { file } => commands::agent_binary::run(file, ui),
        Command::Completions { shell } => commands::manual::completions(*shell),
        Command::Man { directory } => commands::manual::man(directory, ui),
    }
}

/// Runs a command that talks to hosts: with `--lab` on a thread inside the twins' network, so that no packet of it can
/// reach a real one.
fn inside(global: &args::Global, command: impl AsyncFnOnce() -> Result<Exit, Failure> + Send) -> Result<Exit, Failure> {
    if global.lab {
        let session = session::Session::load(global)?;
        let lab = crate::lab::Lab::open(&session.inventory.name)?;
        commands::rehearse::in_lab(&lab, command)
    } else {
        block_on(command)
    }
}

/// One thread drives everything; each host's SSH session has a thread of its own.
pub(crate) fn block_on(command: impl AsyncFnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command());
    // A blocking name lookup must not hold the process back.
    runtime.shutdown_background();
    result
}
