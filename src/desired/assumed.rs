//! What a host would say of itself, for showing a desired state without one.

use crate::inventory::{Firewalld, Inventory};
use crate::state::facts::DefaultRoute;
use crate::state::{Facts, Interface, NetworkManagerKind, Release, SelinuxMode};

/// Facts of a freshly installed CentOS of this release.
///
/// The inventory's `release` of the host counts more than `release`, which is the one asked for on the command line or
/// a default.
pub fn assumed_facts(inventory: &Inventory, host: &str, release: u8) -> Facts {
    let this = inventory.host(host);
    let major = this.and_then(|h| h.release).unwrap_or(release);
    let mut facts = Facts {
        hostname: "localhost.localdomain".to_owned(),
        release: Release {
            id: "centos".to_owned(),
            major,
            pretty: if major == 7 {
                "CentOS Linux 7 (Core)".to_owned()
            } else {
                format!("CentOS Stream {major}")
            },
        },
        architecture: "x86_64".to_owned(),
        selinux_config: Some(SelinuxMode::Enforcing),
        selinux_runtime: Some(SelinuxMode::Enforcing),
        repository_files: repository_files(major).iter().map(|f| (*f).to_owned()).collect(),
        ..Facts::default()
    };
    if let Some(network) = this.and_then(|h| h.network.as_ref()) {
        let manager = if major == 7 {
            NetworkManagerKind::NetworkService
        } else {
            NetworkManagerKind::NetworkManager
        };
        facts.interfaces = vec![Interface {
            name: network.interface.clone(),
            manager,
            ..Interface::default()
        }];
        facts.default_routes.extend(network.gateway.map(|gateway| DefaultRoute {
            gateway: gateway.to_string(),
            interface: network.interface.clone(),
            metric: 0,
        }));
    }
    if inventory.system.firewalld == Some(Firewalld::Managed) {
        facts.packages.insert("firewalld".to_owned(), "0:0-0".to_owned());
    }
    facts
}

/// As the release package ships them.
fn repository_files(major: u8) -> &'static [&'static str] {
    match major {
        7 => &[
            "CentOS-Base.repo",
            "CentOS-CR.repo",
            "CentOS-Debuginfo.repo",
            "CentOS-Media.repo",
            "CentOS-Sources.repo",
            "CentOS-Vault.repo",
            "CentOS-fasttrack.repo",
        ],
        8 => &[
            "CentOS-Stream-AppStream.repo",
            "CentOS-Stream-BaseOS.repo",
            "CentOS-Stream-Extras.repo",
        ],
        _ => &["centos-addons.repo", "centos.repo"],
    }
}
