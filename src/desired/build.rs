//! The desired state of a host in the making.

use std::net::IpAddr;

use super::error::{DesiredError, unsafe_value};
use super::escape::{Syntax, offender};
use super::secrets::Secrets;
use super::templates::Templates;
use crate::inventory::{Host, Instance, Inventory};
use crate::keepalived::Family;
use crate::state::{Content, Facts, HostState, Reaction, Resource, Spec, Stage, Validator};

/// Oldest and newest release hapair knows.
pub(super) const RELEASES: std::ops::RangeInclusive<u8> = 7..=10;

/// A host's state in the making.
pub(super) struct Build<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) host: &'a Host,
    pub(super) peer: &'a Host,
    pub(super) facts: &'a Facts,
    pub(super) templates: &'a Templates,
    pub(super) secrets: &'a Secrets,
    pub(super) state: HostState,
}

/// A text file owned by root.
pub(super) struct TextFile<'a> {
    /// Absolute.
    pub(super) path: &'a str,
    pub(super) content: String,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) validator: Option<Validator>,
    /// What must happen if it changed.
    pub(super) reactions: Vec<Reaction>,
}

impl Build<'_> {
    /// Major release of the host's operating system.
    pub(super) fn release(&self) -> u8 {
        self.facts.release.major
    }

    /// Refuses a value that could break out of what it is written into; `field` in the inventory's words.
    pub(super) fn guard(&self, syntax: Syntax, field: &str, value: &str) -> Result<(), DesiredError> {
        match offender(syntax, value) {
            None => Ok(()),
            Some(character) => Err(unsafe_value(&self.host.name, field, &character, syntax.format())),
        }
    }

    pub(super) fn check_release(&self) -> Result<(), DesiredError> {
        let found = self.release();
        if !RELEASES.contains(&found) {
            return Err(self.impossible(
                format!("hapair does not support release {found}"),
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
    pub(super) fn impossible(&self, message: impl Into<String>, hint: &str) -> DesiredError {
        DesiredError::new(message).at_host(&self.host.name).hint(hint)
    }

    /// A remark for the operator, shown with the plan.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.state.notes.push(text.into());
    }

    /// Renders a template with this host's view.
    pub(super) fn render<T: serde::Serialize>(&self, template: &str, view: &T) -> Result<String, DesiredError> {
        self.templates.render(template, &self.host.name, view)
    }

    /// Appends a resource; the returned reference is for the rarer fields.
    pub(super) fn push(&mut self, stage: Stage, id: impl Into<String>, spec: Spec) -> &mut Resource {
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
    pub(super) fn push_file(&mut self, stage: Stage, file: TextFile<'_>) -> &mut Resource {
        let TextFile {
            path,
            content,
            mode,
            validator,
            reactions,
        } = file;
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

    /// Appends a service that runs, now and after every boot.
    pub(super) fn push_running(&mut self, stage: Stage, unit: &str) -> &mut Resource {
        self.push_service(stage, unit, true)
    }

    /// Appends a service that runs neither now nor after a boot. It need not exist.
    pub(super) fn push_stopped(&mut self, stage: Stage, unit: &str) -> &mut Resource {
        self.push_service(stage, unit, false)
    }

    fn push_service(&mut self, stage: Stage, unit: &str, on: bool) -> &mut Resource {
        let spec = Spec::Service {
            unit: unit.to_owned(),
            enabled: Some(on),
            active: Some(on),
        };
        let short = unit.strip_suffix(".service").unwrap_or(unit);
        self.push(stage, format!("service {short}"), spec)
    }

    /// The interface that carries the host's network: written, else that of the best default route.
    pub(super) fn interface(&self) -> Option<String> {
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

/// Where a host's adverts of an instance come from, where IPv6's multicast does not use the link-local address.
pub(super) fn source_of(build: &Build, instance: &Instance, host: &Host) -> Result<IpAddr, DesiredError> {
    match instance.mcast_src_ip.get(&host.name) {
        Some(address) => Ok(*address),
        None => address_of(build, host, instance.family()),
    }
}

/// A host's own address: of its network, else where SSH connects, if that is an address.
pub(super) fn address_of(build: &Build, host: &Host, family: Family) -> Result<IpAddr, DesiredError> {
    let written = match (&host.network, family) {
        (Some(network), Family::V4) => Some(IpAddr::V4(network.address.addr())),
        (Some(network), Family::V6) => network.ipv6.as_ref().map(|v6| IpAddr::V6(v6.address.addr())),
        (None, _) => None,
    };
    let connected = || {
        host.address
            .as_ref()?
            .parse::<IpAddr>()
            .ok()
            .filter(|a| Family::of(*a) == family)
    };
    written.or_else(connected).ok_or_else(|| {
        let family = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        build.impossible(
            format!("no {family} address of {} is known", host.name),
            "write it under `network` of that host, or under `mcast_src_ip` of the instance",
        )
    })
}
