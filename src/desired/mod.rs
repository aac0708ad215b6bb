//! Inventory, facts and templates to a host's desired state.
//!
//! Everything here is a pure function of its arguments but [`Templates::with_overrides`], which reads the operator's
//! own templates. Each step of a bootstrap has a file; each appends [`Resource`]s in the order of [`Stage`]s.

mod assumed;
mod error;
mod escape;
mod files;
mod hostname;
mod network;
mod nginx;
mod packages;
mod repositories;
mod secrets;
mod templates;
mod vrrp;

pub use assumed::assumed_facts;
pub use error::DesiredError;
pub use files::{RenderedFile, files};
pub use secrets::Secrets;
pub use templates::Templates;

use crate::inventory::{Host, Inventory};
use crate::state::{Content, Facts, HostState, Reaction, Resource, Secret, Spec, Stage, Validator};

/// Oldest and newest release hapair knows.
const RELEASES: std::ops::RangeInclusive<u8> = 7..=10;

/// What the host of that name should be.
///
/// Secrets must be resolved before; use [`Secrets::masked`] where none will be shown.
///
/// # Errors
/// An unknown host, a release that hapair does not know or that contradicts the inventory, a combination that cannot
/// work on this release, a value that could break out of the file it is rendered into, or a template that fails.
pub fn host_state(
    inventory: &Inventory,
    host: &str,
    facts: &Facts,
    templates: &Templates,
    secrets: &Secrets,
) -> Result<HostState, DesiredError> {
    let (Some(this), Some(peer)) = (inventory.host(host), inventory.peer(host)) else {
        return Err(DesiredError::UnknownHost {
            host: host.to_owned(),
            known: inventory.hosts.iter().map(|h| h.name.clone()).collect(),
        });
    };
    let mut build = Build {
        inventory,
        host: this,
        peer,
        facts,
        templates,
        secrets,
        state: HostState {
            host: host.to_owned(),
            pair: inventory.name.clone(),
            ..HostState::default()
        },
    };
    build.check_release()?;
    network::add(&mut build)?;
    hostname::add_selinux(&mut build);
    hostname::add_firewall(&mut build)?;
    hostname::add_hostname(&mut build)?;
    repositories::add(&mut build)?;
    packages::add(&mut build);
    nginx::add(&mut build)?;
    vrrp::add(&mut build)?;
    // A firewall that had to wait for its package is put behind it; the sort is stable.
    build.state.resources.sort_by_key(|r| r.stage);
    build.state.secrets = secrets.all();
    Ok(build.state)
}

/// A host's state in the making.
struct Build<'a> {
    inventory: &'a Inventory,
    host: &'a Host,
    peer: &'a Host,
    facts: &'a Facts,
    templates: &'a Templates,
    secrets: &'a Secrets,
    state: HostState,
}

impl Build<'_> {
    /// Major release of the host's operating system.
    fn release(&self) -> u8 {
        self.facts.release.major
    }

    fn check_release(&self) -> Result<(), DesiredError> {
        let found = self.release();
        if !RELEASES.contains(&found) {
            return Err(self.impossible(
                format!("release {found} is not one that hapair knows"),
                "releases 7, 8, 9 and 10 of CentOS and its rebuilds are supported",
            ));
        }
        match self.host.release {
            Some(written) if written != found => Err(self.impossible(
                format!("the inventory says release {written}, the host is release {found}"),
                "correct or drop `release` of this host in the inventory",
            )),
            _ => Ok(()),
        }
    }

    /// An error about this host with one hint.
    fn impossible(&self, message: impl Into<String>, hint: &str) -> DesiredError {
        DesiredError::Impossible {
            host: self.host.name.clone(),
            message: message.into(),
            hints: vec![hint.to_owned()],
        }
    }

    /// A remark for the operator, shown with the plan.
    fn note(&mut self, text: impl Into<String>) {
        self.state.notes.push(text.into());
    }

    /// Renders a template with this host's view.
    fn render<T: serde::Serialize>(&self, template: &str, view: &T) -> Result<String, DesiredError> {
        self.templates.render(template, &self.host.name, view)
    }

    /// Appends a resource; the returned reference is for the rarer fields.
    fn push(&mut self, stage: Stage, id: impl Into<String>, spec: Spec) -> &mut Resource {
        self.state.resources.push(Resource {
            id: id.into(),
            stage,
            spec,
            reactions: Vec::new(),
            cuts_ssh: false,
            election_critical: false,
        });
        self.state.resources.last_mut().expect("just pushed")
    }

    /// Appends a text file owned by root.
    fn push_file(
        &mut self,
        stage: Stage,
        path: &str,
        content: String,
        mode: u32,
        validator: Option<Validator>,
        reactions: Vec<Reaction>,
    ) -> &mut Resource {
        let spec = Spec::File {
            path: path.to_owned(),
            content: Content::Text(content),
            mode,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            validator,
        };
        let resource = self.push(stage, format!("file {path}"), spec);
        resource.reactions = reactions;
        resource
    }

    /// Appends a service.
    fn push_service(&mut self, stage: Stage, unit: &str, on: bool, may_be_absent: bool) -> &mut Resource {
        let spec = Spec::Service {
            unit: unit.to_owned(),
            enabled: Some(on),
            active: Some(on),
            may_be_absent,
        };
        let short = unit.strip_suffix(".service").unwrap_or(unit);
        self.push(stage, format!("service {short}"), spec)
    }

    /// The interface that carries the host's network: written, else that of the best default route.
    fn interface(&self) -> Option<String> {
        if let Some(network) = &self.host.network {
            return Some(network.interface.clone());
        }
        self.facts
            .default_routes
            .iter()
            .min_by_key(|r| r.metric)
            .map(|r| r.interface.clone())
    }
}

/// Every secret of a list, without duplicates.
fn distinct(secrets: impl Iterator<Item = Secret>) -> Vec<Secret> {
    let mut out: Vec<Secret> = Vec::new();
    for secret in secrets {
        if !out.contains(&secret) {
            out.push(secret);
        }
    }
    out
}
