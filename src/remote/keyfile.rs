//! Private key files: what they are, whether they can be used, and the public half where it lies open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::knownhosts::key_type;
use crate::state::Error;

const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

/// A private key that can be offered.
#[derive(Debug)]
pub(super) struct KeyFile {
    /// The file's text.
    pub(super) text: String,
    /// A passphrase is needed before it can sign.
    pub(super) encrypted: bool,
    /// The public half in wire form, if it can be had without a passphrase.
    pub(super) public: Option<Vec<u8>>,
}

/// Why a key file cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    /// Without the path.
    pub(super) error: Error,
    /// There is no such file.
    pub(super) missing: bool,
}

fn unusable(why: impl Into<String>, hint: impl Into<String>) -> Unusable {
    Unusable {
        error: Error::new(why).hint(hint),
        missing: false,
    }
}

/// Reads and judges a key file, by OpenSSH's rules.
///
/// # Errors
/// Missing, unreadable, readable by others, or in a format that cannot be used.
pub(super) fn read(path: &Path) -> Result<KeyFile, Unusable> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| Unusable {
        error: Error::new(format!("cannot be read: {}", plain(&e))).hint(format!(
            "check the path, or make a key: ssh-keygen -t ed25519 -f {shown}"
        )),
        missing: e.kind() == std::io::ErrorKind::NotFound,
    })?;
    if !meta.is_file() {
        return Err(unusable("is not a regular file", "name the private key file itself"));
    }
    // SAFETY: plain system call.
    if meta.uid() == unsafe { libc::getuid() } && meta.mode() & 0o077 != 0 {
        return Err(unusable(
            format!(
                "can be read by others (mode {:04o}), so OpenSSH would not use it either",
                meta.mode() & 0o7777
            ),
            format!("chmod 600 {shown}"),
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| {
        unusable(
            format!("cannot be read: {}", plain(&e)),
            format!("check who owns it: ls -l {shown}"),
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        unusable(
            "is not a private key",
            "name a key made by ssh-keygen, in OpenSSH or PEM format",
        )
    })?;
    let mut key = judge(text, path)?;
    if key.public.is_none() {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        key.public = std::fs::read_to_string(beside)
            .ok()
            .and_then(|line| public_of_line(&line));
    }
    Ok(key)
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// The key of a `type base64 comment` line.
pub(super) fn public_of_line(line: &str) -> Option<Vec<u8>> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    (key_type(&blob) == Some(kind)).then_some(blob)
}

fn judge(text: String, path: &Path) -> Result<KeyFile, Unusable> {
    if public_of_line(&text).is_some() {
        return Err(unusable(
            "is a public key",
            "name the private key: the same path without `.pub`",
        ));
    }
    if text.starts_with("PuTTY-User-Key-File") {
        let hint = format!("convert it: puttygen {} -O private-openssh -o KEY", path.display());
        return Err(unusable("is in PuTTY's format", hint));
    }
    let Some(label) = text
        .split_once("-----BEGIN ")
        .and_then(|(_, r)| r.split_once("-----"))
        .map(|(l, _)| l)
    else {
        return Err(unusable(
            "is not a private key",
            "name a key made by ssh-keygen, in OpenSSH or PEM format",
        ));
    };
    match label {
        "OPENSSH PRIVATE KEY" => openssh(text),
        "ENCRYPTED PRIVATE KEY" => Ok(KeyFile {
            text,
            encrypted: true,
            public: None,
        }),
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" => {
            let encrypted = text.contains("Proc-Type: 4,ENCRYPTED");
            Ok(KeyFile {
                text,
                encrypted,
                public: None,
            })
        }
        "DSA PRIVATE KEY" => Err(unusable(
            "is a DSA key, which servers no longer accept",
            "make one: ssh-keygen -t ed25519",
        )),
        other => Err(unusable(
            format!("holds `{other}`, not an SSH private key"),
            "make one: ssh-keygen -t ed25519",
        )),
    }
}

/// OpenSSH's PROTOCOL.key: magic, cipher, kdf, kdf options, number of keys, public key, private part.
fn openssh(text: String) -> Result<KeyFile, Unusable> {
    let damaged = || {
        unusable(
            "is damaged",
            "restore it from a copy, or make a new one: ssh-keygen -t ed25519",
        )
    };
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|l| l.trim().chars())
        .collect();
    let bytes = STANDARD.decode(body).map_err(|_| damaged())?;
    let mut rest = bytes.strip_prefix(OPENSSH_MAGIC).ok_or_else(damaged)?;
    let cipher = string(&mut rest).ok_or_else(damaged)?;
    let encrypted = cipher != b"none";
    string(&mut rest).ok_or_else(damaged)?;
    string(&mut rest).ok_or_else(damaged)?;
    rest = rest.get(4..).ok_or_else(damaged)?;
    let public = string(&mut rest).ok_or_else(damaged)?.to_vec();
    match key_type(&public) {
        None => Err(damaged()),
        Some(kind) if kind.starts_with("sk-") => Err(unusable(
            "is on a hardware token, which works through the SSH agent only",
            "load it: ssh-add, and leave `ssh.identity_file` out",
        )),
        Some("ssh-dss") => Err(unusable(
            "is a DSA key, which servers no longer accept",
            "make one: ssh-keygen -t ed25519",
        )),
        Some(_) => Ok(KeyFile {
            text,
            encrypted,
            public: Some(public),
        }),
    }
}

/// Takes a length-prefixed string off the front.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let value = rest.get(4..4 + length)?;
    *rest = &rest[4 + length..];
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn why(content: &[u8], mode: u32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        read(&path).unwrap_err().error.message
    }

    #[test]
    fn unusable_keys_say_why() {
        assert!(read(Path::new("/nonexistent/key")).unwrap_err().missing);
        assert!(why(b"x", 0o644).contains("can be read by others (mode 0644)"));
        assert!(why(b"\xff\xfe", 0o600).contains("not a private key"));
        assert!(why(b"PuTTY-User-Key-File-3: ssh-ed25519\n", 0o600).contains("PuTTY"));
        assert!(
            why(
                b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                0o600
            )
            .contains("damaged")
        );
        assert!(why(b"-----BEGIN CERTIFICATE-----\n", 0o600).contains("CERTIFICATE"));
    }

    #[test]
    fn damaged_keys_never_panic() {
        let mut whole = OPENSSH_MAGIC.to_vec();
        for part in [&b"none"[..], b"none", b""] {
            whole.extend((part.len() as u32).to_be_bytes());
            whole.extend(part);
        }
        whole.extend([0, 0, 0, 1, 0, 0, 0, 15, 0, 0, 0, 11]);
        whole.extend(b"ssh-ed25519");
        let pem = |bytes: &[u8]| {
            let text = STANDARD.encode(bytes);
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")
        };
        assert!(!judge(pem(&whole), Path::new("k")).unwrap().encrypted);
        for cut in 0..whole.len() {
            assert!(judge(pem(&whole[..cut]), Path::new("k")).is_err());
        }
    }
}
