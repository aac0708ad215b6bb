//! What a run notes for its stop step, in a file of the state directory: the addresses that it may have on, and in which form its peers
//! make their checksums. The configuration may be another one, or broken, by the time that is needed.
//!
//! One fact a line: `eth0 10.0.0.9 24`, or `form plain VI_1`. A line of another version is passed over.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::os::state_dir::addresses_in;
use crate::vrrp::Form;

const FORMS: [(Form, &str); 3] = [
    (Form::Plain, "plain"),
    (Form::Pseudo, "pseudo"),
    (Form::PseudoGroup, "pseudo-group"),
];

/// The notes of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Interface, address, prefix length.
    pub(super) addresses: Vec<(String, IpAddr, u8)>,
    /// By instance, where its peers have been heard: how they make their checksums.
    pub(super) forms: BTreeMap<String, Form>,
}

impl Notes {
    /// What the run before has noted; nothing where that cannot be read.
    pub(super) fn read(state_dir: &Path) -> Notes {
        let mut notes = Notes::default();
        let text = fs::read_to_string(addresses_in(state_dir)).unwrap_or_default();
        for line in text.lines() {
            if let Some((name, form)) = form_in(line) {
                notes.forms.insert(name, form);
            } else if let Some(address) = address_in(line) {
                notes.addresses.push(address);
            }
        }
        notes
    }

    /// Writes them, whole or not at all: a crash may come between.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) fn write(&self, state_dir: &Path) -> io::Result<()> {
        let path = addresses_in(state_dir);
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(self.text().as_bytes())?;
        fs::rename(&new, &path)
    }

    fn text(&self) -> String {
        let addresses = self.addresses.iter();
        let addresses = addresses.map(|(name, ip, prefix)| format!("{name} {ip} {prefix}\n"));
        let word = |form| FORMS.iter().find(|(f, _)| *f == form).map_or("", |(_, word)| word);
        let forms = self.forms.iter();
        let forms = forms.map(|(name, form)| format!("form {} {name}\n", word(*form)));
        addresses.chain(forms).collect()
    }
}

fn form_in(line: &str) -> Option<(String, Form)> {
    let (word, name) = line.strip_prefix("form ")?.split_once(' ')?;
    let (form, _) = FORMS.iter().find(|(_, w)| *w == word)?;
    Some((name.to_owned(), *form))
}

fn address_in(line: &str) -> Option<(String, IpAddr, u8)> {
    let mut words = line.split(' ');
    let (name, ip, prefix) = (words.next()?, words.next()?, words.next()?);
    Some((name.to_owned(), ip.parse().ok()?, prefix.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again_and_so_is_what_an_older_version_noted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Notes::read(dir.path()), Notes::default());
        let ip = |text: &str| text.parse().unwrap();
        let notes = Notes {
            // An interface may have that name.
            addresses: vec![
                ("form".to_owned(), ip("10.0.0.9"), 24),
                ("eth0".to_owned(), ip("fd00::9"), 64),
            ],
            forms: FORMS.map(|(form, word)| (format!("VI {word}"), form)).into(),
        };
        notes.write(dir.path()).unwrap();
        notes.write(dir.path()).unwrap();
        assert_eq!(Notes::read(dir.path()), notes);
        fs::write(
            addresses_in(dir.path()),
            "eth0 10.0.0.9 24\n\nwhat else\nform square VI_1\neth1 nothing 7\n",
        )
        .unwrap();
        let read = Notes::read(dir.path());
        assert_eq!(read.addresses, [("eth0".to_owned(), ip("10.0.0.9"), 24)]);
        assert!(read.forms.is_empty());
    }
}
