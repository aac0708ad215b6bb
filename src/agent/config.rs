//! keepalived.conf from the file system.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::keepalived::{self, Config, Diagnostic, Include, KeyFile, Options, Resolver, Unread};

/// Bytes of a configuration file, and of all files of one `include` together. The parser itself takes 8 million
/// characters.
const MOST: u64 = 16 * 1024 * 1024;

/// Bytes of a key's file: `hex:`, 64 bytes in hexadecimal, the end of the line.
const MOST_OF_A_KEY: usize = 4 + 2 * 64 + 8;

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
    let text = text(path)?;
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

/// The text of a configuration file, whatever its bytes are.
///
/// # Errors
/// It cannot be read, is not a regular file, or is longer than any configuration.
pub fn text(path: &Path) -> io::Result<String> {
    if let Some(kind) = irregular(&fs::metadata(path)?) {
        return Err(io::Error::other(format!("it is {kind}, not a file")));
    }
    let bytes = read(path, MOST)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a file is, if it is none that can be read to its end.
fn irregular(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// A regular file's bytes. What was put in its place meanwhile is not waited for.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if let Some(kind) = irregular(&file.metadata()?) {
        return Err(io::Error::other(format!("it is {kind}, not a file")));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!(
            "more than {MOST} bytes cannot be a configuration"
        )));
    }
    Ok(bytes)
}

/// An included file, by keepalived's rules: only a regular file that nobody can execute.
fn included(path: &Path, most: u64) -> Result<String, Unread> {
    let failed = |e: io::Error| Unread::Failed(e.to_string());
    // Looked at before it is opened: opening a device may do something.
    let meta = fs::metadata(path).map_err(failed)?;
    if let Some(kind) = irregular(&meta) {
        return Err(Unread::Skipped(kind.to_owned()));
    }
    if meta.permissions().mode() & 0o111 != 0 {
        return Err(Unread::Skipped("executable".to_owned()));
    }
    let bytes = read(path, most).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
        let mut left = MOST;
        found
            .into_iter()
            .map(|path| {
                let content = included(&path, left);
                left -= content.as_ref().map_or(0, |text| left.min(text.len() as u64));
                Include {
                    path: path.to_string_lossy().into_owned(),
                    content,
                }
            })
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn key_file(&self, path: &str) -> Result<KeyFile, String> {
        let of = |e: io::Error| e.to_string();
        let meta = fs::metadata(path).map_err(of)?;
        if let Some(kind) = irregular(&meta) {
            return Err(format!("it is {kind}, not a file"));
        }
        let content = read(Path::new(path), MOST).map_err(of)?;
        if content.len() > MOST_OF_A_KEY {
            return Err(format!("it has {} bytes, which is not a key", content.len()));
        }
        Ok(KeyFile {
            content,
            open_to_others: meta.permissions().mode() & 0o077 != 0,
        })
    }

    fn random(&self, min: u32, max: u32) -> u32 {
        let mut bytes = [0; 4];
        let read = fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
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

    #[test]
    fn only_files_are_included_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let fifo = std::ffi::CString::new(path("fifo").to_str().unwrap()).unwrap();
        // SAFETY: a name that ends with its zero.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        fs::create_dir(path("directory")).unwrap();
        fs::write(path("program"), "vrrp_instance P {\n}\n").unwrap();
        fs::set_permissions(path("program"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("endless")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        let main = path("main.conf");
        let names = ["fifo", "directory", "program", "endless", "dangling"];
        fs::write(&main, names.map(|n| format!("include {n}\n")).concat()).unwrap();
        let found: Vec<String> = load(&main, None)
            .unwrap()
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        for (line, what) in [
            (1, "warning: there is no vrrp_instance"),
            (1, "fifo is a FIFO: it is skipped, as in keepalived"),
            (2, "directory is a directory: it is skipped"),
            (3, "program is executable: it is skipped"),
            (4, "endless is a device: it is skipped"),
            (5, "dangling: No such file or directory"),
        ] {
            let place = format!("main.conf:{line}:1: ");
            assert!(
                found.iter().any(|f| f.contains(&place) && f.contains(what)),
                "{line} {what}: {found:?}"
            );
        }
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found[5].contains("error: cannot read "), "{found:?}");
        for main in [path("fifo"), path("directory"), "/dev/zero".into()] {
            let e = load(&main, None).unwrap_err().to_string();
            assert!(e.ends_with("not a file"), "{e}");
        }
    }
}
