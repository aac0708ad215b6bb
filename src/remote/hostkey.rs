//! Is this the host it claims to be?

use std::path::PathBuf;

use super::ask::Ask;
use super::config::{Resolved, Strict};
use super::deadline::Deadline;
use super::knownhosts::{Entry, Marker, append, fingerprint, key_type, parse};
use crate::state::Error;

/// Signature algorithms by key type, best first. Certificates are left out: hapair checks keys, not authorities.
const ALGORITHMS: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// What is known of one host's keys before it is asked.
#[derive(Debug)]
pub(super) struct Known {
    name: String,
    all: Vec<Entry>,
    here: Vec<Entry>,
    store: PathBuf,
    hashed: bool,
    pinned: Option<String>,
}

impl Known {
    /// Reads the files; one that does not exist is empty.
    ///
    /// # Errors
    /// A file that exists and cannot be read.
    pub(super) fn read(to: &Resolved, pinned: Option<&str>) -> Result<Known, Error> {
        let name = to.known_as.clone();
        let mut all = Vec::new();
        for file in &to.known_hosts {
            match std::fs::read(file) {
                Ok(bytes) => all.extend(parse(file, &String::from_utf8_lossy(&bytes))),
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) => {}
                Err(e) => {
                    return Err(Error::new(format!("cannot read {}", file.display()))
                        .because(e)
                        .hint("make it readable, or name another file with `ssh.known_hosts`"));
                }
            }
        }
        let here = all.iter().filter(|entry| entry.matches(&name)).cloned().collect();
        let store = to.known_hosts.first().cloned().unwrap_or_default();
        Ok(Known {
            name,
            all,
            here,
            store,
            hashed: to.hash_known_hosts,
            pinned: pinned.map(str::to_owned),
        })
    }

    /// Algorithms to offer: types that a known key could prove come first, because a server proves only one.
    pub(super) fn preferred_algorithms(&self) -> String {
        let pinned = self.pinned.as_deref();
        let wanted: Vec<&str> = match pinned {
            Some(pin) => self
                .all
                .iter()
                .filter(|e| fingerprint(&e.blob) == pin)
                .filter_map(|e| key_type(&e.blob))
                .collect(),
            None => self
                .here
                .iter()
                .filter(|e| e.marker == Marker::None)
                .filter_map(|e| key_type(&e.blob))
                .collect(),
        };
        let (first, rest): (Vec<_>, Vec<_>) = ALGORITHMS.into_iter().partition(|(kind, _)| wanted.contains(kind));
        first
            .into_iter()
            .chain(rest)
            .map(|(_, algorithms)| algorithms)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Decides about the key that the host proved to have; stores it if it is new and welcome.
    ///
    /// # Errors
    /// The key is revoked, changed, not the pinned one, or unknown and not accepted.
    pub(super) fn check(
        &self,
        blob: &[u8],
        strict: Strict,
        ask: &dyn Ask,
        deadline: &Deadline,
    ) -> Result<String, Error> {
        let shown = fingerprint(blob);
        let kind = key_type(blob).unwrap_or("unknown");
        if let Some(entry) = self.here.iter().find(|e| e.marker == Marker::Revoked && e.blob == blob) {
            return Err(Error::new(format!(
                "its host key {shown} ({kind}) is marked as revoked in {}:{}",
                entry.file.display(),
                entry.line
            ))
            .hint("somebody may impersonate the host: do not continue until it has a new key"));
        }
        if let Some(pin) = &self.pinned {
            if *pin != shown {
                return Err(Error::new(format!(
                    "another machine answers there: its host key is {shown} ({kind}), not {pin}"
                ))
                .hint("check that no other machine has this address"));
            }
            // The same machine under a new address: no question to be asked, and none at the next run either, unless
            // an older machine's key is filed under that name; then the operator must look.
            if !self.here.iter().any(|e| e.marker == Marker::None) {
                self.store(blob)?;
            }
            return Ok(shown);
        }
        let plain: Vec<_> = self.here.iter().filter(|e| e.marker == Marker::None).collect();
        if plain.iter().any(|e| e.blob == blob) {
            return Ok(shown);
        }
        // The line of the same type is the one that is wrong; any other is a key that the host no longer shows.
        if let Some(entry) = plain.iter().find(|e| key_type(&e.blob) == Some(kind)).or(plain.first()) {
            let known = fingerprint(&entry.blob);
            let known_kind = key_type(&entry.blob).unwrap_or("unknown");
            return Err(Error::new(format!(
                "its host key has changed: it shows {shown} ({kind}), {}:{} has {known} ({known_kind})",
                entry.file.display(),
                entry.line
            ))
            .hint("somebody may impersonate the host, or it was reinstalled: ask the person responsible for it")
            .hint(format!(
                "then forget the old key: ssh-keygen -R '{}' -f {}",
                self.name,
                entry.file.display()
            )));
        }
        self.welcome(&shown, kind, strict, ask, deadline)?;
        self.store(blob)?;
        Ok(shown)
    }

    /// Whether a key that nobody has seen yet may be stored.
    fn welcome(
        &self,
        shown: &str,
        kind: &str,
        strict: Strict,
        ask: &dyn Ask,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let signed = self.here.iter().any(|e| e.marker == Marker::Authority);
        let mut hints = vec![format!(
            "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub` on the host's console, then connect once \
             with ssh, or pass --accept-new-host-keys",
            short(kind)
        )];
        if signed {
            hints.push("known_hosts names a @cert-authority for it, which hapair does not use".to_owned());
        }
        match strict {
            Strict::AcceptNew => {}
            Strict::Yes => {
                return Err(Error::new(format!(
                    "its host key {shown} ({kind}) is unknown, and ssh_config says StrictHostKeyChecking yes"
                ))
                .with_hints(hints));
            }
            Strict::Ask => {
                if !deadline.paused(|| ask.accept_host_key(&self.name, kind, shown)) {
                    let message = format!("its host key {shown} ({kind}) is unknown and was not accepted");
                    return Err(Error::new(message).with_hints(hints));
                }
            }
        }
        Ok(())
    }

    fn store(&self, blob: &[u8]) -> Result<(), Error> {
        append(&self.store, &self.name, blob, self.hashed).map_err(|e| {
            Error::new(format!("cannot store the host key in {}", self.store.display()))
                .because(e)
                .hint("make it writable, or name another file with `ssh.known_hosts`")
        })
    }
}

/// The part of a host key's file name.
fn short(kind: &str) -> &str {
    match kind {
        "ssh-ed25519" => "ed25519",
        "ssh-rsa" => "rsa",
        _ => "ecdsa",
    }
}
