//! The VRRP engine beside changes of the network, and handing over on command.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::agent;
use crate::host::control::{fault, reboot};
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::systemd;
use crate::state::frame::VrrpOrder;
use crate::state::{Engine, Fault};

/// keepalived cannot be held: it is stopped instead, and started again after this many seconds if nobody resumes it.
const UNTIL_RESUMED: u64 = 30 * 24 * 3600;

/// Moves VIPs, or resumes, by whichever engine runs.
///
/// # Errors
/// No engine runs, or it refuses.
pub fn order(root: &Root, order: VrrpOrder) -> Result<()> {
    let runs = |engine: Engine| systemd::one(engine.unit()).is_active();
    let stopped = Fault::Stop {
        unit: Engine::Keepalived.unit().to_owned(),
    };
    match order {
        VrrpOrder::HandOver { hold } if runs(Engine::Agent) => ask_agent(&with_seconds("handover", hold)),
        VrrpOrder::HandOver { hold } if runs(Engine::Keepalived) => {
            fault::inject(root, &stopped, hold.unwrap_or(UNTIL_RESUMED))
        }
        VrrpOrder::Hold { seconds } if runs(Engine::Agent) => ask_agent(&with_seconds("hold", seconds)),
        VrrpOrder::TakeOver { instances, seconds } if runs(Engine::Agent) => takeover_lines(&instances, seconds)?
            .iter()
            .try_for_each(|line| ask_agent(line)),
        VrrpOrder::Hold { .. } | VrrpOrder::TakeOver { .. } if runs(Engine::Keepalived) => {
            Err(Error::new("keepalived can neither be held nor take over on command"))
        }
        VrrpOrder::HandOver { .. } | VrrpOrder::Hold { .. } | VrrpOrder::TakeOver { .. } => {
            Err(Error::new("no VRRP engine runs on this host"))
        }
        VrrpOrder::Resume => {
            reboot::release(root)?;
            fault::repair(root, &stopped)?;
            if runs(Engine::Agent) {
                ask_agent("resume")
            } else {
                Ok(())
            }
        }
    }
}

/// The agent's control line for a command that lasts.
fn with_seconds(command: &str, seconds: Option<u64>) -> String {
    let seconds = seconds.map(|s| format!(" {s}")).unwrap_or_default();
    format!("{command}{seconds}")
}

/// One line an instance: the agent takes one name, or moves everything.
fn takeover_lines(instances: &[String], seconds: Option<u64>) -> Result<Vec<String>> {
    // What is a number is a time to the agent.
    let is_a_name = |name: &String| name.parse::<f64>().is_err() && !name.contains(char::is_whitespace);
    if let Some(name) = instances.iter().find(|name| !is_a_name(name)) {
        return Err(
            Error::new(format!("instance `{name}` cannot be named on the agent's control line"))
                .hint("give it a name that is one word and not a number"),
        );
    }
    let command = with_seconds("takeover", seconds);
    Ok(instances.iter().map(|name| format!("{command} {name}")).collect())
}

/// Maximum time for an agent that systemd has just started to answer.
const STARTING: Duration = Duration::from_secs(3);

fn ask_agent(line: &str) -> Result<()> {
    let until = Instant::now() + STARTING;
    let answer = loop {
        match agent::ask(Path::new(agent::STATE_DIR), line) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            answer => break answer,
        }
    };
    let answer = answer.map_err(|e| {
        Error::new("the agent does not answer")
            .because(e)
            .hint("see `journalctl -u hapair-agent`")
    })?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| Error::new("the agent's answer is not JSON").because(e))?;
    match answer["error"].as_str() {
        Some(error) => Err(Error::new(format!("the agent refused `{line}`")).because(error)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_takeover_names_each_instance_and_never_by_a_number() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let lines = takeover_lines(&names(&["VI_1", "VI_2"]), Some(30)).expect("names");
        assert_eq!(lines, ["takeover 30 VI_1", "takeover 30 VI_2"]);
        assert_eq!(
            takeover_lines(&names(&["VI_1"]), None).expect("a name"),
            ["takeover VI_1"]
        );
        // `takeover 30 51` would move everything for 51 seconds.
        for bad in ["51", "1e3", "two words"] {
            let error = takeover_lines(&names(&["VI_1", bad]), Some(30)).expect_err("no name");
            assert!(error.message.contains(bad), "{}", error.message);
        }
    }
}
