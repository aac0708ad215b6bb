//! What a host should be, for a set of inventories, against golden files; and the seed's own two files.
//!
//! `HAPAIR_UPDATE_GOLDEN=1` rewrites the golden files.

mod cases;
mod dump;
mod keepalived_conf;
mod needs;
mod profile;
mod refused;
mod seed;
mod signed;
mod states;
mod templates;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hapair::desired::{self, DesiredError, Secrets, Templates};
use hapair::inventory::{Inventory, SecretSource};
use hapair::keepalived::{self, NoFiles};
use hapair::state::edit;
use hapair::state::facts::ProfileFormat;
use hapair::state::{
    Content, Engine, Facts, HostState, Interface, NetworkManagerKind, NginxLayout, Profile, Secret, Spec,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn load(case: &str) -> Inventory {
    let path = golden().join("desired").join(case).join("inventory.yaml");
    match Inventory::load(&path) {
        Ok(inventory) => inventory,
        Err(errors) => panic!("{errors}"),
    }
}

/// The passwords as written; generated ones become `generate`.
fn secrets(inventory: &Inventory) -> Secrets {
    let mut secrets = Secrets::new();
    for instance in inventory
        .vrrp
        .iter()
        .flat_map(|v| &v.instances)
        .filter(|i| i.version == 2)
    {
        let secret = match &instance.auth_pass {
            Some(SecretSource::Literal(secret)) => secret.clone(),
            _ => Secret::new("generate"),
        };
        secrets.set_auth_pass(&instance.name, secret);
    }
    secrets
}

fn state(inventory: &Inventory, host: &str, facts: &Facts) -> HostState {
    match desired::host_state(inventory, host, facts, &Templates::embedded(), &secrets(inventory)) {
        Ok(state) => state,
        Err(error) => panic!("{error}: {:?}", error.hints),
    }
}

fn fresh(inventory: &Inventory, host: &str, release: u8) -> Facts {
    desired::assumed_facts(inventory, host, release)
}

/// A host whose interface already has a profile.
fn with_profile(mut facts: Facts, mac: &str, path: &str, format: ProfileFormat, content: &str) -> Facts {
    let interface = facts.interfaces.first_mut().expect("the inventory names a network");
    interface.mac = mac.to_owned();
    interface.profile = Some(Profile {
        path: path.to_owned(),
        format,
        content: content.to_owned(),
    });
    facts
}

fn check_golden(case: &str, name: &str, text: &str) {
    let path = golden().join("desired").join(case).join(name);
    if std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("golden files can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        let diff = similar::TextDiff::from_lines(expected.as_str(), text);
        panic!("{} differs:\n{}", path.display(), diff.unified_diff().context_radius(3));
    }
}

fn options() -> keepalived::Options<'static> {
    keepalived::Options {
        path: "keepalived.conf",
        config_id: "test",
        instance: "test",
        resolver: &NoFiles,
    }
}

fn conf(state: &HostState) -> String {
    let found = state.resources.iter().find_map(|r| match &r.spec {
        Spec::File {
            path,
            content: Content::Text(text),
            ..
        } if path == "/etc/keepalived/keepalived.conf" => Some(text),
        _ => None,
    });
    found.expect("a state with VRRP has a keepalived.conf").clone()
}
