//! The command line of `hapair-agent`, as far as it is not the daemon's.

use std::io::Write;
use std::process::ExitCode;

use crate::host::change::check_config;
use crate::host::control::{fault, reboot};
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::resource::undoing::When;
use crate::host::serve::session;
use crate::host::transaction::{revert, runner};
use crate::state::{Fault, TxnId};

const HELP: &str = "\
hapair-agent: the host side of hapair

usage:
  hapair-agent serve                answer hapair's requests on stdin and stdout
  hapair-agent check-config FILE    check a keepalived.conf
  hapair-agent --version
  hapair-agent --help

called by systemd on hapair's behalf:
  hapair-agent txn ID               run a stored transaction
  hapair-agent revert ID [--boot]   revert an unconfirmed change
  hapair-agent undo-fault stop UNIT end a drill's fault
  hapair-agent hold-at-boot SECONDS keep VRRP from starting until hapair has seen the host healthy
";

/// Entry point of the `hapair-agent` binary.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = Root::live();
    if let Some(result) = crate::agent::invoke(&args) {
        return invoked(result);
    }
    match args[..] {
        ["serve"] => {
            session::serve(&root);
            ExitCode::SUCCESS
        }
        ["txn", id] => report(with_id(id, |id| runner::run(&root, &id))),
        ["revert", id] => report(with_id(id, |id| revert::by_timer(&root, &id, When::Now))),
        ["revert", id, "--boot"] => report(with_id(id, |id| revert::by_timer(&root, &id, When::AtBoot))),
        ["undo-fault", "stop", unit] => report(fault::repair(&root, &Fault::Stop { unit: unit.to_owned() })),
        ["hold-at-boot", seconds] => report(reboot::hold(&root, seconds)),
        ["check-config", path] => check_config(path),
        ["--version" | "-V"] => {
            say(&format!("hapair-agent {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        ["--help" | "-h"] => {
            say(HELP);
            say(crate::agent::USAGE);
            ExitCode::SUCCESS
        }
        _ => {
            complain(HELP);
            ExitCode::from(2)
        }
    }
}

/// A reader that is gone is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn with_id(text: &str, then: impl FnOnce(TxnId) -> Result<()>) -> Result<()> {
    match TxnId::new(text) {
        Some(id) => then(id),
        None => Err(Error::new(format!("not a transaction's identifier: {text}"))),
    }
}

fn report(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    complain(&format!("error: {error:#}\n"));
    for hint in &error.hints {
        complain(&format!("hint: {hint}\n"));
    }
    ExitCode::FAILURE
}

fn invoked(result: anyhow::Result<crate::agent::Invocation>) -> ExitCode {
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
