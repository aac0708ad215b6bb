//! The difference between a resource and what was observed. Pure.

use similar::{ChangeTag, TextDiff};

use crate::host::observe::election_critical;
use crate::host::resource::observed::{IS_EXECUTOR, Node, Observed};
use crate::state::edit::{self, Edit};
use crate::state::redact::redact;
use crate::state::resource::{Content, NetworkSpec, Resource, Spec};
use crate::state::{Change, Secret, SelinuxMode};

/// What a diff needs to know beside the resource.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Masked wherever text is shown.
    pub secrets: &'a [Secret],
    /// An engine speaks VRRP on this host now: only then can a change be election-critical.
    pub engine_active: bool,
}

/// What must change; `None`: the resource is as desired, or does not apply.
pub fn diff(resource: &Resource, observed: &Observed, context: &Context<'_>) -> Option<Change> {
    let found = parts(&resource.spec, observed)?;
    let critical = resource.election_critical
        && context.engine_active
        && found
            .text
            .as_ref()
            .is_some_and(|(old, new)| election_critical::differs(old, new));
    let path = path_of(&resource.spec);
    Some(Change {
        resource: resource.id.clone(),
        stage: resource.stage,
        summary: redact(&found.summary, context.secrets),
        diff: found
            .text
            .filter(|_| found.shown)
            .and_then(|(old, new)| unified(path, &old, &new, context.secrets)),
        cuts_ssh: resource.cuts_ssh,
        election_critical: critical,
    })
}

/// A difference before it is dressed for showing.
struct Found {
    summary: String,
    /// Text before and after.
    text: Option<(String, String)>,
    /// The text may be shown.
    shown: bool,
}

impl Found {
    fn plain(summary: impl Into<String>) -> Option<Found> {
        Some(Found {
            summary: summary.into(),
            text: None,
            shown: false,
        })
    }
}

/// The path that a diff is headed with.
pub fn path_of(spec: &Spec) -> &str {
    match spec {
        Spec::File { path, .. } | Spec::Edit { path, .. } | Spec::Directory { path, .. } => path,
        Spec::Network(network) => &network.path,
        Spec::Selinux { .. } => "/etc/selinux/config",
        _ => "",
    }
}

fn parts(spec: &Spec, observed: &Observed) -> Option<Found> {
    match (spec, observed) {
        (
            Spec::File {
                content,
                mode,
                owner,
                group,
                ..
            },
            Observed::Node(node),
        ) => file(content, *mode, owner, group, node),
        (Spec::Edit { edits, create, .. }, Observed::Node(node)) => edited(edits, create.as_deref(), node),
        (Spec::Directory { mode, .. }, Observed::Node(node)) => match node {
            Node::Missing => Found::plain("create"),
            Node::Directory {
                mode: have,
                owner,
                group,
            } => attributes(*mode, "root", "root", *have, owner, group).and_then(Found::plain),
            _ => Found::plain("replace what is not a directory"),
        },
        (Spec::Network(spec), Observed::Network { file, missing, routed }) => network(spec, file, missing, *routed),
        (Spec::Selinux { mode }, Observed::Selinux { file, runtime, .. }) => selinux(*mode, file, *runtime),
        (Spec::SelinuxBooleans { values }, Observed::Booleans(Some(have))) => {
            let wrong: Vec<String> = values
                .iter()
                .filter(|(name, wanted)| have.get(*name).copied().flatten() != Some(**wanted))
                .map(|(name, wanted)| format!("{name} {}", if *wanted { "on" } else { "off" }))
                .collect();
            if wrong.is_empty() {
                None
            } else {
                Found::plain(format!("set {}", wrong.join(", ")))
            }
        }
        (Spec::SelinuxBooleans { .. }, _) => None,
        (Spec::Firewall(_), Observed::Firewall(have)) => {
            let mut todo: Vec<String> = have
                .missing
                .iter()
                .map(|m| m.trim_start_matches("--").replacen('=', " ", 1))
                .collect();
            if !have.running {
                todo.push("start firewalld".into());
            }
            if !have.enabled {
                todo.push("enable firewalld".into());
            }
            if todo.is_empty() {
                None
            } else {
                Found::plain(format!("zone {}: {}", have.zone, todo.join(", ")))
            }
        }
        (Spec::Hostname { name }, Observed::Hostname { configured, running }) => {
            let from = if configured == name { running } else { configured };
            if from == name {
                None
            } else {
                Found::plain(format!(
                    "rename from {}",
                    if from.is_empty() { "nothing" } else { from }
                ))
            }
        }
        (Spec::Packages { .. }, Observed::Missing(names)) if names.is_empty() => None,
        (Spec::Packages { .. }, Observed::Missing(names)) => Found::plain(format!("install {}", names.join(" "))),
        (Spec::PackageGroup { .. }, Observed::Missing(names)) if names.is_empty() => None,
        (Spec::PackageGroup { name, .. }, Observed::Missing(names)) => Found::plain(format!(
            "install group {name} ({} of its packages are missing)",
            names.len()
        )),
        (Spec::RepositoriesSetAside { .. }, Observed::Strays(names)) if names.is_empty() => None,
        (Spec::RepositoriesSetAside { .. }, Observed::Strays(names)) => {
            Found::plain(format!("set aside {} as .bak", names.join(", ")))
        }
        (Spec::MediaCopy { from, to }, Observed::Media { disc, copy }) => match (disc, copy) {
            // The disc may be gone once it is copied.
            (None, Some(_)) => None,
            (disc, copy) if disc.is_some() && disc == copy => None,
            _ => Found::plain(format!("copy {from} to {to}")),
        },
        (
            Spec::Service { enabled, active, .. },
            Observed::Unit {
                exists,
                active: runs,
                stopped,
                enabled: have,
            },
        ) => service(*enabled, *active, *exists, *runs, *stopped, have),
        // An observation of another kind is a fault of this program; saying "unknown" beats doing nothing.
        _ => Found::plain("observe again"),
    }
}

fn file(content: &Content, mode: u32, owner: &str, group: &str, node: &Node) -> Option<Found> {
    let (secret, wanted) = match content {
        Content::Text(text) => (false, Some(text.as_str())),
        Content::Executor => (true, None),
    };
    let new = wanted.unwrap_or_default();
    match node {
        Node::Missing => Some(Found {
            summary: format!("create, mode {mode:04o}{}", owned(owner, group)),
            text: Some((String::new(), new.to_owned())),
            shown: !secret,
        }),
        Node::File {
            content: have,
            mode: have_mode,
            owner: have_owner,
            group: have_group,
        } => {
            let same = match wanted {
                Some(text) => have == text.as_bytes(),
                None => have == IS_EXECUTOR,
            };
            let attributes = attributes(mode, owner, group, *have_mode, have_owner, have_group);
            match (same, attributes) {
                (true, None) => None,
                (true, Some(what)) => Found::plain(what),
                (false, attributes) => {
                    let readable = std::str::from_utf8(have).is_ok();
                    let old = String::from_utf8_lossy(have).into_owned();
                    let mut summary = match content {
                        Content::Text(_) if readable => count(&old, new),
                        Content::Executor => "replace the binary".into(),
                        _ => "content changes".into(),
                    };
                    if let Some(what) = attributes {
                        summary.push_str(&format!(", {what}"));
                    }
                    Some(Found {
                        summary,
                        text: Some((old, new.to_owned())),
                        shown: !secret && readable,
                    })
                }
            }
        }
        Node::Symlink { target } => Some(Found {
            summary: format!("replace the link to {target} by a file"),
            text: Some((String::new(), new.to_owned())),
            shown: !secret,
        }),
        Node::Directory { .. } => Found::plain("replace a directory by a file"),
        Node::Other { what } => Found::plain(format!("replace ({what})")),
    }
}

fn owned(owner: &str, group: &str) -> String {
    if (owner, group) == ("root", "root") {
        String::new()
    } else {
        format!(", owner {owner}:{group}")
    }
}

/// `mode 0644 to 0600, owner root:root to ann:ann`: from what it has to what it should have.
pub(crate) fn attributes(
    mode: u32,
    owner: &str,
    group: &str,
    have: u32,
    have_owner: &str,
    have_group: &str,
) -> Option<String> {
    let mut out = Vec::new();
    if mode != have {
        out.push(format!("mode {have:04o} to {mode:04o}"));
    }
    if (owner, group) != (have_owner, have_group) {
        out.push(format!("owner {have_owner}:{have_group} to {owner}:{group}"));
    }
    if out.is_empty() { None } else { Some(out.join(", ")) }
}

/// Text of an edited file as it should be; `None`: the edit does not apply.
pub fn edited_text(edits: &[Edit], create: Option<&str>, node: &Node) -> Option<(String, String)> {
    match node {
        Node::File { .. } => {
            let old = node.text().unwrap_or_default();
            let new = edit::apply(&old, edits);
            Some((old, new))
        }
        _ => create.map(|start| (String::new(), edit::apply(start, edits))),
    }
}

fn edited(edits: &[Edit], create: Option<&str>, node: &Node) -> Option<Found> {
    let (old, new) = edited_text(edits, create, node)?;
    match node {
        Node::File { .. } if old == new => None,
        Node::File { .. } => Some(Found {
            summary: count(&old, &new),
            text: Some((old, new)),
            shown: true,
        }),
        Node::Missing => Some(Found {
            summary: "create".into(),
            text: Some((old, new)),
            shown: true,
        }),
        _ => Found::plain("replace what is not a regular file"),
    }
}

fn network(spec: &NetworkSpec, node: &Node, missing: &[String], routed: bool) -> Option<Found> {
    let file = edited(&spec.edits, Some(&spec.create), node);
    let mut todo: Vec<String> = file.iter().map(|f| f.summary.clone()).collect();
    todo.extend(missing.iter().map(|a| format!("bring up {a}")));
    if let (false, Some(gateway)) = (routed, &spec.gateway) {
        todo.push(format!("route by {gateway}"));
    }
    if todo.is_empty() {
        return None;
    }
    let (text, shown) = file.map_or((None, false), |f| (f.text, f.shown));
    Some(Found {
        summary: todo.join(", "),
        text,
        shown,
    })
}

/// Edits that put a mode into `/etc/selinux/config`.
pub fn selinux_edits(mode: SelinuxMode) -> [Edit; 1] {
    [Edit::Assign {
        key: "SELINUX".into(),
        value: Some(mode.to_string()),
    }]
}

fn selinux(mode: SelinuxMode, node: &Node, runtime: SelinuxMode) -> Option<Found> {
    let mut todo = Vec::new();
    let mut text = None;
    let configured = node
        .text()
        .map(|t| crate::host::observe::facts::system::parse_selinux(&t));
    match configured {
        // No file: no policy is installed, which is what `disabled` asks for.
        None if mode == SelinuxMode::Disabled => {}
        Some(Some(have)) if have == mode => {}
        other => {
            let old = node.text().unwrap_or_default();
            let from = other.flatten().map_or_else(|| "nothing".to_owned(), |m| m.to_string());
            todo.push(format!("configure {mode} (was {from})"));
            text = Some((old.clone(), edit::apply(&old, &selinux_edits(mode))));
        }
    }
    // A running kernel goes between enforcing and permissive only; `disabled` is as near as permissive until a reboot.
    match (mode, runtime) {
        (SelinuxMode::Enforcing, SelinuxMode::Permissive) => todo.push("set enforcing now".into()),
        (SelinuxMode::Permissive | SelinuxMode::Disabled, SelinuxMode::Enforcing) => {
            todo.push("set permissive now".into())
        }
        _ => {}
    }
    if todo.is_empty() {
        None
    } else {
        Some(Found {
            summary: todo.join(", "),
            shown: text.is_some(),
            text,
        })
    }
}

fn service(
    enabled: Option<bool>,
    active: Option<bool>,
    exists: bool,
    runs: bool,
    stopped: bool,
    have: &str,
) -> Option<Found> {
    let mut todo = Vec::new();
    match active {
        Some(true) if !runs => todo.push("start"),
        Some(false) if exists && !stopped => todo.push("stop"),
        _ => {}
    }
    match enabled {
        Some(true) if !starts_at_boot(exists, have) => todo.push("enable"),
        Some(false) if exists && matches!(have, "enabled" | "enabled-runtime" | "linked") => todo.push("disable"),
        _ => {}
    }
    if todo.is_empty() {
        None
    } else {
        Found::plain(todo.join(" and "))
    }
}

/// Units without an `[Install]` section cannot be enabled: whatever wants them starts them.
fn starts_at_boot(exists: bool, have: &str) -> bool {
    exists && matches!(have, "enabled" | "static" | "indirect" | "generated" | "alias")
}

fn count(old: &str, new: &str) -> String {
    format!("edit {}", lines(old, new))
}

/// `1 line`, `3 lines`: how many are different.
pub(crate) fn lines(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let of = |tag: ChangeTag| diff.iter_all_changes().filter(|c| c.tag() == tag).count();
    let lines = of(ChangeTag::Insert).max(of(ChangeTag::Delete));
    format!("{lines} line{}", if lines == 1 { "" } else { "s" })
}

/// Unified diff from what is there to what is wanted, secrets masked; `None`: they are the same.
pub(crate) fn unified(path: &str, old: &str, new: &str, secrets: &[Secret]) -> Option<String> {
    titled(path, ("now", old), ("wanted", new), secrets)
}

/// Unified diff of two texts with their titles, secrets masked; `None`: they are the same.
pub(crate) fn titled(
    path: &str,
    (old_title, old): (&str, &str),
    (new_title, new): (&str, &str),
    secrets: &[Secret],
) -> Option<String> {
    if old == new {
        return None;
    }
    let diff = TextDiff::from_lines(old, new);
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("{path} ({old_title})"), &format!("{path} ({new_title})"))
        .to_string();
    Some(redact(&text, secrets))
}
