//! What is no longer as hapair left it: what is different, and a diff of it. Who did it is told in `attribution`.

use std::path::PathBuf;

use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::report::attribution;
use crate::host::report::baseline::{self, Kept, Left, node_of};
use crate::host::resource::diff::{self, Context};
use crate::host::resource::observed::{Node, Observed, edit_target};
use crate::state::redact::redact;
use crate::state::resource::{Content, HostState, Resource, Spec};
use crate::state::{Drift, Remedy};

/// Longer files are not compared line by line: bytes.
const DIFF_LIMIT: usize = 1 << 20;

/// Every resource of the desired state that differs from how hapair last left it. Read-only; asks `rpm` and `systemctl`
/// only about what differs.
pub fn drift(
    root: &Root,
    state: &HostState,
    resources: &[&Resource],
    observed: &[Observed],
    tools: &Tools,
) -> Vec<Drift> {
    let memory = baseline::read(root);
    let pairs = resources.iter().zip(observed);
    let differs = pairs.filter_map(|(resource, observed)| {
        let left = memory.get(&resource.id)?;
        let now = left.same_form(root, &resource.spec, observed);
        (now != left.observed).then(|| account(root, state, resource, left, (observed, &now), tools))
    });
    differs.collect()
}

fn account(
    root: &Root,
    state: &HostState,
    resource: &Resource,
    left: &Left,
    (observed, now): (&Observed, &Observed),
    tools: &Tools,
) -> Drift {
    let context = Context {
        secrets: &state.secrets,
        engine_active: false,
    };
    let remedy = if diff::diff(resource, observed, &context).is_some() {
        Remedy::PutsRight
    } else {
        Remedy::Keeps
    };
    let place = place(root, resource, &left.observed, now);
    let hand = match &place {
        Place::Path(path) => attribution::of_path(root, path, left),
        Place::Unit(unit) => attribution::of_unit(root, unit, &left.observed, now, tools),
        Place::Nowhere => attribution::Hand::default(),
    };
    Drift {
        resource: resource.id.clone(),
        what: redact(&difference(left, now), &state.secrets),
        since_ms: left.at_ms,
        transaction: left.transaction.clone(),
        by: hand.by,
        when: hand.when,
        package: hand.package,
        beside: hand.beside,
        diff: text_diff(state, resource, left, now),
        remedy,
    }
}

/// Where it can be seen who changed something.
enum Place {
    Path(PathBuf),
    Unit(String),
    /// It is not in a file, or not in one alone.
    Nowhere,
}

fn place(root: &Root, resource: &Resource, was: &Observed, now: &Observed) -> Place {
    let same_file = node_of(was) == node_of(now);
    match (&resource.spec, was, now) {
        (Spec::File { path, .. } | Spec::Directory { path, .. }, ..) => Place::Path(root.path(path)),
        (Spec::Edit { path, .. }, ..) => Place::Path(edit_target(root, path)),
        (Spec::Network(network), ..) if !same_file => Place::Path(edit_target(root, &network.path)),
        (Spec::Selinux { .. }, ..) if !same_file => Place::Path(edit_target(root, "/etc/selinux/config")),
        (Spec::Hostname { .. }, Observed::Hostname { configured: was, .. }, Observed::Hostname { configured, .. })
            if was != configured =>
        {
            Place::Path(root.path("/etc/hostname"))
        }
        (Spec::RepositoriesSetAside { directory, .. }, Observed::Strays(was), Observed::Strays(now)) => {
            match now.iter().find(|name| !was.contains(name)) {
                Some(new) => Place::Path(root.path(directory).join(new)),
                None => Place::Nowhere,
            }
        }
        (Spec::Firewall(_), Observed::Firewall(was), Observed::Firewall(now)) if was.missing != now.missing => {
            Place::Path(root.path(&format!("/etc/firewalld/zones/{}.xml", now.zone)))
        }
        (Spec::Firewall(_), ..) => Place::Unit("firewalld.service".to_owned()),
        (Spec::Service { unit, .. }, ..) => Place::Unit(unit.clone()),
        _ => Place::Nowhere,
    }
}

/// What is different, in words.
fn difference(left: &Left, now: &Observed) -> String {
    let mut words = Vec::new();
    if let (Some(was), Some(now)) = (node_of(&left.observed), node_of(now)) {
        words.extend(node(was, now, left.kept));
    }
    match (&left.observed, now) {
        (
            Observed::Network {
                missing: had,
                routed: was,
                ..
            },
            Observed::Network { missing, routed, .. },
        ) => {
            let gone = missing.iter().filter(|a| !had.contains(a));
            words.extend(gone.map(|a| format!("{a} is not on the interface any more")));
            let back = had.iter().filter(|a| !missing.contains(a));
            words.extend(back.map(|a| format!("{a} is on the interface")));
            match (was, routed) {
                (true, false) => words.push("the default route is gone".into()),
                (false, true) => words.push("there is a default route".into()),
                _ => {}
            }
        }
        (Observed::Selinux { settled: was, .. }, Observed::Selinux { settled, .. }) if was != settled => {
            words.push(format!("{was} became {settled} in the running kernel"));
        }
        (Observed::Booleans(was), Observed::Booleans(now)) => {
            let (was, now) = (was.clone().unwrap_or_default(), now.clone().unwrap_or_default());
            let changed = now.iter().filter(|(name, value)| was.get(*name) != Some(value));
            words.extend(changed.map(|(name, value)| match value {
                Some(true) => format!("{name} switched on"),
                Some(false) => format!("{name} switched off"),
                None => format!("{name} is gone"),
            }));
        }
        (Observed::Firewall(was), Observed::Firewall(now)) => {
            if was.zone != now.zone {
                words.push(format!("the interface is in zone {} instead of {}", now.zone, was.zone));
            }
            let gone = now.missing.iter().filter(|m| !was.missing.contains(m));
            words.extend(gone.map(|m| format!("{} taken out", m.trim_start_matches("--add-").replacen('=', " ", 1))));
            words.extend(switched(was.running, now.running, "started", "stopped"));
            words.extend(switched(was.enabled, now.enabled, "enabled", "disabled"));
        }
        (
            Observed::Hostname {
                configured: was,
                running: ran,
            },
            Observed::Hostname { configured, running },
        ) => {
            if was != configured {
                words.push(format!("renamed to {configured} in /etc/hostname"));
            }
            if ran != running {
                words.push(format!("the running name is {running}"));
            }
        }
        (Observed::Missing(was), Observed::Missing(now)) => {
            let gone = now.iter().filter(|name| !was.contains(name));
            words.extend(gone.map(|name| format!("{name} removed")));
            let back = was.iter().filter(|name| !now.contains(name));
            words.extend(back.map(|name| format!("{name} installed")));
        }
        (Observed::Strays(was), Observed::Strays(now)) => {
            let new = now.iter().filter(|name| !was.contains(name));
            words.extend(new.map(|name| format!("{name} added")));
        }
        (Observed::Media { .. }, Observed::Media { .. }) => words.push("the copy changed".into()),
        (Observed::Unit { .. }, Observed::Unit { exists: false, .. }) => words.push("the unit is gone".into()),
        (
            Observed::Unit {
                active: ran,
                enabled: was,
                ..
            },
            Observed::Unit { active, enabled, .. },
        ) => {
            words.extend(switched(*ran, *active, "started", "stopped"));
            if was != enabled {
                words.push(if enabled.is_empty() {
                    "not enabled".into()
                } else {
                    enabled.clone()
                });
            }
        }
        _ => {}
    }
    if words.is_empty() {
        "changed".to_owned()
    } else {
        words.join(", ")
    }
}

fn switched(was: bool, now: bool, on: &str, off: &str) -> Option<String> {
    match (was, now) {
        (true, false) => Some(off.to_owned()),
        (false, true) => Some(on.to_owned()),
        _ => None,
    }
}

fn node(was: &Node, now: &Node, kept: Kept) -> Vec<String> {
    match (was, now) {
        (was, now) if was == now => Vec::new(),
        (Node::Missing, Node::Symlink { target }) => vec![format!("created, a link to {target}")],
        (Node::Missing, _) => vec!["created".into()],
        (_, Node::Missing) => vec!["deleted".into()],
        (
            Node::File {
                content: had,
                mode: had_mode,
                owner: had_owner,
                group: had_group,
            },
            Node::File {
                content,
                mode,
                owner,
                group,
            },
        ) => {
            let mut words = Vec::new();
            match (std::str::from_utf8(had), std::str::from_utf8(content)) {
                _ if had == content => {}
                (Ok(had), Ok(now)) if kept == Kept::Text && now.len() <= DIFF_LIMIT => {
                    words.push(format!("{} changed", diff::lines(had, now)));
                }
                _ => words.push("content changed".into()),
            }
            words.extend(diff::attributes(*mode, owner, group, *had_mode, had_owner, had_group));
            words
        }
        (
            Node::Directory {
                mode: had_mode,
                owner: had_owner,
                group: had_group,
            },
            Node::Directory { mode, owner, group },
        ) => diff::attributes(*mode, owner, group, *had_mode, had_owner, had_group)
            .into_iter()
            .collect(),
        (_, Node::Symlink { target }) => vec![format!("replaced by a link to {target}")],
        (_, Node::Directory { .. }) => vec!["replaced by a directory".into()],
        (_, Node::File { .. }) => vec!["replaced by a file".into()],
        (_, Node::Other { what }) => vec![format!("replaced ({what})")],
    }
}

fn text_diff(state: &HostState, resource: &Resource, left: &Left, now: &Observed) -> Option<String> {
    let secret = matches!(
        resource.spec,
        Spec::File {
            content: Content::Executor,
            ..
        }
    );
    if secret || left.kept == Kept::Hash {
        return None;
    }
    let text = |node: &Node| match node {
        Node::File { content, .. } if content.len() <= DIFF_LIMIT => String::from_utf8(content.clone()).ok(),
        Node::Missing => Some(String::new()),
        _ => None,
    };
    let (was, now) = (text(node_of(&left.observed)?)?, text(node_of(now)?)?);
    let path = diff::path_of(&resource.spec);
    diff::titled(path, ("as hapair left it", &was), ("now", &now), &state.secrets)
}
