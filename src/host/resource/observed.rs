//! What each resource is now. Read-only; only what the diff looks at is in it, so that a VIP that moves or a pid that
//! changes does not make a plan stale.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::observe::facts::{net, system};
use crate::host::observe::tools::Tools;
use crate::host::os::root::{Database, Root};
use crate::host::resource::firewalld;
use crate::state::SelinuxMode;
use crate::state::hex::hex;
use crate::state::resource::{Content, HostState, NetworkSpec, Resource, Spec};

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
    Firewall(firewalld::Observed),
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

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// Its bytes; for the executor's copy a word that says whether it is one.
        #[serde(with = "as_text")]
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// By name, or the number where none is known.
        owner: String,
        /// By name, or the number.
        group: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// By name, or the number.
        owner: String,
        /// By name, or the number.
        group: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where to.
        target: String,
    },
    /// A socket, device or pipe, or something that cannot be read.
    Other {
        /// What it is.
        what: String,
    },
}

/// Bytes that are UTF-8 travel as a string: a list of numbers is four times as long.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        })
    }
}

impl Node {
    /// Text of a file; `None` for everything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Node::File { content, .. } => Some(String::from_utf8_lossy(content).into_owned()),
            _ => None,
        }
    }
}

/// Content of [`Node::File`] for a file that is the executor, byte for byte.
pub const IS_EXECUTOR: &[u8] = b"executor";

/// What is at `path` now.
pub fn node(root: &Root, path: &Path) -> Node {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Node::Missing,
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => return Node::Missing,
        Err(e) => return Node::Other { what: e.to_string() },
    };
    let mode = meta.permissions().mode() & 0o7777;
    let owner = root.name_of(Database::Passwd, meta.uid());
    let group = root.name_of(Database::Group, meta.gid());
    if meta.is_symlink() {
        let target = fs::read_link(path)
            .map(|t| t.to_string_lossy().into_owned())
            .unwrap_or_default();
        Node::Symlink { target }
    } else if meta.is_dir() {
        Node::Directory { mode, owner, group }
    } else if meta.is_file() {
        match fs::read(path) {
            Ok(content) => Node::File {
                content,
                mode,
                owner,
                group,
            },
            Err(e) => Node::Other { what: e.to_string() },
        }
    } else {
        Node::Other {
            what: "not a regular file".to_owned(),
        }
    }
}

/// Where an edit of `path` lands: a symbolic link is followed, as an editor would.
pub fn edit_target(root: &Root, path: &str) -> std::path::PathBuf {
    let at = root.path(path);
    fs::canonicalize(&at).unwrap_or(at)
}

/// Observes all of these; `rpm` and `systemctl` are asked at most once.
pub fn observe(root: &Root, resources: &[&Resource], tools: &mut Tools) -> Vec<Observed> {
    let mut packages = Vec::new();
    let mut units = Vec::new();
    for resource in resources {
        match &resource.spec {
            Spec::Packages { names, .. } => packages.extend(names.iter().cloned()),
            Spec::PackageGroup { mandatory, .. } => packages.extend(mandatory.iter().cloned()),
            Spec::Service { unit, .. } => units.push(unit.clone()),
            Spec::Firewall(_) => units.push("firewalld.service".to_owned()),
            _ => {}
        }
    }
    tools.ask(root, &packages, &units);
    resources.iter().map(|r| one(root, r, tools)).collect()
}

fn one(root: &Root, resource: &Resource, tools: &Tools) -> Observed {
    match &resource.spec {
        Spec::File {
            path,
            content: Content::Executor,
            ..
        } => Observed::Node(executor_copy(root, path)),
        Spec::File { path, .. } | Spec::Directory { path, .. } => Observed::Node(node(root, &root.path(path))),
        Spec::Edit { path, .. } => Observed::Node(node(root, &edit_target(root, path))),
        Spec::Network(spec) => network(root, spec),
        Spec::Selinux { .. } => selinux(root),
        Spec::SelinuxBooleans { values } => Observed::Booleans(booleans(root, values)),
        Spec::Firewall(spec) => Observed::Firewall(firewalld::observe(root, spec, &tools.unit("firewalld.service"))),
        Spec::Hostname { .. } => Observed::Hostname {
            configured: root.line("/etc/hostname"),
            running: root.line("/proc/sys/kernel/hostname"),
        },
        Spec::Packages { names, .. } => Observed::Missing(missing(names, tools)),
        Spec::PackageGroup { mandatory, .. } => Observed::Missing(missing(mandatory, tools)),
        Spec::RepositoriesSetAside { directory, keep } => Observed::Strays(
            root.names(directory)
                .into_iter()
                .filter(|n| n.ends_with(".repo") && !keep.contains(n))
                .collect(),
        ),
        Spec::MediaCopy { from, to } => {
            let info = |dir: &str| root.read(&format!("{}/.discinfo", dir.trim_end_matches('/')));
            Observed::Media {
                disc: info(from),
                copy: info(to),
            }
        }
        Spec::Service { unit, .. } => {
            let state = tools.unit(unit);
            Observed::Unit {
                exists: state.exists(),
                active: state.is_active(),
                stopped: !matches!(
                    state.active.as_str(),
                    "active" | "activating" | "reloading" | "deactivating"
                ),
                enabled: state.enabled,
            }
        }
    }
}

fn missing(names: &[String], tools: &Tools) -> Vec<String> {
    names.iter().filter(|n| tools.package(n).is_none()).cloned().collect()
}

/// The file's content is replaced by a word: comparing needs no copy of megabytes in the plan's memory.
fn executor_copy(root: &Root, path: &str) -> Node {
    let mut found = node(root, &root.path(path));
    if let Node::File { content, .. } = &mut found {
        let same = fs::metadata("/proc/self/exe").is_ok_and(|m| m.len() == content.len() as u64)
            && fs::read("/proc/self/exe").is_ok_and(|own| own == *content);
        *content = if same {
            IS_EXECUTOR.to_vec()
        } else {
            format!("other, {} bytes", content.len()).into_bytes()
        };
    }
    found
}

fn network(root: &Root, spec: &NetworkSpec) -> Observed {
    let file = node(root, &edit_target(root, &spec.path));
    if !root.is_live() {
        return Observed::Network {
            file,
            missing: Vec::new(),
            routed: true,
        };
    }
    let present = net::addresses_of(&spec.interface);
    let missing = spec
        .addresses
        .iter()
        .filter(|a| !present.iter().any(|p| same_address(p, a)))
        .cloned()
        .collect();
    let routed = spec.gateway.as_ref().is_none_or(|gateway| {
        net::default_routes(root)
            .iter()
            .any(|r| r.gateway == *gateway && r.interface == spec.interface)
    });
    Observed::Network { file, missing, routed }
}

/// The running kernel of an observation that was written down: `settled` is what is compared.
pub(crate) fn nobody_knows() -> SelinuxMode {
    SelinuxMode::Disabled
}

fn selinux(root: &Root) -> Observed {
    let path = "/etc/selinux/config";
    let file = node(root, &edit_target(root, path));
    let runtime = system::selinux_runtime(root);
    let configured = file.text().as_deref().and_then(system::parse_selinux);
    let settled = match (configured.unwrap_or(SelinuxMode::Disabled), runtime) {
        (SelinuxMode::Disabled, SelinuxMode::Permissive) => SelinuxMode::Disabled,
        (configured, SelinuxMode::Disabled) => configured,
        _ => runtime,
    };
    Observed::Selinux {
        file,
        runtime,
        settled,
        since_boot: system::written_since_boot(root, path),
    }
}

/// `fd00::0:1/64` and `fd00::1/64` are one address.
fn same_address(a: &str, b: &str) -> bool {
    let parse = |text: &str| {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse::<std::net::IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
    };
    a == b || (parse(a).is_some() && parse(a) == parse(b))
}

fn booleans(root: &Root, values: &BTreeMap<String, bool>) -> Option<BTreeMap<String, Option<bool>>> {
    if system::selinux_runtime(root) == SelinuxMode::Disabled {
        return None;
    }
    let read = |name: &String| match root.line(&format!("/sys/fs/selinux/booleans/{name}")).chars().next() {
        Some('1') => Some(true),
        Some('0') => Some(false),
        _ => None,
    };
    Some(values.keys().map(|name| (name.clone(), read(name))).collect())
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
