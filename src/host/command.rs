//! Runs one command line of `hapair-agent`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use super::arguments::{Command, HELP, Wrong, parse};
use crate::agent::{self, Invocation, RunOptions};
use crate::host::change::check_config;
use crate::host::control::{fault, reboot};
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::serve::session;
use crate::host::transaction::{revert, runner};
use crate::state::Fault;

/// Entry point of the `hapair-agent` binary.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let root = Root::live();
    let command = match parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(Wrong::Usage) => {
            complain(HELP);
            return ExitCode::from(2);
        }
        Err(Wrong::Argument(error)) => {
            report(Err(error));
            return ExitCode::from(2);
        }
    };
    match command {
        Command::Serve => {
            session::serve(&root);
            ExitCode::SUCCESS
        }
        Command::Txn(id) => report(runner::run(&root, &id)),
        Command::Revert(id, when) => report(revert::by_timer(&root, &id, when)),
        Command::EndFault { unit } => report(fault::repair(&root, &Fault::Stop { unit })),
        Command::HoldAtBoot { seconds } => report(reboot::hold(&root, &seconds)),
        Command::CheckConfig { path } => check_config(&path),
        Command::Version => {
            say(&format!("hapair-agent {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Command::Help => {
            say(HELP);
            ExitCode::SUCCESS
        }
        Command::Run(options) => invoked(agent::run(&options).map(|()| Invocation::done(String::new()))),
        Command::Release(options) => invoked(release(&options)),
        Command::Status(options) => invoked(agent::status(&options)),
        Command::Tell { state_dir, line } => invoked(agent::tell(&state_dir, &line)),
    }
}

fn release(options: &RunOptions) -> anyhow::Result<Invocation> {
    let names = agent::release(&options.config, options.config_id.as_deref(), &options.state_dir)
        .with_context(|| format!("cannot release the addresses of {}", options.config.display()))?;
    Ok(Invocation::done(
        names.iter().map(|n| format!("{n}: released\n")).collect(),
    ))
}

/// A reader that is gone is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn report(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    complain(&format!("error: {error:#}\n"));
    for hint in &error.hints {
        complain(&format!("hint: {hint}\n"));
    }
    ExitCode::FAILURE
}

fn invoked(result: anyhow::Result<Invocation>) -> ExitCode {
    match result {
        Ok(done) => {
            say(&done.output);
            if done.failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            complain(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn check_config(path: &str) -> ExitCode {
    let text = match crate::agent::config::text(std::path::Path::new(path)) {
        Ok(text) => text,
        Err(e) => return report(Err(Error::new(format!("cannot read {path}")).because(e))),
    };
    let findings = check_config::findings(&text, path, check_config::Scope::Host);
    for finding in &findings {
        complain(&format!(
            "{}: {}: {}\n",
            finding.place, finding.severity, finding.message
        ));
        if let Some(hint) = &finding.hint {
            complain(&format!("  hint: {hint}\n"));
        }
    }
    let failed = findings
        .iter()
        .any(|f| f.severity == crate::keepalived::Severity::Error);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
