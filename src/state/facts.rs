//! What the executor observes about a host before any plan is made.
//!
//! Facts are read from files, /proc, `rpm -q` and one `systemctl show`, never from tools that cost more than the
//! connection (`yum`, `firewall-cmd`, `hostnamectl`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::system::{NetworkManagerKind, SelinuxMode};

/// Everything known about a host when the connection opens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The kernel's node name now.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// From `/etc/os-release`.
    pub release: Release,
    /// `x86_64`, `aarch64`, as `uname -m` says.
    pub architecture: String,
    /// Every interface but `lo`.
    pub interfaces: Vec<Interface>,
    /// IPv4 default routes of the main table.
    pub default_routes: Vec<DefaultRoute>,
    /// SELinux in `/etc/selinux/config`; `None` when there is no such file.
    pub selinux_config: Option<SelinuxMode>,
    /// SELinux in the running kernel.
    pub selinux_runtime: Option<SelinuxMode>,
    /// Installed packages among those hapair cares about: name to `epoch:version-release` (epoch 0 is written).
    pub packages: BTreeMap<String, String>,
    /// Units hapair cares about, by name with suffix.
    pub units: BTreeMap<String, UnitState>,
    /// How nginx's files are laid out, when it is installed.
    pub nginx_layout: Option<NginxLayout>,
    /// Passwords of the VRRP instances that `/etc/keepalived/keepalived.conf` has now, by instance: a password that the
    /// inventory leaves out is generated once and then read back from here.
    #[serde(default)]
    pub auth_pass: BTreeMap<String, Secret>,
    /// `auth_hmac` of the same file, by instance: generated keys are kept there too.
    #[serde(default)]
    pub auth_hmac: BTreeMap<String, HmacInPlace>,
    /// What `keepalived -v` calls itself, when it is installed: `1.3.5`.
    pub keepalived_version: Option<String>,
    /// `/etc/cloud` exists and cloud-init is not disabled.
    pub cloud_init: bool,
    /// Files in `/etc/yum.repos.d` ending in `.repo`.
    pub repository_files: Vec<String>,
    /// A revert timer that waits for a confirm, left by an interrupted run: its transaction.
    pub armed_transaction: Option<String>,
}

/// `auth_hmac` of an instance as it is on a host now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacInPlace {
    /// Ids and keys as they are written; not those in files of their own. A list: numbers cannot be keys inside of a reply.
    pub keys: Vec<(u8, Secret)>,
    /// Who must sign.
    pub mode: HmacDemand,
    /// Seconds; `None`: adverts are not judged by the clock.
    pub window: Option<u16>,
}

impl HmacInPlace {
    /// The key with this id.
    pub fn key(&self, id: u8) -> Option<&Secret> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }
}

/// keepalived's `mode` of `auth_hmac`; each asks for more than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacDemand {
    /// Signs nothing; what is not signed counts too.
    ReceiveOnly,
    /// Signs; what is not signed counts too.
    Permissive,
    /// Nothing counts that is not signed.
    Enforce,
}

/// The operating system release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `ID` of os-release: `centos`, `rocky`, `almalinux`, `rhel`.
    pub id: String,
    /// First number of `VERSION_ID`: 7 to 10.
    pub major: u8,
    /// `PRETTY_NAME`.
    pub pretty: String,
}

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `enp0s3`.
    pub name: String,
    /// Lower case with colons.
    pub mac: String,
    /// Addresses with prefix, IPv4 first: `192.168.0.201/24`. Secondary addresses and VIPs are included.
    pub addresses: Vec<String>,
    /// Who configures this interface.
    pub manager: NetworkManagerKind,
    /// The profile file that configures it, if there is one.
    pub profile: Option<Profile>,
}

/// A network profile on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Absolute path.
    pub path: String,
    /// `ifcfg` shell variables or NetworkManager keyfile.
    pub format: ProfileFormat,
    /// Its content.
    pub content: String,
}

/// Format of a network profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileFormat {
    /// `/etc/sysconfig/network-scripts/ifcfg-*`.
    Ifcfg,
    /// `/etc/NetworkManager/system-connections/*.nmconnection`.
    Keyfile,
}

/// An IPv4 default route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// Next hop.
    pub gateway: String,
    /// Outgoing interface.
    pub interface: String,
    /// Lower wins.
    pub metric: u32,
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// `enabled`, `disabled`, `static`, `masked`, or empty.
    pub enabled: String,
    /// Main process id, 0 when there is none.
    pub main_pid: u32,
}

impl UnitState {
    /// The unit exists.
    pub fn exists(&self) -> bool {
        self.load != "not-found" && !self.load.is_empty()
    }

    /// `active` or on its way there.
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading")
    }

    /// Starts at boot.
    pub fn is_enabled(&self) -> bool {
        matches!(self.enabled.as_str(), "enabled" | "enabled-runtime")
    }
}

/// How nginx's configuration is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NginxLayout {
    /// nginx.org's packages: no server in `nginx.conf`, a default server in `conf.d/default.conf`.
    NginxOrg,
    /// The distribution's (EPEL's): a `default_server` inside `nginx.conf`, snippets in `default.d`.
    Distribution,
}
