//! Every unit file that hapair installs means the same to systemd 219 (CentOS 7) as to 257 (CentOS Stream 10).
//!
//! systemd 219 passes over a word it does not know with a warning, so a sandbox would silently be none, and a limit would
//! silently be the default. Which words it has is from systemd.unit(5), systemd.service(5), systemd.exec(5) and
//! systemd.kill(5) of its rhel7 branch.
#![cfg(feature = "cli")]

use std::path::Path;

use hapair::desired::{self, Secrets, Templates};
use hapair::inventory::Inventory;
use hapair::state::Engine;

/// Words of 219 by section. Not all it has: what is added to a unit is looked up and added here.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "Unit",
        &[
            "After",
            "Before",
            "ConditionPathExists",
            "Conflicts",
            "Description",
            "Documentation",
            "Requires",
            "Wants",
        ],
    ),
    (
        "Service",
        &[
            "CapabilityBoundingSet",
            "ExecReload",
            "ExecStart",
            "ExecStop",
            "ExecStopPost",
            "KillMode",
            "LimitMEMLOCK",
            "NoNewPrivileges",
            "NotifyAccess",
            "OOMScoreAdjust",
            "PrivateTmp",
            "ProtectHome",
            "ProtectSystem",
            "Restart",
            "RestartSec",
            "RestrictAddressFamilies",
            "RuntimeDirectory",
            // In [Service], not as StartLimitIntervalSec in [Unit], which 219 does not know.
            "StartLimitBurst",
            "StartLimitInterval",
            "SuccessExitStatus",
            "TimeoutStartSec",
            "TimeoutStopSec",
            "Type",
            "WatchdogSec",
        ],
    ),
    ("Install", &["Alias", "WantedBy"]),
];

/// Everything in a unit that 219 would not understand as it is meant.
fn complaints(text: &str) -> Vec<String> {
    let mut section = "";
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut complain = |what: &str| out.push(format!("line {}: {what}: {line}", number + 1));
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            if !KNOWN.iter().any(|(known, _)| *known == section) {
                complain("unknown section");
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            complain("no assignment");
            continue;
        };
        let known = KNOWN
            .iter()
            .any(|(name, words)| *name == section && words.contains(&key));
        if !known {
            complain("219 has no such word in this section");
        }
        match key {
            // `+` and `!` came later; a name is looked up in PATH only from 239 on.
            "ExecStart" | "ExecStop" | "ExecStopPost" | "ExecReload"
                if !value.trim_start_matches(['-', '@']).starts_with('/') =>
            {
                complain("219 wants an absolute path and knows no prefix but - and @");
            }
            "ProtectSystem" if !matches!(value, "yes" | "no" | "full") => complain("219 knows yes, no and full"),
            "RuntimeDirectory" => complain("it is removed at every stop, and what we keep there must outlive one"),
            "Type" if !matches!(value, "simple" | "forking" | "oneshot" | "dbus" | "notify" | "idle") => {
                complain("219 has no such type");
            }
            _ => {}
        }
    }
    out
}

/// The unit files of a host, with either engine.
fn rendered() -> Vec<(String, String)> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory.example.yaml");
    let mut inventory = Inventory::load(&example).unwrap();
    let host = inventory.hosts[0].name.clone();
    let mut found = Vec::new();
    for engine in [Engine::Agent, Engine::Keepalived] {
        inventory.vrrp.as_mut().unwrap().engine = engine;
        let facts = desired::assumed_facts(&inventory, &host, 7);
        let secrets = Secrets::masked(&inventory);
        let state = desired::host_state(&inventory, &host, &facts, &Templates::embedded(), &secrets).unwrap();
        let units = desired::files(&state).into_iter();
        found.extend(
            units
                .filter(|f| f.path.starts_with("/etc/systemd/system/"))
                .map(|f| (f.path.clone(), f.content.clone())),
        );
    }
    found
}

#[test]
fn systemd_219_understands_every_word() {
    let units = rendered();
    assert_eq!(units.len(), 2, "one for each engine");
    for (path, text) in units {
        let wrong = complaints(&text);
        assert!(wrong.is_empty(), "{path}\n{}", wrong.join("\n"));
    }
}

#[test]
fn systemd_219_understands_what_holds_vrrp_back_after_a_reboot() {
    let text = hapair::host::control::reboot::unit("/usr/local/hapair/sbin/hapair-agent-0123456789ab", 105);
    let wrong = complaints(&text);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for engine in [Engine::Agent, Engine::Keepalived] {
        let before = text.lines().find(|l| l.starts_with("Before=")).unwrap();
        assert!(before.contains(engine.unit()), "{} waits for it", engine.unit());
    }
}

#[test]
fn words_that_came_later_are_noticed() {
    for line in [
        "[Unit]\nStartLimitIntervalSec=0",
        "[Service]\nProtectSystem=strict",
        "[Service]\nReadWritePaths=/run",
        "[Service]\nStateDirectory=hapair",
        "[Service]\nAmbientCapabilities=CAP_NET_ADMIN",
        "[Service]\nExecStartPre=+/bin/true",
        "[Service]\nExecStopPost=!/bin/true",
        "[Service]\nExecStart=hapair-agent run",
        "[Service]\nRuntimeDirectory=hapair",
        "[Service]\nType=exec",
        "[Service]\nMemoryMax=64M",
        "[Path]\nPathExists=/x",
    ] {
        assert!(!complaints(line).is_empty(), "{line}");
    }
}

/// What the agent's crash depends on: see `hapair-agent release`.
#[test]
fn the_stop_step_comes_whatever_ended_the_daemon() {
    let (_, text) = rendered()
        .into_iter()
        .find(|(path, _)| path.ends_with("/hapair-agent.service"))
        .unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for needed in [
        "KillMode=mixed",
        "Type=notify",
        "Restart=always",
        "Conflicts=keepalived.service",
    ] {
        assert!(lines.contains(&needed), "{needed}");
    }
    let value = |key: &str| lines.iter().find_map(|l| l.strip_prefix(key)).unwrap();
    let config = |command: &str| {
        command
            .split(" --config ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert!(value("ExecStopPost=").starts_with("/usr/local/sbin/hapair-agent release"));
    assert_eq!(config(value("ExecStopPost=")), config(value("ExecStart=")));
    // Scripts that run nginx or sudo need more than the daemon itself.
    assert!(value("CapabilityBoundingSet=").starts_with('~'));
}
