//! What each resource is now. Read-only; only what the diff looks at is in it, so that a VIP that moves or a pid that
//! changes does not make a plan stale.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::resource::firewall_zone;
use crate::host::resource::node::Node;
use crate::state::SelinuxMode;
use crate::state::hex::hex;
use crate::state::resource::HostState;

/// What one resource is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Observed {
    /// Of a file, an edited file, a directory.
    Node(Node),
    /// Of a network profile.
    Network {
        /// The profile file.
        file: Node,
        /// Wanted addresses that are not on the interface.
        missing: Vec<String>,
        /// The wanted default route is in the main table (or none is wanted).
        routed: bool,
    },
    /// Of SELinux.
    Selinux {
        /// `/etc/selinux/config`.
        file: Node,
        /// The running kernel.
        #[serde(skip, default = "nobody_knows")]
        runtime: SelinuxMode,
        /// The running kernel, or what it comes to by a boot: a reboot that takes the configuration up is no change of
        /// the host.
        settled: SelinuxMode,
        /// The configuration was written since this boot, so the running kernel knows nothing of it.
        #[serde(skip)]
        since_boot: bool,
    },
    /// Of SELinux booleans; `None` where SELinux is disabled. A boolean that the policy lacks is `None`.
    Booleans(Option<BTreeMap<String, Option<bool>>>),
    /// Of firewalld.
    Firewall(firewall_zone::Observed),
    /// Of the host name.
    Hostname {
        /// `/etc/hostname`.
        configured: String,
        /// The kernel's.
        running: String,
    },
    /// Of packages: those that are not installed.
    Missing(Vec<String>),
    /// Of `.repo` files: those to set aside.
    Strays(Vec<String>),
    /// Of a media copy: the disc's and the copy's `.discinfo`.
    Media {
        /// `None`: no disc is mounted there.
        disc: Option<String>,
        /// `None`: not copied, or not to the end.
        copy: Option<String>,
    },
    /// Of a unit.
    Unit {
        /// systemd knows it.
        exists: bool,
        /// Runs, or is about to.
        active: bool,
        /// Stopped for good: neither running nor on its way up or down.
        stopped: bool,
        /// `UnitFileState`.
        enabled: String,
    },
}

impl Observed {
    /// What is at the path that it is about, if it is about one.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Observed::Node(node) => Some(node),
            Observed::Network { file, .. } | Observed::Selinux { file, .. } => Some(file),
            Observed::Booleans(_)
            | Observed::Firewall(_)
            | Observed::Hostname { .. }
            | Observed::Missing(_)
            | Observed::Strays(_)
            | Observed::Media { .. }
            | Observed::Unit { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn node_mut(&mut self) -> Option<&mut Node> {
        match self {
            Observed::Node(node) => Some(node),
            Observed::Network { file, .. } | Observed::Selinux { file, .. } => Some(file),
            Observed::Booleans(_)
            | Observed::Firewall(_)
            | Observed::Hostname { .. }
            | Observed::Missing(_)
            | Observed::Strays(_)
            | Observed::Media { .. }
            | Observed::Unit { .. } => None,
        }
    }

    /// The unit that it is about runs; `None`: it is about none.
    pub(crate) fn runs(&self) -> Option<bool> {
        match self {
            Observed::Unit { active, .. } => Some(*active),
            Observed::Firewall(firewall) => Some(firewall.running),
            Observed::Node(_)
            | Observed::Network { .. }
            | Observed::Selinux { .. }
            | Observed::Booleans(_)
            | Observed::Hostname { .. }
            | Observed::Missing(_)
            | Observed::Strays(_)
            | Observed::Media { .. } => None,
        }
    }
}

/// The running kernel of an observation that was written down: `settled` is what is compared.
pub(crate) fn nobody_knows() -> SelinuxMode {
    SelinuxMode::Disabled
}

/// Hash over everything observed for a desired state: it moves when the host or the desired state does.
pub fn fingerprint(state: &HostState, observed: &[Observed]) -> String {
    let mut hash = Sha256::new();
    for (resource, observed) in state.resources.iter().zip(observed) {
        hash.update(resource.id.as_bytes());
        hash.update([0]);
        hash.update(digest(observed));
    }
    hex(&hash.finalize())
}

/// Hash of one observation.
pub fn digest(observed: &Observed) -> String {
    hex(&Sha256::digest(serde_json::to_vec(observed).unwrap_or_default()))
}
