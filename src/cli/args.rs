//! The command line, in one place: help, man pages and completions come from here.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "Exit codes:
  0  done (for `plan`: nothing to do)
  1  failed
  2  wrong usage or inventory
  3  `plan` found changes
  4  a host could not be reached or refused us
  5  applied, then rolled back (a rollback or removal: taken back by the host)
  6  the drill ran and a scenario missed its budget";

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
    /// What stdout carries: text for people or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
    /// Show every line the hosts say
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// No colours (also: NO_COLOR)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// No progress bars, plain lines instead
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Store unknown SSH host keys without asking; a changed key is refused all the same
    #[arg(long, global = true)]
    pub(crate) accept_new_host_keys: bool,
    /// Seconds to connect, authenticate and hear from each host
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) connect_timeout: u64,
    /// Directory with templates that replace the built-in ones of the same path
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) templates: Option<PathBuf>,
    /// Take over the hosts' operator lock from whoever holds it; that run cannot go on (apply, failover, handover,
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
    /// Write every file a host would get; needs no host
    Render(RenderArgs),
    /// Show what `apply` would change, as a diff per host, and what was changed by hand
    Plan(PlanArgs),
    /// Converge the pair, standby first, and prove that the VIP answers
    Apply(ApplyArgs),
    /// Show who owns the VIP, what was changed by hand since the last apply (who, when, a diff), and the last transactions
    Status,
    /// Break one thing at a time on purpose and measure the outage seen through the VIP
    Failover(FailoverArgs),
    /// Move the VIP to the other host on purpose and keep it there
    Handover(HandoverArgs),
    /// Put back what the last apply replaced, on both hosts, standby first
    Rollback(RollbackArgs),
    /// Put the hosts back as they were before hapair, and take hapair off; a pair that it made ends
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

/// `plan`.
#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    /// Keep the plan for `hapair apply FILE`, which does exactly this or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `apply`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ApplyArgs {
    /// A plan of `plan --out`: applied without asking, refused when inventory or host moved since
    pub(crate) file: Option<PathBuf>,
    /// Only this host; refused for changes that decide the election
    #[arg(long, value_name = "HOST")]
    pub(crate) limit: Option<String>,
    /// If a host fails, put back too what this run had done on the other
    #[arg(long)]
    pub(crate) undo_on_failure: bool,
    /// Reboot the hosts that need it in the end: one at a time, standby first, the VIP handed over before
    #[arg(long)]
    pub(crate) reboot: bool,
    /// Seconds a host may take to be back from its reboot
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(30..=7200))]
    pub(crate) reboot_timeout: u64,
    /// Seconds until a host takes back a change that may have cut it off
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) confirm_timeout: u64,
    /// Seconds a host may take to be healthy after its services changed
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `failover`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FailoverArgs {
    /// Scenario to run, may be repeated [default: all]
    #[arg(long = "scenario", value_name = "S")]
    pub(crate) scenarios: Vec<crate::drill::Scenario>,
    /// Longest outage that passes, ms [default: computed from the inventory]
    #[arg(long, value_name = "MS")]
    pub(crate) budget: Option<u64>,
    /// Write a report; the ending says how: .html, .json, .xml (JUnit), .svg
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// `handover`.
#[derive(Debug, ClapArgs)]
pub(crate) struct HandoverArgs {
    /// The host that gives its VIPs away [default: the one that owns any]
    #[arg(long, value_name = "HOST")]
    pub(crate) from: Option<String>,
    /// It may take them back after this time: 90, 90s, 10m, 2h [default: after --resume]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) hold: Option<std::time::Duration>,
    /// Both hosts are in election as configured again; who is preferred takes its VIPs over at once
    #[arg(long, conflicts_with_all = ["from", "hold"])]
    pub(crate) resume: bool,
    /// Seconds the VIP may take to arrive
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `rollback`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RollbackArgs {
    /// A run (20261122T164512Z-3f9a) or one transaction of it (20261122T164512Z-3f9a-2) [default: the last run]
    #[arg(value_name = "TXN")]
    pub(crate) transaction: Option<String>,
    /// Put files back too that other hands changed since
    #[arg(long)]
    pub(crate) force: bool,
    /// Seconds until a host takes back a change that may have cut it off
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) confirm_timeout: u64,
    /// Seconds a host may take to be healthy after its services changed
    #[arg(long, value_name = "SECONDS", default_value_t = 45, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) gate_timeout: u64,
}

/// `remove`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveArgs {
    /// Remove the packages too that hapair installed, and no others; refused where something else needs one
    #[arg(long)]
    pub(crate) packages: bool,
    /// Put files back too that other hands changed since
    #[arg(long)]
    pub(crate) force: bool,
    /// Seconds until a host takes back a change that may have cut it off
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
        _ => return Err("write 90, 90s, 10m, 2h or 1d".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match seconds {
        Some(s @ 1..=2_592_000) => Ok(std::time::Duration::from_secs(s)),
        _ => Err("from 1 s to 30 d".to_owned()),
    }
}

/// `rehearse`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RehearseArgs {
    /// Leave the twins running
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
        /// Twins whose interface NetworkManager owns
        #[arg(long)]
        nm: bool,
    },
    /// Stop the twins and remove everything of theirs
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
