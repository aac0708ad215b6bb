//! Keys of one lab: made when it comes up, gone when it goes down.

use std::path::Path;

use super::error::{Doing, LabError};
use super::paths::{self, Paths};
use super::process;
use super::spec::LabSpec;

/// Kinds of host keys; RSA last, it takes longest.
const KINDS: [(&str, &[&str]); 3] = [("ed25519", &[]), ("ecdsa", &["-b", "256"]), ("rsa", &["-b", "2048"])];

/// Makes a key pair without passphrase.
fn make(path: &Path, kind: &str, options: &[&str], comment: &str) -> Result<(), LabError> {
    let mut command = process::command("ssh-keygen");
    command
        .args(["-q", "-t", kind])
        .args(options)
        .args(["-N", "", "-C", comment, "-f"])
        .arg(path);
    command.stdin(std::process::Stdio::null());
    process::finish("ssh-keygen", command).map(drop)
}

/// The key that logs in to every twin of the lab. Returns its public half.
pub(super) fn client(paths: &Paths) -> Result<String, LabError> {
    let key = paths.key();
    make(&key, "ed25519", &[], &format!("hapair lab {}", paths.name))?;
    let public = key.with_extension("pub");
    std::fs::read_to_string(&public).at("read", &public)
}

/// A host's own keys, in `dir`. Returns its lines for known_hosts, without the names.
pub(super) fn host(dir: &Path) -> Result<Vec<String>, LabError> {
    let results: Vec<Result<String, LabError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = KINDS
            .iter()
            .map(|(kind, options)| {
                scope.spawn(move || {
                    let path = dir.join(format!("ssh_host_{kind}_key"));
                    make(&path, kind, options, "localhost.localdomain")?;
                    let public = path.with_extension("pub");
                    let line = std::fs::read_to_string(&public).at("read", &public)?;
                    // Type and key, without the comment.
                    Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.into_iter().collect()
}

/// known_hosts for the whole lab: each twin under every name that leads to it.
pub(super) fn known_hosts(spec: &LabSpec, keys: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (twin, keys) in spec.hosts.iter().zip(keys) {
        let mut names = vec![twin.name.clone(), twin.address.to_string()];
        names.extend(twin.target.map(|a| a.to_string()));
        names.extend(twin.management.map(|(a, _)| a.to_string()));
        if spec.ssh_port != 22 {
            names = names.iter().map(|name| format!("[{name}]:{}", spec.ssh_port)).collect();
        }
        for key in keys {
            text.push_str(&format!("{} {key}\n", names.join(",")));
        }
    }
    text
}

/// Writes known_hosts.
pub(super) fn write_known_hosts(paths: &Paths, spec: &LabSpec, keys: &[Vec<String>]) -> Result<(), LabError> {
    paths::write(&paths.known_hosts(), 0o644, known_hosts(spec, keys))
}
