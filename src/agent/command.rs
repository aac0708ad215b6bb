//! The daemon's command lines, for the binary's `main`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::daemon::{self, RunOptions};
use super::os::harden::Hardening;
use super::os::state_dir;
use super::release;
use super::tell::{control, neighbours};

/// What `hapair-agent --help` says about these commands.
pub const USAGE: &str = "\
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

/// Result of a command line that was ours.
#[derive(Debug)]
pub struct Invocation {
    /// For standard output.
    pub output: String,
    /// What was asked for is not so (`--wait` ran out).
    pub failed: bool,
}

/// Runs `run`, `release`, `status`, `handover`, `hold`, `takeover`, `resume`, `reload` or `metrics`. `None`: not one of ours.
pub fn invoke(args: &[&str]) -> Option<anyhow::Result<Invocation>> {
    let (command, rest) = args.split_first()?;
    let known = [
        "run", "release", "status", "handover", "hold", "takeover", "resume", "reload", "metrics",
    ];
    known.contains(command).then(|| dispatch(command, rest))
}

struct Arguments {
    config: PathBuf,
    config_id: Option<String>,
    state_dir: PathBuf,
    json: bool,
    wait: Option<String>,
    timeout: Duration,
    metrics_listen: Option<SocketAddr>,
    hardening: Hardening,
    words: Vec<String>,
}

fn parse(rest: &[&str]) -> anyhow::Result<Arguments> {
    let mut a = Arguments {
        config: "/etc/keepalived/keepalived.conf".into(),
        config_id: None,
        state_dir: state_dir::STATE_DIR.into(),
        json: false,
        wait: None,
        timeout: Duration::from_secs(30),
        metrics_listen: None,
        hardening: Hardening::default(),
        words: Vec::new(),
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .map(|v| (*v).to_owned())
                .with_context(|| format!("{word} needs a value"))
        };
        match *word {
            "--config" => a.config = value()?.into(),
            "--config-id" => a.config_id = Some(value()?),
            "--state-dir" => a.state_dir = value()?.into(),
            "--metrics-listen" => {
                let address = value()?.parse();
                a.metrics_listen =
                    Some(address.context("--metrics-listen is ADDRESS:PORT, as 192.0.2.1:9650 or [::]:9650")?);
            }
            "--rt-priority" => {
                let priority = value()?.parse().ok().filter(|p| (1..=99).contains(p));
                a.hardening.rt_priority = Some(priority.context("--rt-priority is a whole number from 1 to 99")?);
            }
            "--lock-memory" => a.hardening.lock_memory = true,
            "--json" => a.json = true,
            "--wait" => a.wait = Some(value()?),
            "--timeout" => {
                let seconds: f64 = value()?.parse().context("--timeout is a number of seconds")?;
                a.timeout = Duration::try_from_secs_f64(seconds).context("--timeout is a number of seconds")?;
            }
            other if other.starts_with('-') => bail!("unknown option {other}"),
            other => a.words.push(other.to_owned()),
        }
    }
    Ok(a)
}

fn dispatch(command: &str, rest: &[&str]) -> anyhow::Result<Invocation> {
    let a = parse(rest)?;
    let done = |output: String| Ok(Invocation { output, failed: false });
    match command {
        "run" => {
            daemon::run(&RunOptions {
                config: a.config,
                config_id: a.config_id,
                state_dir: a.state_dir,
                metrics_listen: a.metrics_listen,
                hardening: a.hardening,
            })?;
            done(String::new())
        }
        "release" => {
            let names = release::release(&a.config, a.config_id.as_deref(), &a.state_dir)
                .with_context(|| format!("cannot release the addresses of {}", a.config.display()))?;
            done(names.iter().map(|n| format!("{n}: released\n")).collect())
        }
        "status" => status(&a),
        _ => {
            let line = [command]
                .into_iter()
                .chain(a.words.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" ");
            let answer = ask(&a, &line)?;
            if command == "metrics" && !answer.is_empty() {
                return done(answer);
            }
            // A daemon that ends or hangs meanwhile answers nothing: that does not count as yes.
            let value: Value =
                serde_json::from_str(&answer).context("the agent did not answer; it may be busy or gone")?;
            match value["error"].as_str() {
                Some(error) => bail!("{error}"),
                None if value["ok"] == true => done(String::new()),
                None => bail!("the agent's answer is not understood: {answer}"),
            }
        }
    }
}

fn ask(a: &Arguments, line: &str) -> anyhow::Result<String> {
    control::ask(&a.state_dir, line)
        .with_context(|| format!("no agent answers on {}", state_dir::socket_in(&a.state_dir).display()))
}

fn status(a: &Arguments) -> anyhow::Result<Invocation> {
    let end = Instant::now() + a.timeout;
    loop {
        let answer = ask(a, "status");
        // While waiting for a state, the daemon may still be starting.
        let value: Value = match (&answer, &a.wait) {
            (Ok(text), _) => serde_json::from_str(text).context("the agent's answer is not JSON")?,
            (Err(_), Some(_)) if Instant::now() < end => Value::Null,
            (Err(_), _) => return answer.map(|output| Invocation { output, failed: true }),
        };
        let states: Vec<&str> = value["instances"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|i| i["state"].as_str())
            .collect();
        let reached = match a.wait.as_deref() {
            None => true,
            Some("master") => !states.is_empty() && states.iter().all(|s| *s == "MASTER"),
            Some("backup") => !states.is_empty() && states.iter().all(|s| *s == "BACKUP"),
            Some("settled") => !states.is_empty() && states.iter().all(|s| *s == "MASTER" || *s == "BACKUP"),
            Some(other) => bail!("--wait is master, backup or settled, not {other}"),
        };
        if reached || Instant::now() >= end {
            let output = if a.json { format!("{value}\n") } else { table(&value) };
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
