//! Every step of a bootstrap, one after the other.

use super::build::Build;
use super::error::DesiredError;
use super::secrets::Secrets;
use super::templates::Templates;
use super::{firewall, hostname, needs, network, nginx, packages, repositories, selinux, vrrp};
use crate::inventory::Inventory;
use crate::state::{Facts, HostState};

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
        let known: Vec<&str> = inventory.hosts.iter().map(|h| h.name.as_str()).collect();
        return Err(DesiredError::new(format!("no host '{host}' in the inventory"))
            .hint(format!("the inventory has {}", known.join(" and "))));
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
    selinux::add(&mut build);
    firewall::add(&mut build)?;
    hostname::add(&mut build)?;
    repositories::add(&mut build)?;
    packages::add(&mut build);
    nginx::add(&mut build)?;
    vrrp::add(&mut build)?;
    needs::add(&mut build);
    // A firewall that had to wait for its package is put behind it; the sort is stable.
    build.state.resources.sort_by_key(|r| r.stage);
    build.state.secrets = secrets.all();
    Ok(build.state)
}
