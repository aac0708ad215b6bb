//! Step 4: host name and hosts file.

use super::build::{Build, address_of};
use super::error::DesiredError;
use super::escape::Syntax;
use crate::keepalived::Family;
use crate::state::edit::Edit;
use crate::state::{Spec, Stage};

const HOSTS: &str = "etc/hosts.tera";

pub(super) fn add(build: &mut Build) -> Result<(), DesiredError> {
    let name = build.host.name.clone();
    build.guard(Syntax::ShellWord, "hosts.name", &name)?;
    build.guard(Syntax::ShellWord, "hosts.name", &build.peer.name)?;
    build.push(Stage::Hostname, "hostname", Spec::Hostname { name });

    let former = &build.facts.hostname;
    let keeps = former.is_empty() || former.starts_with("localhost") || *former == build.peer.name;
    let remove = if keeps || *former == build.host.name {
        Vec::new()
    } else {
        names(former)
    };
    let mut edits: Vec<Edit> = ["127.0.0.1", "::1"]
        .into_iter()
        .map(|address| Edit::Hosts {
            address: address.to_owned(),
            names: names(&build.host.name),
            remove: remove.clone(),
        })
        .collect();
    let peer = build.peer;
    for family in [Family::V4, Family::V6] {
        if let Ok(address) = address_of(build, peer, family) {
            edits.push(Edit::Hosts {
                address: address.to_string(),
                names: names(&peer.name),
                remove: Vec::new(),
            });
        }
    }
    let mut create = build.render(HOSTS, &serde_json::json!({}))?;
    for edit in &edits {
        let Edit::Hosts { address, names, .. } = edit else {
            continue;
        };
        create = with_names(&create, address, names);
    }
    let path = "/etc/hosts".to_owned();
    let spec = Spec::Edit {
        path: path.clone(),
        edits,
        create: Some(create),
        mode: 0o644,
        validator: None,
    };
    build.push(Stage::Hostname, format!("file {path}"), spec);
    Ok(())
}

/// A host name, and its first label where it has several.
fn names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let Some((short, _)) = name.split_once('.') {
        names.push(short.to_owned());
    }
    names
}

/// A fresh hosts file with names appended to an address's line.
fn with_names(text: &str, address: &str, names: &[String]) -> String {
    let mut out = String::new();
    let mut found = false;
    for line in text.lines() {
        out.push_str(line);
        if !found && line.split_whitespace().next() == Some(address) {
            found = true;
            for name in names {
                out.push(' ');
                out.push_str(name);
            }
        }
        out.push('\n');
    }
    if !found {
        out.push_str(&format!("{address} {}\n", names.join(" ")));
    }
    out
}
