//! The VRRP engine beside changes of the network, and handing over on command.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::root::Root;
use super::{facts, fault, reboot, systemd};
use crate::agent;
use crate::state::frame::VrrpOrder;
use crate::state::{Engine, Fault};

/// keepalived cannot hold back: it is stopped instead, and started again after so many seconds if nobody resumes it.
const UNTIL_RESUMED: u64 = 30 * 24 * 3600;

/// How long an engine may take to put its addresses back by itself.
const BY_ITSELF: Duration = Duration::from_secs(3);

/// Re-activating an interface strips the VIPs, and keepalived before 2.0 does not notice: an engine that owned some of
/// `before` and lost them is restarted.
///
/// # Errors
/// The engine does not start again.
pub fn keep_vips(engine: Option<Engine>, before: &[String], log: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(unit) = engine.map(Engine::unit) else {
        return Ok(());
    };
    let lost = || facts::owned(before).len() < before.len();
    if !lost() || !systemd::one(unit).is_active() {
        return Ok(());
    }
    let until = Instant::now() + BY_ITSELF;
    while lost() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    if lost() {
        log(&format!(
            "the network change took the VIP off the interface; restarting {unit}"
        ));
        systemd::ctl("restart", unit)?;
    }
    Ok(())
}

/// Hands the VIPs over, or resumes, by whichever engine runs.
///
/// # Errors
/// No engine runs, or it refuses.
pub fn order(root: &Root, order: VrrpOrder) -> Result<()> {
    let runs = |engine: Engine| systemd::one(engine.unit()).is_active();
    let stopped = Fault::Stop {
        unit: Engine::Keepalived.unit().to_owned(),
    };
    match order {
        VrrpOrder::HandOver { hold } if runs(Engine::Agent) => {
            let seconds = hold.map(|s| format!(" {s}")).unwrap_or_default();
            ask_agent(&format!("handover{seconds}"))
        }
        VrrpOrder::HandOver { hold } if runs(Engine::Keepalived) => {
            fault::inject(root, &stopped, hold.unwrap_or(UNTIL_RESUMED))
        }
        VrrpOrder::HandOver { .. } => Err(Error::new("no VRRP engine runs on this host")),
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

/// An agent that systemd starts just now does not answer yet; so long it may take.
const STARTING: Duration = Duration::from_secs(3);

fn ask_agent(line: &str) -> Result<()> {
    let until = Instant::now() + STARTING;
    let answer = loop {
        match agent::ask(Path::new(agent::STATE_DIR), line) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            answer => break answer,
        }
    };
    let answer = answer
        .map_err(|e| Error::new(format!("the agent does not answer: {e}")).hint("see `journalctl -u hapair-agent`"))?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| Error::new(format!("the agent's answer is no JSON: {e}")))?;
    match answer["error"].as_str() {
        Some(error) => Err(Error::new(format!("the agent refused `{line}`: {error}"))),
        None => Ok(()),
    }
}
