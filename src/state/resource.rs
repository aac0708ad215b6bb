//! Desired state: what one host should be, as a list of resources.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::edit::Edit;
use super::preflight::Needs;
use super::secret::Secret;
use super::system::{Engine, NetworkManagerKind, SelinuxMode};

/// Everything one host should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    /// The host's name in the inventory.
    pub host: String,
    /// Name of the pair.
    pub pair: String,
    /// In order of application; stages never go backwards.
    pub resources: Vec<Resource>,
    /// What must never be shown in a diff, an event or a log.
    pub secrets: Vec<Secret>,
    /// Engine that speaks VRRP on this host.
    pub engine: Option<Engine>,
    /// Instances that this host is configured for; for status and drill.
    pub instances: Vec<InstanceRef>,
    /// What the operator should know though nothing of it is a change: shown with the plan.
    pub notes: Vec<String>,
    /// What preflight looks for on this host.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
}

/// What the host needs to know of an instance to report on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRef {
    /// `VI_1`.
    pub name: String,
    /// Interface that carries the VIPs.
    pub interface: String,
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// This host's configured priority, 1 to 254.
    pub priority: u8,
    /// Addresses without prefix.
    pub vips: Vec<String>,
}

/// The seed's order of work on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Static address, routes, name servers.
    Network,
    /// SELinux mode and booleans.
    Selinux,
    /// firewalld, stopped or managed.
    Firewall,
    /// Host name and hosts file.
    Hostname,
    /// Package repositories.
    Repositories,
    /// Packages and package groups.
    Packages,
    /// nginx's configuration and service.
    Nginx,
    /// Check scripts, keepalived.conf, the engine.
    Vrrp,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 8] = [
        Stage::Network,
        Stage::Selinux,
        Stage::Firewall,
        Stage::Hostname,
        Stage::Repositories,
        Stage::Packages,
        Stage::Nginx,
        Stage::Vrrp,
    ];

    /// Lower-case name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Network => "network",
            Stage::Selinux => "selinux",
            Stage::Firewall => "firewall",
            Stage::Hostname => "hostname",
            Stage::Repositories => "repositories",
            Stage::Packages => "packages",
            Stage::Nginx => "nginx",
            Stage::Vrrp => "vrrp",
        }
    }
}

/// One thing to converge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Unique on the host, shown to the operator: `file /etc/hosts`, `package nginx`, `service nginx`.
    pub id: String,
    /// When it is applied.
    pub stage: Stage,
    /// What it should be.
    pub spec: Spec,
    /// What must happen at the end of the stage if this resource changed; duplicates run once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// Applying this can cut the SSH connection: a revert timer is armed first.
    #[serde(default)]
    pub cuts_ssh: bool,
    /// With one host changed and the other not, both would own the VIP (`auth_pass`, `advert_int`, the VIP list …):
    /// text that differs between old and new file in one of these keys makes the change election-critical.
    #[serde(default)]
    pub election_critical: bool,
}

/// What a resource should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spec {
    /// A regular file with exactly this content.
    File {
        /// Absolute.
        path: String,
        /// The whole content.
        content: Content,
        /// Permission bits, e.g. 0o644.
        mode: u32,
        /// Owner by name; group likewise. `root` unless a package's own user must read it.
        owner: String,
        /// Group by name.
        group: String,
        /// Run on the staged file set before it is put in place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validator: Option<Validator>,
    },
    /// A file that others write too: only the given edits are ours.
    Edit {
        /// Absolute.
        path: String,
        /// Applied in order to the present content.
        edits: Vec<Edit>,
        /// Content to start from when there is no such file; `None`: then the resource does not apply.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        create: Option<String>,
        /// Permission bits for a file that is created; an existing file keeps its own.
        mode: u32,
        /// Run on the staged file set before it is put in place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validator: Option<Validator>,
    },
    /// A directory, root:root.
    Directory {
        /// Absolute.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A static network profile, in its file and at run time.
    Network(NetworkSpec),
    /// SELinux mode in `/etc/selinux/config` and, as far as a running kernel allows, now.
    Selinux {
        /// Wanted mode.
        mode: SelinuxMode,
    },
    /// SELinux booleans, persistently; does not apply where SELinux is disabled.
    SelinuxBooleans {
        /// Name to wanted value.
        values: BTreeMap<String, bool>,
    },
    /// firewalld running and letting these through, permanently and now, without a reload.
    Firewall(FirewallSpec),
    /// The static and the running host name.
    Hostname {
        /// RFC 1123 name.
        name: String,
    },
    /// Packages, installed in one transaction of the package manager.
    Packages {
        /// Names without version.
        names: Vec<String>,
        /// Only these repositories are asked; empty: all enabled ones.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        repositories: Vec<String>,
    },
    /// A package group. Observed through its mandatory packages, because asking the package manager is too dear.
    PackageGroup {
        /// As `yum groupinstall` takes it: `Development Tools`.
        name: String,
        /// All of these installed means the group is there.
        mandatory: Vec<String>,
    },
    /// Other `.repo` files in a directory set aside as `.repo.bak`.
    RepositoriesSetAside {
        /// `/etc/yum.repos.d`.
        directory: String,
        /// File names that stay.
        keep: Vec<String>,
    },
    /// The content of an installation disc copied to a directory, until the copy holds the disc's `.discinfo`.
    MediaCopy {
        /// Where the disc is mounted.
        from: String,
        /// Where the repository file points.
        to: String,
    },
    /// A systemd unit. One that does not exist counts as stopped and disabled; wanted running, it is an error.
    Service {
        /// With suffix.
        unit: String,
        /// Starts at boot; `None`: not our business.
        enabled: Option<bool>,
        /// Runs now; `None`: not our business.
        active: Option<bool>,
    },
}

/// Text of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// UTF-8 text, shown in diffs (secrets masked).
    Text(String),
    /// A copy of the executor's own binary: how the daemon gets installed without a second upload.
    Executor,
}

/// A check of staged files before they take effect. It sees them in place, in a private mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// `nginx -t`.
    Nginx,
    /// hapair's own reading of keepalived.conf, and `keepalived -t` where the installed version has it (2.0.4).
    Keepalived,
    /// hapair's own reading of keepalived.conf, for its agent: no keepalived need be installed, and one that is may
    /// know fewer words.
    Agent,
    /// At least one section header, and every line a comment, a header or an assignment.
    Repository,
    /// `systemd-analyze verify` where present.
    Unit,
}

/// What a changed resource sets off at the end of its stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Reaction {
    /// Reload the unit if it runs.
    Reload {
        /// With suffix.
        unit: String,
    },
    /// Restart the unit if it runs.
    Restart {
        /// With suffix.
        unit: String,
    },
    /// `systemctl daemon-reload`.
    DaemonReload,
    /// Throw away and rebuild the package manager's metadata.
    MakeCache,
}

/// A static network profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// `enp0s3`.
    pub interface: String,
    /// The profile file.
    pub path: String,
    /// Edits of the profile; what they do not name stays.
    pub edits: Vec<Edit>,
    /// Content to start from when there is no such file.
    pub create: String,
    /// Mode for a file that is created: 0o644 for ifcfg, 0o600 for keyfiles.
    pub mode: u32,
    /// Who activates it.
    pub manager: NetworkManagerKind,
    /// Addresses with prefix that must be on the interface.
    pub addresses: Vec<String>,
    /// The IPv4 default gateway that must be in the main table, if one is wanted.
    pub gateway: Option<String>,
}

/// What firewalld must let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallSpec {
    /// The interface whose zone is edited.
    pub interface: String,
    /// firewalld service names: `http`.
    pub services: Vec<String>,
    /// `8080/tcp`.
    pub ports: Vec<String>,
    /// VRRP (protocol 112) is let in from these addresses only.
    pub vrrp_peers: Vec<String>,
}
