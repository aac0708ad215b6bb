//! known_hosts files, sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT", read and appended to.
//!
//! libssh2 has a reader of its own; it knows neither wildcards nor `@revoked` and takes a marker for a host name.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// OpenSSH's form of a key's fingerprint: `SHA256:` and base64 without padding.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// The algorithm name that a key blob begins with (RFC 4253 §6.6).
pub(super) fn key_type(blob: &[u8]) -> Option<&str> {
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?) as usize;
    std::str::from_utf8(blob.get(4..4 + length)?).ok()
}

/// What a line is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// A host's own key.
    None,
    /// Never to be accepted.
    Revoked,
    /// A key that signs host certificates.
    Authority,
}

/// One line that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which file.
    pub(super) file: PathBuf,
    /// Counted from 1.
    pub(super) line: usize,
    /// Marker.
    pub(super) marker: Marker,
    /// Comma separated patterns, or one hashed name.
    names: String,
    /// The key, decoded.
    pub(super) blob: Vec<u8>,
}

/// The names a host is looked up under: OpenSSH writes a port other than 22 as `[name]:port`.
pub(super) fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Reads every line that holds a key; others (comments, protocol 1, garbage) are skipped, as OpenSSH does.
pub(super) fn parse(file: &Path, text: &str) -> Vec<Entry> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next().filter(|w| !w.starts_with('#')) else {
            continue;
        };
        let (marker, names) = match first {
            "@revoked" => (Marker::Revoked, words.next()),
            "@cert-authority" => (Marker::Authority, words.next()),
            word if word.starts_with('@') => continue,
            word => (Marker::None, Some(word)),
        };
        let (Some(names), Some(kind), Some(key)) = (names, words.next(), words.next()) else {
            continue;
        };
        let Ok(blob) = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key)) else {
            continue;
        };
        if key_type(&blob) != Some(kind) {
            continue;
        }
        out.push(Entry {
            file: file.to_owned(),
            line: index + 1,
            marker,
            names: names.to_owned(),
            blob,
        });
    }
    out
}

impl Entry {
    /// The line is about this host.
    pub(super) fn matches(&self, name: &str) -> bool {
        if let Some(hashed) = self.names.strip_prefix("|1|") {
            return hash_matches(hashed, name);
        }
        let mut found = false;
        for pattern in self.names.split(',') {
            match pattern.strip_prefix('!') {
                Some(negated) if glob(&negated.to_lowercase(), name) => return false,
                Some(_) => {}
                None => found |= glob(&pattern.to_lowercase(), name),
            }
        }
        found
    }
}

fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, wanted)) = hashed.split_once('|') else {
        return false;
    };
    let (Ok(salt), Ok(wanted)) = (STANDARD.decode(salt), STANDARD.decode(wanted)) else {
        return false;
    };
    hmac_sha1(&salt, name).is_some_and(|mac| mac.verify_slice(&wanted).is_ok())
}

fn hmac_sha1(salt: &[u8], name: &str) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac)
}

/// `*` and `?`, as in ssh_config(5) PATTERNS.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Appends a key. Directories are made with mode 0700, the file with 0600; a missing last newline is supplied; two
/// processes that append at once do not mix their lines, and the same line is not written twice.
///
/// # Errors
/// As the system says.
pub(super) fn append(file: &Path, name: &str, blob: &[u8], hashed: bool) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut handle = std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    handle.lock()?;
    let mut present = Vec::new();
    handle.seek(SeekFrom::Start(0))?;
    handle.read_to_end(&mut present)?;
    let known = parse(file, &String::from_utf8_lossy(&present));
    if known
        .iter()
        .any(|e| e.marker == Marker::None && e.blob == blob && e.matches(name))
    {
        return Ok(());
    }
    let shown = if hashed { hash_name(name)? } else { name.to_owned() };
    let newline = if present.last().is_some_and(|b| *b != b'\n') {
        "\n"
    } else {
        ""
    };
    let kind = key_type(blob).unwrap_or("unknown");
    let line = format!("{newline}{shown} {kind} {}\n", STANDARD.encode(blob));
    // One write: what another program reads meanwhile holds the whole line or none of it.
    handle.write_all(line.as_bytes())?;
    handle.sync_all()
}

fn hash_name(name: &str) -> std::io::Result<String> {
    let mut salt = [0; 20];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
    let mac = hmac_sha1(&salt, name).ok_or_else(|| std::io::Error::other("hmac"))?;
    let hash = mac.finalize().into_bytes();
    Ok(format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::hex::hex;

    fn blob(kind: &str, fill: u8) -> Vec<u8> {
        let mut out = (kind.len() as u32).to_be_bytes().to_vec();
        out.extend(kind.bytes());
        out.extend([0, 0, 0, 4, fill, fill, fill, fill]);
        out
    }

    fn line(names: &str) -> String {
        format!("{names} ssh-ed25519 {}\n", STANDARD.encode(blob("ssh-ed25519", 1)))
    }

    fn found(names: &str, name: &str) -> bool {
        parse(Path::new("f"), &line(names))
            .iter()
            .any(|e| e.marker == Marker::None && e.matches(name))
    }

    #[test]
    fn names_match_as_in_openssh() {
        let yes = [
            ("web1", "web1"),
            ("web1,10.0.0.1", "10.0.0.1"),
            ("10.0.*", "10.0.3.4"),
            ("web?", "web1"),
            ("WEB1", "web1"),
            ("*,!web2", "web1"),
            ("[10.0.0.1]:2222", "[10.0.0.1]:2222"),
            ("[10.0.*]:2222", "[10.0.0.1]:2222"),
            ("**", "x"),
            ("a*b*c", "aXbYbZc"),
        ];
        let no = [
            ("web1", "web11"),
            ("10.0.0.1", "[10.0.0.1]:2222"),
            ("*,!web2", "web2"),
            ("!web2", "web1"),
            ("web?", "web"),
            ("#web1", "web1"),
            ("a*b*c", "aXbYbZ"),
        ];
        for (names, name) in yes {
            assert!(found(names, name), "{names} must match {name}");
        }
        for (names, name) in no {
            assert!(!found(names, name), "{names} must not match {name}");
        }
    }

    /// Against OpenSSH's own hashes: see `tests/remote/host_keys.rs`.
    #[test]
    fn a_hashed_name_matches_only_itself() {
        let own = hash_name("[10.0.0.1]:2222").unwrap();
        assert!(found(&own, "[10.0.0.1]:2222"));
        assert!(!found(&own, "10.0.0.1"));
    }

    #[test]
    fn hmac_sha1_is_rfc_2202s() {
        let mac = hmac_sha1(b"Jefe", "what do ya want for nothing?")
            .unwrap()
            .finalize()
            .into_bytes();
        assert_eq!(hex(&mac), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn markers_and_garbage() {
        let text = format!(
            "@revoked {}@cert-authority {}@other {}web1 ssh-rsa {}\nweb1 ssh-ed25519 !!!\n1024 35 123\n\n",
            line("*"),
            line("*"),
            line("*"),
            STANDARD.encode(blob("ssh-ed25519", 1)),
        );
        let markers: Vec<_> = parse(Path::new("f"), &text)
            .iter()
            .map(|e| (e.line, e.marker))
            .collect();
        assert_eq!(markers, [(1, Marker::Revoked), (2, Marker::Authority)]);
    }

    #[test]
    fn appending_supplies_newline_directory_and_modes_and_is_idempotent() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/ssh/known_hosts");
        let key = blob("ssh-ed25519", 7);
        append(&file, "web1", &key, false).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            file.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o700
        );
        std::fs::write(&file, "# no newline").unwrap();
        append(&file, "web1", &key, false).unwrap();
        append(&file, "web2", &key, true).unwrap();
        let once = std::fs::read_to_string(&file).unwrap();
        append(&file, "web1", &key, false).unwrap();
        append(&file, "web2", &key, true).unwrap();
        assert_eq!(once, std::fs::read_to_string(&file).unwrap());
        assert!(once.starts_with("# no newline\nweb1 ssh-ed25519 "), "{once}");
        let entries = parse(&file, &once);
        assert_eq!(entries.len(), 2);
        assert!(entries[1].matches("web2") && !once.contains("web2"));
    }
}
