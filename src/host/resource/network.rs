//! Static network profiles: their file, and their activation by the service that manages the interface.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::observe::facts::net;
use crate::host::observe::segment::{self, Gateway};
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::{exec, systemd};
use crate::host::record::txn;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Trace, of_another_kind};
use crate::host::resource::node::{Node, edit_target, node};
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::{Planned, Undoing, When};
use crate::host::resource::worker::Worker;
use crate::host::resource::{edited, write};
use crate::state::resource::{NetworkSpec, Stage};
use crate::state::{NetworkManagerKind, UnitAction};

/// network.service's own limit is five minutes; an address conflict check and DAD cost seconds.
const ACTIVATION: Duration = Duration::from_secs(100);

/// Until a gateway answers: a switch port without portfast forwards nothing for 50 s after its link came up.
const GATEWAY: Duration = Duration::from_secs(60);

/// How long addresses may take to appear after the manager said it is done.
const SETTLE: Duration = Duration::from_secs(15);

/// A profile, in its file and at run time.
pub(crate) struct Network<'a>(pub(crate) &'a NetworkSpec);

impl Kind for Network<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        let Network(spec) = self;
        let file = node(root, &edit_target(root, &spec.path));
        if !root.is_live() {
            return Observed::Network {
                file,
                missing: Vec::new(),
                routed: true,
            };
        }
        let present = net::addresses_of(&spec.interface);
        let missing = spec
            .addresses
            .iter()
            .filter(|a| !present.iter().any(|p| same_address(p, a)))
            .cloned()
            .collect();
        let routed = is_routed(root, spec);
        Observed::Network { file, missing, routed }
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Network(spec) = self;
        let Observed::Network { file, missing, routed } = observed else {
            return Found::of_another_kind();
        };
        let file = edited::found(&spec.edits, Some(&spec.create), file);
        let mut todo: Vec<String> = file.iter().map(|f| f.summary.clone()).collect();
        todo.extend(missing.iter().map(|a| format!("bring up {a}")));
        if let (false, Some(gateway)) = (routed, &spec.gateway) {
            todo.push(format!("route via {gateway}"));
        }
        let (text, shown) = file.map_or((None, false), |f| (f.text, f.shown));
        Found::listed(&todo, ", ").map(|found| Found { text, shown, ..found })
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Network(spec) = self;
        let Observed::Network { file: node, .. } = observed else {
            return Err(of_another_kind());
        };
        let path = edit_target(worker.root, &spec.path);
        let gateway = match worker.root.is_live() {
            true => segment::expected(worker.root, spec),
            false => Gateway::NotAsked,
        };
        let undo = Undo::Network {
            manager: spec.manager,
            interface: spec.interface.clone(),
            path: path.to_string_lossy().into_owned(),
        };
        worker.undo.add(&undo)?;
        let Some((old, new)) = edited::text(&spec.edits, Some(&spec.create), node) else {
            return Ok(());
        };
        if old != new || !matches!(node, Node::File { .. }) {
            write::edit(worker, &path, &new, spec.mode)?;
        }
        if !worker.root.is_live() {
            return Ok(());
        }
        let journal = &mut worker.journal;
        let activated = activate(spec.manager, &spec.interface, &path, &mut |line| journal.log(line));
        // The tool's exit code is not the judge: one stale ifcfg file elsewhere makes network.service fail although this
        // interface is up.
        let Err(left) = settled(worker, spec) else {
            if let Err(error) = activated {
                worker
                    .journal
                    .log(&format!("{error:#}; the wanted addresses are up anyway"));
            }
            return match gateway {
                Gateway::MustAnswer => await_gateway(worker, spec),
                Gateway::NotAsked => Ok(()),
            };
        };
        Err(match activated {
            Err(error) => Error::new(format!("{left}; {error:#}")).with_hints(error.hints),
            Ok(()) => Error::new(left).hint(format!("see `journalctl -b` on the host for {}", spec.interface)),
        })
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (
            Observed::Network {
                missing: had,
                routed: was,
                ..
            },
            Observed::Network { missing, routed, .. },
        ) = (was, now)
        else {
            return Vec::new();
        };
        let mut words = Vec::new();
        let gone = missing.iter().filter(|a| !had.contains(a));
        words.extend(gone.map(|a| format!("{a} is no longer on the interface")));
        let back = had.iter().filter(|a| !missing.contains(a));
        words.extend(back.map(|a| format!("{a} is on the interface")));
        match (was, routed) {
            (true, false) => words.push("the default route is gone".into()),
            (false, true) => words.push("there is a default route".into()),
            (true, true) | (false, false) => {}
        }
        words
    }

    fn trace(&self, root: &Root, was: &Observed, now: &Observed) -> Trace {
        if was.node() == now.node() {
            Trace::Nowhere
        } else {
            Trace::Path(edit_target(root, &self.0.path))
        }
    }

    fn path(&self) -> &str {
        &self.0.path
    }

    fn concerns_segment(&self) -> bool {
        true
    }

    fn preflight(&self, root: &Root) -> Result<()> {
        segment::preflight(root, self.0)
    }

    fn address_after(&self) -> Option<&str> {
        self.0.addresses.first().map(String::as_str)
    }
}

/// The wanted default route is in the main table, or none is wanted.
fn is_routed(root: &Root, spec: &NetworkSpec) -> bool {
    spec.gateway.as_ref().is_none_or(|gateway| {
        let routes = net::default_routes(root);
        routes
            .iter()
            .any(|r| r.gateway == *gateway && r.interface == spec.interface)
    })
}

/// `fd00::0:1/64` and `fd00::1/64` are one address.
fn same_address(a: &str, b: &str) -> bool {
    let parse = |text: &str| {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse::<std::net::IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
    };
    a == b || (parse(a).is_some() && parse(a) == parse(b))
}

/// Short enough to end before the revert timer fires.
fn await_gateway(worker: &Worker<'_>, spec: &NetworkSpec) -> Result<()> {
    let patience = GATEWAY.min(Duration::from_secs(worker.request.confirm_timeout) / 2);
    segment::await_gateway(worker.root, spec, patience, &mut || txn::check_cancel(worker.txn))
}

/// Waits until the wanted addresses and the route are there; else says what is missing.
fn settled(worker: &Worker<'_>, spec: &NetworkSpec) -> std::result::Result<(), String> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let have = net::addresses_of(&spec.interface);
        let missing: Vec<&String> = spec.addresses.iter().filter(|a| !have.contains(a)).collect();
        let routed = is_routed(worker.root, spec);
        if missing.is_empty() && routed {
            return Ok(());
        }
        if Instant::now() > deadline {
            let mut left: Vec<String> = missing
                .iter()
                .map(|a| format!("{a} is not on {}", spec.interface))
                .collect();
            if let (false, Some(gateway)) = (routed, &spec.gateway) {
                left.push(format!("there is no default route via {gateway}"));
            }
            return Err(left.join(" and "));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Activates a profile, as it is on disk now.
///
/// # Errors
/// The manager failed; addresses may be up all the same.
pub fn activate(manager: NetworkManagerKind, interface: &str, path: &Path, log: &mut dyn FnMut(&str)) -> Result<()> {
    match manager {
        NetworkManagerKind::NetworkManager => network_manager(interface, path, log),
        NetworkManagerKind::NetworkService => {
            log("restart network.service");
            systemd::ctl(UnitAction::Restart, "network.service").map_err(|e| e.hint(
                "one stale ifcfg file of an absent interface makes network.service fail; a missing /etc/sysconfig/network too",
            ))
        }
        NetworkManagerKind::Nobody => Err(Error::new(
            "neither NetworkManager nor network.service manages this interface",
        )
        .hint("start one of them: `systemctl enable --now NetworkManager`")),
    }
}

/// Only this connection is touched: NetworkManager is neither restarted nor told to read everything again.
fn network_manager(interface: &str, path: &Path, log: &mut dyn FnMut(&str)) -> Result<()> {
    let file = path.to_string_lossy();
    if !path.exists() {
        // A revert took the profile away: NetworkManager must forget it, and falls back to what it had.
        exec::must("nmcli", &["connection", "reload"], ACTIVATION)?;
        let _ = exec::run("nmcli", &["device", "connect", interface], ACTIVATION);
        return Ok(());
    }
    log(&format!("nmcli connection load {file}"));
    exec::must("nmcli", &["connection", "load", &file], ACTIVATION)?;
    // nmcli's load exits 0 even when it refuses the file, so the profile is looked for.
    let uuid = uuid_of(path);
    let (by, which) = uuid.as_deref().map_or(("ifname", interface), |uuid| ("uuid", uuid));
    let args = ["-w", "60", "connection", "up", by, which];
    log(&format!("nmcli {}", args[2..].join(" ")));
    exec::must("nmcli", &args, ACTIVATION).map(drop).map_err(|e| {
        e.hint("NetworkManager ignores a keyfile that others can read, and an ifcfg file with a wrong BOOTPROTO")
            .hint("see `journalctl -u NetworkManager` on the host")
    })
}

/// The connection's UUID: written in the profile, else the one NetworkManager made up for the file.
fn uuid_of(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let written = text
        .lines()
        .find_map(|l| l.strip_prefix("UUID=").or_else(|| l.strip_prefix("uuid=")));
    if let Some(uuid) = written
        .map(|u| u.trim().trim_matches(['"', '\'']))
        .filter(|u| !u.is_empty())
    {
        return Some(uuid.to_owned());
    }
    let output = exec::run(
        "nmcli",
        &["-t", "-f", "UUID,FILENAME", "connection", "show"],
        ACTIVATION,
    )
    .ok()?;
    let line = output.stdout.lines().find(|l| l.ends_with(&*path.to_string_lossy()))?;
    line.split(':').next().map(str::to_owned)
}

/// A profile that was activated: the one that was there before must be.
pub(crate) struct NetworkUndo<'a> {
    /// Who activates.
    pub(crate) manager: NetworkManagerKind,
    pub(crate) interface: &'a str,
    /// The profile.
    pub(crate) path: &'a str,
}

impl Undoing for NetworkUndo<'_> {
    fn capture(&self, _root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Network {
            manager: self.manager,
            interface: self.interface.to_owned(),
            path: self.path.to_owned(),
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("the network of {}", self.interface))
    }

    fn system(&self, when: When, log: &mut dyn FnMut(&str)) -> Result<()> {
        match when {
            When::Now => activate(self.manager, self.interface, Path::new(self.path), log),
            // The network comes up later, from the file that is back in place.
            When::AtBoot => Ok(()),
        }
    }

    fn interface(&self) -> Option<&str> {
        Some(self.interface)
    }

    fn cuts_ssh(&self) -> bool {
        true
    }

    fn planned(&self, _root: &Root) -> Option<Planned> {
        Some(Planned {
            resource: format!("network {}", self.interface),
            stage: Stage::Network,
            summary: "activate the profile that was there".to_owned(),
        })
    }
}
