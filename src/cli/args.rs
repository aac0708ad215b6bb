//! The command line, in one place: help, man pages and completions come from here.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::state::FindingId;

const EXIT_CODES: &str = "Exit codes:
  0  done (for `plan`: nothing to do)
  1  failed
  2  wrong usage or inventory
  3  `plan` found changes
  4  a host could not be reached or refused us
  5  applied, then undone (a rollback or removal: reverted by the host)
  6  the drill ran and a scenario missed its budget
  7  a finding blocks (`check`, `plan`, `apply`); nothing was changed";

/// Turn two bare CentOS hosts into a verified nginx high-availability pair
#[derive(Debug, Parser)]
#[command(name = "hapair", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The pair's inventory [default: inventory.yaml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// Form of stdout: text, or one JSON object per line
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
    /// Show every line that the hosts print
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// No colours (also: NO_COLOR)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Print plain lines instead of progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Store unknown SSH host keys without asking; a changed key is still refused
    #[arg(long, global = true)]
    pub(crate) accept_new_host_keys: bool,
    /// Seconds to connect to each host, log in and get its first answer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) connect_timeout: u64,
    /// Directory with templates that replace the built-in ones of the same path
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) templates: Option<PathBuf>,
    /// Take over the operator lock from the run that holds it; that run cannot continue (apply, failover, handover,
    /// rollback, remove)
    #[arg(long, global = true)]
    pub(crate) break_lock: bool,
    /// Work on the twins of `hapair lab up` instead of the real hosts
    #[arg(long, global = true)]
    pub(crate) lab: bool,
}

/// Form of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Text for people.
    Human,
    /// One JSON object a line; the last is the summary.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write every file that a host would get; needs no host
    Render(RenderArgs),
    /// Show what stands in the way of an apply: what else lives on both hosts and on their segment
    Check(CheckArgs),
    /// Show what `apply` would change, as a diff per host, and what was changed by hand
    Plan(PlanArgs),
    /// Converge the pair, standby first, and prove that the VIP answers
    Apply(ApplyArgs),
    /// Show which host owns the VIP, what was changed by hand since the last apply (who, when, a diff), and the last
    /// transactions
    Status,
    /// Break one thing at a time on purpose and measure the outage seen through the VIP
    Failover(FailoverArgs),
    /// Move the VIP to the other host on purpose and keep it there
    Handover(HandoverArgs),
    /// Roll back what the last apply changed, on both hosts, standby first
    Rollback(RollbackArgs),
    /// Restore both hosts as they were before hapair, and remove hapair; a pair that hapair made ends
    Remove(RemoveArgs),
    /// Build twins of both hosts on this machine and run apply, re-apply and the drill on them
    Rehearse(RehearseArgs),
    /// The twins by hand
    Lab(LabArgs),
    /// Write the agent that `apply` would install
    AgentBinary {
        /// Where to
        file: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// Where to
        #[arg(default_value = ".")]
        directory: PathBuf,
    },
}

/// `render`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RenderArgs {
    /// Only this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Write DIR/HOST/path instead of printing; files are readable by you alone, as they hold secrets
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// CentOS release to render for, where the inventory names none
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(7..=10))]
    pub(crate) release: u8,
}

/// Findings that block and are accepted all the same.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Accepted {
    /// Go on although this finding blocks, may be repeated; --yes accepts none
    #[arg(long, value_name = "ID", value_parser = finding_id())]
    pub(crate) accept: Vec<FindingId>,
}

/// The names of all findings, which help, errors and shell completions list.
fn finding_id() -> impl TypedValueParser<Value = FindingId> {
    PossibleValuesParser::new(FindingId::ALL.map(FindingId::name)).try_map(|name| name.parse::<FindingId>())
}

/// `check`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) accepted: Accepted,
}

/// `plan`.
#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) accepted: Accepted,
    /// Save the plan for `hapair apply FILE`, which does exactly this or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `apply`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) accepted: Accepted,
    /// A plan saved by `plan --out`: applied without asking, refused if the inventory or a host changed since, or if a finding
    /// blocks that is not accepted here
    pub(crate) file: Option<PathBuf>,
    /// Only this host; refused for changes of election settings
    #[arg(long, value_name = "HOST")]
    pub(crate) limit: Option<String>,
    /// If a host fails, also roll back what this run did on the other host
    #[arg(long)]
    pub(crate) undo_on_failure: bool,
    /// Reboot the hosts that need it afterwards: one at a time, standby first, after moving the VIP away
    #[arg(long)]
    pub(crate) reboot: bool,
    /// Seconds a host may take to reboot
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(30..=7200))]
    pub(crate) reboot_timeout: u64,
    /// Seconds until a host reverts a change that may have cut it off
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) confirm_timeout: u64,
    /// Seconds a host may take to be healthy after its services change
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `failover`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FailoverArgs {
    /// Scenario to run, may be repeated [default: all]
    #[arg(long = "scenario", value_name = "S")]
    pub(crate) scenarios: Vec<crate::drill::Scenario>,
    /// Longest outage that passes, in ms [default: computed from the inventory]
    #[arg(long, value_name = "MS")]
    pub(crate) budget: Option<u64>,
    /// Write a report; the ending of FILE selects its form: .html, .json, .xml (JUnit), .svg
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// `handover`.
#[derive(Debug, ClapArgs)]
pub(crate) struct HandoverArgs {
    /// The host that gives its VIPs away [default: the owner]
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// Return the host to election after this time: 90, 90s, 10m, 2h [default: with --resume]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) hold: Option<std::time::Duration>,
    /// Return both hosts to election as configured; the preferred host takes over its VIPs at once
    #[arg(long, conflicts_with_all = ["from", "hold"])]
    pub(crate) resume: bool,
    /// Seconds the other host may take to own the VIP
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `rollback`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RollbackArgs {
    /// A run (20261122T164512Z-3f9a) or one transaction of it (20261122T164512Z-3f9a-2) [default: the last run]
    #[arg(value_name = "TXN")]
    pub(crate) transaction: Option<String>,
    /// Also restore files that somebody else changed since
    #[arg(long)]
    pub(crate) force: bool,
    /// Seconds until a host reverts a change that may have cut it off
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) confirm_timeout: u64,
    /// Seconds a host may take to be healthy after its services change
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `remove`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveArgs {
    /// Also remove the packages that hapair installed, and no others; refused if something else needs one
    #[arg(long)]
    pub(crate) packages: bool,
    /// Also restore files that somebody else changed since
    #[arg(long)]
    pub(crate) force: bool,
    /// Seconds until a host reverts a change that may have cut it off
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) confirm_timeout: u64,
}

/// A time of 1 s to 30 days: a number of seconds, or one with `s`, `m`, `h` or `d` behind it.
fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a time such as 90, 90s, 10m, 2h or 1d".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match seconds {
        Some(s @ 1..=2_592_000) => Ok(std::time::Duration::from_secs(s)),
        _ => Err("the time must be from 1 s to 30 d".to_owned()),
    }
}

/// `rehearse`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RehearseArgs {
    /// Keep the twins running at the end
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) drill: FailoverArgs,
}

/// `lab`.
#[derive(Debug, ClapArgs)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

/// `lab …`.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Build and boot the twins
    Up {
        /// Let NetworkManager own the twins' interface
        #[arg(long)]
        nm: bool,
    },
    /// Stop the twins and remove what they left on this machine
    Down {
        /// Remove the cached image too
        #[arg(long)]
        purge: bool,
    },
    /// Show which twins run
    Status,
    /// Log in to a twin
    Ssh {
        /// Name in the inventory
        host: String,
        /// Command to run instead of a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command in a twin, without SSH
    Exec {
        /// Name in the inventory
        host: String,
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

impl Command {
    /// As typed, for the summary.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Render(_) => "render",
            Command::Check(_) => "check",
            Command::Plan(_) => "plan",
            Command::Apply(_) => "apply",
            Command::Status => "status",
            Command::Failover(_) => "failover",
            Command::Handover(_) => "handover",
            Command::Rollback(_) => "rollback",
            Command::Remove(_) => "remove",
            Command::Rehearse(_) => "rehearse",
            Command::Lab(_) => "lab",
            Command::AgentBinary { .. } => "agent-binary",
            Command::Completions { .. } => "completions",
            Command::Man { .. } => "man",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_as_operators_write_them() {
        for (text, value) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("30d", 2_592_000)] {
            assert_eq!(seconds(text).map(|d| d.as_secs()), Ok(value), "{text}");
        }
        for text in [
            "",
            "0",
            "m",
            "1w",
            "-5",
            "1.5h",
            "31d",
            "99999999999999999999s",
            "1h30m",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
