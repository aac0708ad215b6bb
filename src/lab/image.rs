//! The image that both twins boot from: built once, kept in the cache, shared by all labs.
//!
//! Two trees, each named after the hash of what it is made of: the *base*, plain Debian packages by mmdebstrap, and the
//! *layer* over it, everything that makes it look like CentOS 7, with the mirror's repositories beside it. A change of
//! a file under `files/` rebuilds the layer only (seconds), not the base (a minute).

mod apt;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::state::hex::hex;

use self::apt::SUITE;
use super::error::{Doing, LabError};
use super::paths::{self, CACHE, DirLock};
use super::{process, requirements};

/// What the base consists of. nginx, keepalived and dnsmasq are taken out again by `build.sh`; their libraries stay.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "openssh-client",
    "sudo",
    "firewalld",
    "netbase",
    "network-manager",
    "iproute2",
    "iputils-ping",
    "iputils-arping",
    "iptables",
    "nftables",
    "procps",
    "psmisc",
    "rpm",
    "dnf",
    "createrepo-c",
    "gnupg",
    "openssl",
    "ca-certificates",
    "curl",
    "wget",
    "less",
    "selinux-utils",
    "policycoreutils",
    "tcpdump",
    "ethtool",
    "kmod",
    "hostname",
    "file",
    "nginx",
    "keepalived",
    "dnsmasq-base",
];

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("files/", $name)))
    };
}

/// Files that the build script works with.
const CARRIED: &[(&str, &str)] = &[
    file!("build.sh"),
    file!("base.spec"),
    file!("devtools.spec"),
    file!("keepalived.spec"),
    file!("keepalived.conf"),
    file!("keepalived.service"),
    file!("keepalived.sysconfig"),
    file!("nginx.spec"),
    file!("nginx.conf"),
    file!("nginx-default.conf"),
    file!("nginx-index.html"),
    file!("nginx.service"),
    file!("unsigned.spec"),
    file!("comps.xml"),
    file!("Centos-7.repo"),
    file!("mirror-names"),
    file!("profile.sh"),
];

/// Files that land in the image as they are: path, mode, content.
const TREE: &[(&str, u32, &str)] = &[
    ("etc/rc.d/init.d/network", 0o755, include_str!("files/network")),
    (
        "usr/lib/systemd/system/network.service",
        0o644,
        include_str!("files/network.service"),
    ),
    (
        "usr/lib/systemd/system/sshd.service",
        0o644,
        include_str!("files/sshd.service"),
    ),
    ("etc/ssh/sshd_config", 0o600, include_str!("files/sshd_config")),
    ("etc/sudoers", 0o440, include_str!("files/sudoers")),
    ("usr/lib/os-release", 0o644, include_str!("files/os-release")),
    ("etc/centos-release", 0o644, "CentOS Linux release 7.9.2009 (Core)\n"),
    ("etc/selinux/config", 0o644, include_str!("files/selinux-config")),
    (
        "etc/yum.repos.d/CentOS-Base.repo",
        0o644,
        include_str!("files/CentOS-Base.repo"),
    ),
    (
        "etc/yum.repos.d/CentOS-Media.repo",
        0o644,
        include_str!("files/CentOS-Media.repo"),
    ),
    ("etc/dnf/dnf.conf", 0o644, include_str!("files/dnf.conf")),
    ("etc/rpm/macros", 0o644, include_str!("files/macros")),
];

/// A finished image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Image {
    base: PathBuf,
    layer: PathBuf,
}

impl Image {
    /// overlayfs's `lowerdir`.
    pub(super) fn lower(&self) -> String {
        format!(
            "{}:{}",
            self.layer.join("layer").display(),
            self.base.join("root").display()
        )
    }

    /// Where `mirror/`, `tools/` and `disc/` are.
    pub(super) fn extras(&self) -> &Path {
        &self.layer
    }

    /// A file as a twin sees it at its first boot.
    pub(super) fn read(&self, path: &str) -> Result<String, LabError> {
        let over = self.layer.join("layer").join(path);
        let file = if over.symlink_metadata().is_ok() {
            over
        } else {
            self.base.join("root").join(path)
        };
        fs::read_to_string(&file).at("read", &file)
    }

    /// The base tree, for running one of its programs.
    pub(super) fn base_root(&self) -> PathBuf {
        self.base.join("root")
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize()[..6])
}

fn base_name() -> String {
    let mut parts: Vec<&[u8]> = vec![b"1", SUITE.as_bytes()];
    parts.extend(PACKAGES.iter().map(|p| p.as_bytes()));
    format!("base-{}", hash(&parts))
}

fn layer_name() -> String {
    let base = base_name();
    let mut parts: Vec<&[u8]> = vec![base.as_bytes()];
    parts.extend(
        CARRIED
            .iter()
            .flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()]),
    );
    parts.extend(
        TREE.iter()
            .flat_map(|(name, _, content)| [name.as_bytes(), content.as_bytes()]),
    );
    format!("el7-{}", hash(&parts))
}

/// The image, if it was built before.
fn cached() -> Option<Image> {
    let cache = Path::new(CACHE);
    let image = Image {
        base: cache.join(base_name()),
        layer: cache.join(layer_name()),
    };
    (image.base.is_dir() && image.layer.is_dir()).then_some(image)
}

/// Builds what is missing. One build at a time; a killed one is started anew.
pub(super) fn ensure(say: &mut dyn FnMut(String)) -> Result<Image, LabError> {
    if let Some(image) = cached() {
        return Ok(image);
    }
    let cache = Path::new(CACHE);
    let _lock = DirLock::take(cache, Duration::from_secs(1800), &mut || {
        say("waiting for another hapair that builds the image".into());
    })?;
    sweep()?;
    let base = cache.join(base_name());
    if !base.is_dir() {
        say("building the image (once, about a minute)".into());
        build_base(&base, say)?;
    }
    let layer = cache.join(layer_name());
    if !layer.is_dir() {
        say("making the image look like CentOS 7".into());
        build_layer(&base, &layer, say)?;
    }
    Ok(Image { base, layer })
}

/// Removes what killed builds left; the caller holds the lock.
fn sweep() -> Result<(), LabError> {
    for path in requirements::files_in(Path::new(CACHE))? {
        if path.extension().is_some_and(|e| e == "building") {
            paths::remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Removes what killed builds left, unless a build is running.
pub(super) fn sweep_if_idle() -> Result<(), LabError> {
    if !Path::new(CACHE).is_dir() {
        return Ok(());
    }
    match DirLock::take(Path::new(CACHE), Duration::ZERO, &mut || {}) {
        Ok(_lock) => sweep(),
        Err(_) => Ok(()),
    }
}

/// Removes every image.
pub(super) fn purge() -> Result<(), LabError> {
    let cache = Path::new(CACHE);
    if !cache.is_dir() {
        return Ok(());
    }
    let _lock = DirLock::take(cache, Duration::ZERO, &mut || {})?;
    paths::remove_tree(cache)?;
    if let Some(parent) = cache.parent() {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

/// A script in namespaces of its own: whatever kills hapair kills it, and takes its mounts along.
fn contained(script: &str) -> Command {
    let mut command = process::command("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "/bin/sh",
        "-euc",
        script,
    ]);
    process::Place::new().dies_with_us().apply(&mut command);
    command
}

fn build_base(target: &Path, say: &mut dyn FnMut(String)) -> Result<(), LabError> {
    let work = target.with_extension("building");
    paths::remove_tree(&work)?;
    fs::create_dir_all(&work).at("create", &work)?;
    let sources = apt::apt_sources()?;
    let mut mirrors = Vec::new();
    for (index, (extension, text)) in sources.iter().enumerate() {
        let path = work.join(format!("{index}.{extension}"));
        paths::write(&path, 0o644, text)?;
        mirrors.push(path);
    }
    let options = work.join("apt.conf");
    paths::write(&options, 0o600, apt::apt_options()?)?;

    // Its temporary files must not outlive a kill either.
    let temporary = work.join("tmp");
    fs::create_dir_all(&temporary).at("create", &temporary)?;
    let mut command = contained("exec mmdebstrap \"$@\"");
    command.env("TMPDIR", &temporary);
    command.args(["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--aptopt={}", options.display()));
    for kept_out in [
        "/usr/share/man/*",
        "/usr/share/doc/*",
        "/usr/share/locale/*",
        "/usr/share/info/*",
    ] {
        command.arg(format!("--dpkgopt=path-exclude={kept_out}"));
    }
    command
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(SUITE)
        .arg(work.join("root"))
        .args(&mirrors);
    process::stream("mmdebstrap", command, &mut |line| {
        if let Some(text) = line.strip_prefix("I: ") {
            say(format!("image: {text}"));
        }
    })
    .map_err(|e| e.hint("the image is made of Debian packages: check that `apt-get update` works on this machine"))?;
    paths::remove_tree(&temporary)?;
    // The proxy's password may be in there.
    paths::remove_tree(&work.join("root/etc/apt/apt.conf.d"))?;
    fs::rename(&work, target).at("finish", target)
}

fn build_layer(base: &Path, target: &Path, say: &mut dyn FnMut(String)) -> Result<(), LabError> {
    let work = target.with_extension("building");
    paths::remove_tree(&work)?;
    for dir in ["layer", "work", "mount", "build/out"] {
        let dir = work.join(dir);
        fs::create_dir_all(&dir).at("create", &dir)?;
    }
    for (name, content) in CARRIED {
        paths::write(&work.join("build/files").join(name), 0o644, content)?;
    }
    for (path, mode, content) in TREE {
        paths::write(&work.join("build/tree").join(path), *mode, content)?;
    }
    let mut command = contained(
        "mount -t overlay -o \"lowerdir=$BASE,upperdir=layer,workdir=work\" overlay mount\n\
         mkdir -p mount/hapair-build\n\
         mount --bind build mount/hapair-build\n\
         mount -t proc proc mount/proc\n\
         mount --rbind /dev mount/dev\n\
         mount -t tmpfs tmpfs mount/run\n\
         mount -t tmpfs tmpfs mount/tmp\n\
         chroot mount /bin/bash /hapair-build/files/build.sh",
    );
    command.current_dir(&work).env("BASE", base.join("root"));
    process::stream("building the twin's layer", command, &mut |line| {
        if let Some(step) = line.strip_prefix("step: ") {
            say(format!("image: {step}"));
        }
    })?;
    let _ = fs::remove_dir(work.join("layer/hapair-build"));
    for part in ["mirror", "tools", "disc"] {
        let from = work.join("build/out").join(part);
        fs::rename(&from, work.join(part)).at("keep", &from)?;
    }
    for rest in ["build", "work", "mount"] {
        paths::remove_tree(&work.join(rest))?;
    }
    fs::rename(&work, target).at("finish", target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_recipe_changes_the_images_name() {
        assert_ne!(hash(&[b"a", b"bc"]), hash(&[b"ab", b"c"]));
        assert!(layer_name().starts_with("el7-"));
    }
}
