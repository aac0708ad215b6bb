//! From the arguments to one command, and from its result to an exit code.

use clap::Parser;
use serde_json::json;

use super::args::{Args, Command, Global};
use super::error::Failure;
use super::exit::Exit;
use super::runtime::{block_on, in_lab};
use super::ui::Ui;
use super::{commands, session};

/// Parses the arguments, runs one command, maps its result to an exit code.
pub fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let ui = Ui::new(&args.global);
    let name = args.command.name();
    let exit = match run(&args, &ui) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.report(&ui);
            let exit = failure.exit();
            ui.summary(name, exit, failure.changed, json!({}));
            exit
        }
    };
    ui.finish();
    exit.into()
}

fn run(args: &Args, ui: &Ui) -> Result<Exit, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Render(render) => commands::render::run(global, render, ui),
        Command::Check(check) => inside(global, || commands::check::run(global, check, ui)),
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
fn inside(global: &Global, command: impl AsyncFnOnce() -> Result<Exit, Failure> + Send) -> Result<Exit, Failure> {
    if global.lab {
        let session = session::Session::load(global)?;
        let lab = crate::lab::Lab::open(&session.inventory.name)?;
        in_lab(&lab, command)
    } else {
        block_on(command)
    }
}
