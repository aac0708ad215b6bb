//! The arguments of `hapair-agent`, all of them: what each command takes, and what is said of it.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::agent::{self, RunOptions, StatusOptions, Wait};
use crate::host::os::error::Error;
use crate::host::resource::undoing::When;
use crate::state::TxnId;
use crate::state::system::KEEPALIVED_CONF;

/// What `--help` prints.
pub(super) const HELP: &str = "\
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
  hapair-agent run [--config FILE] [--config-id ID] [--state-dir DIR]
                   [--metrics-listen ADDRESS:PORT] [--rt-priority 1-99] [--lock-memory]
                                    the VRRP daemon; vrrp_rt_priority and vrrp_no_swap of the configuration override the options
  hapair-agent release [--config FILE] [--config-id ID] [--state-dir DIR]
                                    after the daemon crashed: remove its addresses, then announce priority 0 (ExecStopPost)
  hapair-agent status [--json] [--wait master|backup|settled] [--timeout SECONDS] [--state-dir DIR]
  hapair-agent handover|hold [SECONDS] [INSTANCE]
                                    hand the VIP over / do not take it over, until resume or for SECONDS
  hapair-agent takeover [SECONDS] [INSTANCE]
                                    on the standby: take the VIP now, by announcing a priority above the owner's; that priority
                                    stays until resume, or for SECONDS
  hapair-agent resume [INSTANCE]    end a hold, and announce the configured priority again after a takeover
  hapair-agent reload
  hapair-agent metrics              in Prometheus' text form
";

/// One command line.
#[derive(Debug)]
pub(super) enum Command {
    Serve,
    Txn(TxnId),
    Revert(TxnId, When),
    EndFault {
        unit: String,
    },
    HoldAtBoot {
        seconds: String,
    },
    CheckConfig {
        path: String,
    },
    Version,
    Help,
    Run(RunOptions),
    Release(RunOptions),
    Status(StatusOptions),
    /// A line for the daemon's control socket.
    Tell {
        state_dir: PathBuf,
        line: String,
    },
}

/// Why a command line was refused.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Nothing that the help names.
    Usage,
    /// A known command with something wrong in it.
    Argument(Error),
}

impl From<lexopt::Error> for Wrong {
    fn from(error: lexopt::Error) -> Wrong {
        Wrong::Argument(match error {
            lexopt::Error::UnexpectedOption(option) => Error::new(format!("unknown option {option}")),
            lexopt::Error::MissingValue { option: Some(option) } => Error::new(format!("{option} needs a value")),
            other => Error::new(other.to_string()),
        })
    }
}

fn wrong(message: &str) -> Wrong {
    Wrong::Argument(Error::new(message))
}

/// Reads a command line, without the program's name.
pub(super) fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Command, Wrong> {
    let mut parser = lexopt::Parser::from_args(args);
    let command = match parser.next()? {
        Some(Short('V') | Long("version")) => return Ok(Command::Version),
        Some(Short('h') | Long("help")) => return Ok(Command::Help),
        Some(Value(command)) => command.to_string_lossy().into_owned(),
        _ => return Err(Wrong::Usage),
    };
    match command.as_str() {
        "run" | "release" | "status" | "handover" | "hold" | "takeover" | "resume" | "reload" | "metrics" => {
            daemon(&command, parser)
        }
        _ => host(&command, parser),
    }
}

fn host(command: &str, mut parser: lexopt::Parser) -> Result<Command, Wrong> {
    let (mut words, mut when) = (Vec::new(), When::Now);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => words.push(word.to_string_lossy().into_owned()),
            Long("boot") if command == "revert" => when = When::AtBoot,
            _ => return Err(Wrong::Usage),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (command, &words[..]) {
        ("serve", []) => Ok(Command::Serve),
        ("txn", [id]) => Ok(Command::Txn(transaction(id)?)),
        ("revert", [id]) => Ok(Command::Revert(transaction(id)?, when)),
        ("undo-fault", ["stop", unit]) => Ok(Command::EndFault {
            unit: (*unit).to_owned(),
        }),
        ("hold-at-boot", [seconds]) => Ok(Command::HoldAtBoot {
            seconds: (*seconds).to_owned(),
        }),
        ("check-config", [path]) => Ok(Command::CheckConfig {
            path: (*path).to_owned(),
        }),
        _ => Err(Wrong::Usage),
    }
}

fn transaction(text: &str) -> Result<TxnId, Wrong> {
    TxnId::new(text).ok_or_else(|| wrong(&format!("not a transaction's identifier: {text}")))
}

/// The daemon's commands take each other's options, so that one line of options serves all of them.
fn daemon(command: &str, mut parser: lexopt::Parser) -> Result<Command, Wrong> {
    let mut run = RunOptions {
        config: KEEPALIVED_CONF.into(),
        config_id: None,
        state_dir: agent::STATE_DIR.into(),
        metrics_listen: None,
        hardening: agent::Hardening::default(),
    };
    let (mut json, mut wait, mut timeout) = (false, None, Duration::from_secs(30));
    let mut line = vec![command.to_owned()];
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => run.config = parser.value()?.into(),
            Long("config-id") => run.config_id = Some(parser.value()?.to_string_lossy().into_owned()),
            Long("state-dir") => run.state_dir = parser.value()?.into(),
            Long("metrics-listen") => {
                let wanted = "--metrics-listen is ADDRESS:PORT, as 192.0.2.1:9650 or [::]:9650";
                run.metrics_listen = Some(parser.value()?.parse().map_err(|_| wrong(wanted))?);
            }
            Long("rt-priority") => {
                let priority = parser.value()?.parse().ok().filter(|p| (1..=99).contains(p));
                let wanted = "--rt-priority is a whole number from 1 to 99";
                run.hardening.rt_priority = Some(priority.ok_or_else(|| wrong(wanted))?);
            }
            Long("lock-memory") => run.hardening.lock_memory = true,
            Long("json") => json = true,
            Long("wait") => {
                let state = parser.value()?.to_string_lossy().into_owned();
                let wanted = || wrong(&format!("--wait is master, backup or settled, not {state}"));
                wait = Some(Wait::of(&state).ok_or_else(wanted)?);
            }
            Long("timeout") => {
                let seconds = parser.value()?.parse().ok().map(Duration::try_from_secs_f64);
                let seconds = seconds.and_then(Result::ok);
                timeout = seconds.ok_or_else(|| wrong("--timeout is a number of seconds"))?;
            }
            Value(word) => line.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(match command {
        "run" => Command::Run(run),
        "release" => Command::Release(run),
        "status" => Command::Status(StatusOptions {
            state_dir: run.state_dir,
            json,
            wait,
            timeout,
        }),
        _ => Command::Tell {
            state_dir: run.state_dir,
            line: line.join(" "),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Wrong> {
        parse(line.split_whitespace().map(Into::into))
    }

    fn refused(line: &str) -> String {
        match read(line) {
            Err(Wrong::Argument(error)) => error.in_full(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_units_command_lines() {
        let line =
            "run --config /c --config-id a --state-dir=/s --metrics-listen [::]:9650 --rt-priority 50 --lock-memory";
        let Ok(Command::Run(run)) = read(line) else { panic!() };
        assert_eq!((run.config, run.config_id.as_deref()), ("/c".into(), Some("a")));
        assert_eq!(run.state_dir, PathBuf::from("/s"));
        assert_eq!(run.metrics_listen, Some("[::]:9650".parse().unwrap()));
        assert_eq!((run.hardening.rt_priority, run.hardening.lock_memory), (Some(50), true));
        let Ok(Command::Status(status)) = read("status --json --wait settled --timeout 0.5") else {
            panic!()
        };
        assert_eq!((status.json, status.wait), (true, Some(Wait::Settled)));
        assert_eq!(status.timeout, Duration::from_millis(500));
        let told = read("hold 60 VI_1 --state-dir /s");
        assert!(matches!(told, Ok(Command::Tell { line, .. }) if line == "hold 60 VI_1"));
        assert!(matches!(read("revert t1 --boot"), Ok(Command::Revert(_, When::AtBoot))));
        assert!(matches!(read("revert t1"), Ok(Command::Revert(_, When::Now))));
        assert!(
            matches!(read("undo-fault stop nginx.service"), Ok(Command::EndFault { unit }) if unit == "nginx.service")
        );
        assert!(matches!(read("-V"), Ok(Command::Version)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, why) in [
            ("run --nope", "unknown option --nope"),
            ("run --config", "--config needs a value"),
            ("run --rt-priority 100", "--rt-priority is a whole number from 1 to 99"),
            ("status --timeout -1", "--timeout is a number of seconds"),
            ("status --wait owner", "--wait is master, backup or settled, not owner"),
            ("txn ../x", "not a transaction's identifier: ../x"),
        ] {
            assert_eq!(refused(line), why);
        }
        for line in ["", "frobnicate", "txn", "txn a b", "txn a --boot", "undo-fault start x"] {
            assert!(matches!(read(line), Err(Wrong::Usage)), "{line}");
        }
    }
}
