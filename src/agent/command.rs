//! What `hapair-agent` asks a running daemon, and what it makes of the answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::os::state_dir;
use super::tell::{control, neighbours};

/// How a command ended.
#[derive(Debug)]
pub struct Invocation {
    /// For standard output.
    pub output: String,
    /// What was asked for is not so (`--wait` ran out).
    pub failed: bool,
}

impl Invocation {
    /// It did what was asked for.
    pub fn done(output: String) -> Invocation {
        Invocation { output, failed: false }
    }
}

/// What `status` is asked for.
#[derive(Debug)]
pub struct StatusOptions {
    /// Where the daemon's control socket is.
    pub state_dir: PathBuf,
    /// As JSON instead of a table.
    pub json: bool,
    /// Answers only when every instance is in that state, or `timeout` is over.
    pub wait: Option<Wait>,
    /// How long the wait may take.
    pub timeout: Duration,
}

/// The state that `--wait` waits for: every instance must have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Owners.
    Master,
    /// Standby.
    Backup,
    /// One or the other.
    Settled,
}

impl Wait {
    /// By its name on the command line.
    pub fn of(name: &str) -> Option<Wait> {
        match name {
            "master" => Some(Wait::Master),
            "backup" => Some(Wait::Backup),
            "settled" => Some(Wait::Settled),
            _ => None,
        }
    }

    fn is_met_by(self, state: &str) -> bool {
        match self {
            Wait::Master => state == "MASTER",
            Wait::Backup => state == "BACKUP",
            Wait::Settled => matches!(state, "MASTER" | "BACKUP"),
        }
    }
}

/// Sends a line to the daemon's control socket; answers are text for `metrics`, else yes or an error.
///
/// # Errors
/// No daemon answers, or it says no.
pub fn tell(state_dir: &Path, line: &str) -> anyhow::Result<Invocation> {
    let answer = ask(state_dir, line)?;
    if line.split(' ').next() == Some("metrics") && !answer.is_empty() {
        return Ok(Invocation::done(answer));
    }
    // A daemon that ends or hangs meanwhile answers nothing: that does not count as yes.
    let value: Value = serde_json::from_str(&answer).context("the agent did not answer; it may be busy or gone")?;
    match value["error"].as_str() {
        Some(error) => bail!("{error}"),
        None if value["ok"] == true => Ok(Invocation::done(String::new())),
        None => bail!("the agent's answer is not understood: {answer}"),
    }
}

fn ask(state_dir: &Path, line: &str) -> anyhow::Result<String> {
    control::ask(state_dir, line)
        .with_context(|| format!("no agent answers on {}", state_dir::socket_in(state_dir).display()))
}

/// The daemon's status; with `wait`, when every instance is in that state or the time is over.
///
/// # Errors
/// No daemon answers.
pub fn status(options: &StatusOptions) -> anyhow::Result<Invocation> {
    let end = Instant::now() + options.timeout;
    loop {
        let answer = ask(&options.state_dir, "status");
        // While waiting for a state, the daemon may still be starting.
        let value: Value = match (answer, options.wait) {
            (Ok(text), _) => serde_json::from_str(&text).context("the agent's answer is not JSON")?,
            (Err(_), Some(_)) if Instant::now() < end => Value::Null,
            (Err(error), _) => return Err(error),
        };
        let states: Vec<&str> = value["instances"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|i| i["state"].as_str())
            .collect();
        let reached = options
            .wait
            .is_none_or(|wait| !states.is_empty() && states.iter().all(|s| wait.is_met_by(s)));
        if reached || Instant::now() >= end {
            let output = if options.json {
                format!("{value}\n")
            } else {
                table(&value)
            };
            return Ok(Invocation {
                output,
                failed: !reached,
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn table(value: &Value) -> String {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let rows = value["instances"].as_array().into_iter().flatten().map(|i| {
        let vips: Vec<String> = i["vips"].as_array().into_iter().flatten().map(text).collect();
        format!(
            "{}  {}  priority {}{}  {}\n{}",
            text(&i["name"]),
            text(&i["state"]),
            i["priority"],
            match i["raised_priority"].as_u64() {
                Some(raised) => format!(", announced as {raised} by takeover"),
                None => String::new(),
            },
            vips.join(" "),
            neighbours::lines(i),
        )
    });
    let disabled = value["scripts"].as_array().into_iter().flatten().filter_map(|s| {
        let reason = s["disabled"].as_str()?;
        Some(format!(
            "check {} is disabled and counts for nothing: {reason}\n",
            text(&s["name"])
        ))
    });
    let rules = value["processes"]["rules"].as_array().into_iter().flatten();
    let warnings = value["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.map(|line| format!("warning: {}\n", text(line)));
    rows.chain(disabled).chain(rules.map(process)).chain(warnings).collect()
}

/// A tracked process, and how it is known whose it is.
fn process(rule: &Value) -> String {
    let name = rule["name"].as_str().unwrap_or_default();
    let state = if rule["good"] == true { "runs" } else { "is missed" };
    let known = match (rule["known_by"].as_str(), rule["which"].as_str()) {
        (Some("name"), _) => "known only by name: a process of any user counts".to_owned(),
        (Some(by), Some(which)) => format!("of {by} {which}"),
        _ => String::new(),
    };
    let others = match rule["not_counted"].as_u64() {
        None | Some(0) => String::new(),
        Some(others) => format!(", {others} of that name not counted"),
    };
    format!("process {name}  {state}  {known}{others}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_names_owner_neighbours_checks_and_what_is_wrong() {
        let status = json!({
            "instances": [{
                "name": "V", "state": "BACKUP", "priority": 95, "base_priority": 100, "vips": ["10.0.0.9"], "cause": "Start",
                "seconds_in_state": 12.34, "owner": {"address": "10.0.0.1", "priority": 101},
                "neighbours": [
                    {"address": "10.0.0.1", "priority": 101, "version": 2, "packets": 12, "seconds_since_last": 0.5, "accepted": true},
                    {"address": "10.0.0.3", "packets": 4, "seconds_since_last": 70.0, "accepted": false, "why": "the password is wrong"},
                ],
            }],
            "scripts": [
                {"name": "good", "good": true, "disabled": null},
                {"name": "gone", "good": false, "disabled": "/bin/gone is not there"},
            ],
            "warnings": ["V: adverts of 10.0.0.3 are refused: the password is wrong (4 times)"],
        });
        let wanted = "V  BACKUP  priority 95  10.0.0.9
  for 12.3 s (Start), configured priority 100, owner 10.0.0.1 with priority 101
  neighbour 10.0.0.1, priority 101, version 2, 12 packets, the last 0.5 s ago: accepted
  neighbour 10.0.0.3, 4 packets, the last 70.0 s ago: refused: the password is wrong
check gone is disabled and counts for nothing: /bin/gone is not there
warning: V: adverts of 10.0.0.3 are refused: the password is wrong (4 times)
";
        assert_eq!(table(&status), wanted);
    }
}
