//! keepalived.conf from the file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::keepalived::{self, Config, Diagnostic, Include, Options, Resolver};

/// A configuration file with its includes, parsed and checked.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Everything found, in order of place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Nothing keeps it from being run.
    pub fn is_runnable(&self) -> bool {
        self.diagnostics
            .iter()
            .all(|d| d.severity != keepalived::Severity::Error)
    }
}

/// Reads, parses and checks a file; errors only if the file itself cannot be read.
///
/// `config_id` is keepalived's `-i`; `None`: the host name up to its first dot. Text that is not UTF-8 is read with
/// replacement characters: keepalived does not care either.
pub fn load(path: &Path, config_id: Option<&str>) -> io::Result<Loaded> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let id = config_id.unwrap_or_else(|| host.split('.').next().unwrap_or_default());
    let name = path.to_string_lossy();
    let options = Options {
        path: &name,
        config_id: id,
        instance: config_id.unwrap_or(host),
        resolver: &Files,
    };
    let (config, diagnostics) = keepalived::lint(&text, &options);
    Ok(Loaded { config, diagnostics })
}

/// Included files, environment and random numbers of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Resolver for Files {
    fn include(&self, pattern: &str, from: &Path) -> Vec<Include> {
        let base = from.parent().unwrap_or(Path::new(""));
        let mut found = vec![if pattern.starts_with('/') {
            PathBuf::from("/")
        } else {
            base.to_path_buf()
        }];
        for part in pattern.split('/').filter(|p| !p.is_empty()) {
            found = found.iter().flat_map(|dir| matching(dir, part)).collect();
        }
        found
            .into_iter()
            .filter(|path| !path.is_dir())
            .map(|path| {
                let content = fs::read(&path).map(|b| String::from_utf8_lossy(&b).into_owned());
                Include {
                    path: path.to_string_lossy().into_owned(),
                    content: content.map_err(|e| e.to_string()),
                }
            })
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn random(&self, min: u32, max: u32) -> u32 {
        let mut bytes = [0; 4];
        let read = fs::File::open("/dev/urandom").and_then(|mut f| io::Read::read_exact(&mut f, &mut bytes));
        if read.is_err() {
            return min;
        }
        let span = u64::from(max - min) + 1;
        min + (u64::from(u32::from_ne_bytes(bytes)) % span) as u32
    }
}

/// Entries of a directory that match one component of a pattern, sorted; a component without magic need not be listed.
fn matching(dir: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?', '[', '\\']) {
        let path = dir.join(part);
        return if path.symlink_metadata().is_ok() {
            vec![path]
        } else {
            Vec::new()
        };
    }
    let listed = if dir.as_os_str().is_empty() {
        fs::read_dir(".")
    } else {
        fs::read_dir(dir)
    };
    let mut names: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| keepalived::glob_match(part, name))
        .collect();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_by_pattern_and_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("conf.d");
        fs::create_dir(&sub).unwrap();
        fs::write(
            dir.path().join("main.conf"),
            "include conf.d/*.conf\nincluder missing.conf\n",
        )
        .unwrap();
        for (name, vrid) in [("b.conf", 2), ("a.conf", 1), (".hidden.conf", 3)] {
            let text = format!(
                "vrrp_instance V{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n virtual_ipaddress {{ 10.0.0.{vrid} }}\n}}\n"
            );
            fs::write(sub.join(name), text).unwrap();
        }
        let loaded = load(&dir.path().join("main.conf"), None).unwrap();
        let names: Vec<&str> = loaded.config.instances.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["V1", "V2"]);
        assert!(!loaded.is_runnable());
        assert!(
            loaded.diagnostics[0]
                .to_string()
                .contains("main.conf:2:1: error: no file matches `missing.conf`")
        );
        assert!(load(&dir.path().join("none"), None).is_err());
    }
}
