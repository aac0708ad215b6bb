//! Programs that the operator's machine must have.

use std::path::Path;

use super::error::{Doing, LabError};
use super::process;

/// A program that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What the lab needs it for.
    pub purpose: &'static str,
}

const NEEDED: [Requirement; 8] = [
    Requirement {
        program: "mmdebstrap",
        package: "mmdebstrap",
        purpose: "builds the image of the twin hosts",
    },
    Requirement {
        program: "apt-config",
        package: "apt",
        purpose: "tells where this machine gets packages from",
    },
    Requirement {
        program: "systemd-nspawn",
        package: "systemd-container",
        purpose: "boots the twin hosts",
    },
    Requirement {
        program: "ip",
        package: "iproute2",
        purpose: "makes the lab's network",
    },
    Requirement {
        program: "unshare",
        package: "util-linux",
        purpose: "keeps a twin's processes and mounts together",
    },
    Requirement {
        program: "nsenter",
        package: "util-linux",
        purpose: "runs commands inside a twin",
    },
    Requirement {
        program: "ssh",
        package: "openssh-client",
        purpose: "logs in to a twin",
    },
    Requirement {
        program: "ssh-keygen",
        package: "openssh-client",
        purpose: "makes the lab's keys",
    },
];

/// What is missing on this machine; empty: a lab can be built.
pub fn requirements() -> Vec<Requirement> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs: Vec<&str> = path
        .split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"])
        .collect();
    NEEDED
        .iter()
        .filter(|need| !dirs.iter().any(|dir| Path::new(dir).join(need.program).is_file()))
        .cloned()
        .collect()
}

/// Installs what is missing with apt-get; needs root. None of the packages starts a service.
///
/// `line` receives apt's output.
///
/// # Errors
/// When this is no Debian, when apt fails, or when a program is missing afterwards.
pub fn install_requirements(line: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let mut packages: Vec<&str> = requirements().iter().map(|r| r.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    // A fresh container has empty lists; a stale list names files that no longer exist, so a failure updates too.
    if !has_lists() {
        apt(&["update"], &[], line)?;
    }
    if let Err(first) = apt(&["install", "-y", "--no-install-recommends"], &packages, line) {
        apt(&["update"], &[], line).map_err(|_| first)?;
        apt(&["install", "-y", "--no-install-recommends"], &packages, line)?;
    }
    match requirements().first() {
        None => Ok(()),
        Some(missing) => Err(LabError::new(format!(
            "{} is still missing after installing {}",
            missing.program, missing.package
        ))),
    }
}

/// apt has seen at least one package list.
fn has_lists() -> bool {
    std::fs::read_dir("/var/lib/apt/lists").is_ok_and(|entries| {
        entries
            .flatten()
            .any(|e| e.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn apt(verb: &[&str], packages: &[&str], line: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let mut command = process::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args([
            "-q",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "APT::Update::Error-Mode=any",
        ])
        .args(verb)
        .args(packages);
    process::stream(&format!("apt-get {}", verb[0]), command, line)
}

/// Fails with the list of what is missing.
pub(super) fn check() -> Result<(), LabError> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Err(
            LabError::new("the lab needs root: it makes namespaces and boots systemd in them")
                .hint("run the same command with sudo"),
        );
    }
    let missing = requirements();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|r| r.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let what: Vec<String> = missing
        .iter()
        .map(|r| format!("{} ({})", r.program, r.purpose))
        .collect();
    Err(
        LabError::new(format!("this machine lacks {}", what.join(", "))).hint(format!(
            "pass --yes to install it, or run: apt-get install --no-install-recommends {}",
            packages.join(" ")
        )),
    )
}

/// Every file directly inside a directory that exists.
pub(super) fn files_in(dir: &Path) -> Result<Vec<std::path::PathBuf>, LabError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .at("read", dir)?
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    Ok(files)
}
