//! The journal: events, one JSON object a line. One process writes it; any number follow it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::host::os::clock::now_ms;
use crate::host::os::error::{Result, at};
use crate::host::record::test_hold;
use crate::host::record::txn::Txn;
use crate::state::redact::redact;
use crate::state::{Event, EventKind, Secret};

/// The writing side.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// See [`crate::host::record::test_hold`].
    hold: PathBuf,
    seq: u64,
    secrets: Vec<Secret>,
}

impl Journal {
    /// Opens a transaction's journal and continues after its last whole line.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn open(txn: &Txn, secrets: &[Secret]) -> Result<Journal> {
        let path = &txn.file("journal");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let seq = text
            .lines()
            .filter_map(|l| serde_json::from_str::<Event>(l).ok())
            .map(|e| e.seq)
            .max()
            .unwrap_or(0);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(at("open", path))?;
        if !text.is_empty() && !text.ends_with('\n') {
            // A writer died in mid-line: readers skip what does not parse.
            file.write_all(b"\n").map_err(at("write", path))?;
        }
        Ok(Journal {
            file,
            path: path.to_owned(),
            hold: txn.hold.clone(),
            seq,
            secrets: secrets.to_vec(),
        })
    }

    /// Appends an event, durably.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&mut self, kind: EventKind) -> Result<()> {
        self.seq += 1;
        let event = Event {
            seq: self.seq,
            at_ms: now_ms(),
            kind: self.masked(kind),
        };
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(at("write", &self.path))?;
        // A tool's output in the middle of a step is not a step.
        if !matches!(event.kind, EventKind::Log { .. }) {
            test_hold::after_event(&self.hold);
        }
        Ok(())
    }

    /// Appends a line of output; a journal that cannot take it is no reason to fail.
    pub fn log(&mut self, line: &str) {
        let line = line.trim_end().to_owned();
        if !line.is_empty() {
            let _ = self.write(EventKind::Log { line });
        }
    }

    fn masked(&self, kind: EventKind) -> EventKind {
        let mask = |text: String| redact(&text, &self.secrets);
        match kind {
            EventKind::Log { line } => EventKind::Log { line: mask(line) },
            EventKind::ResourceStarted { resource, summary } => EventKind::ResourceStarted {
                resource,
                summary: mask(summary),
            },
            EventKind::Finished { mut outcome } => {
                outcome.error = mask(outcome.error);
                outcome.hints = outcome.hints.into_iter().map(mask).collect();
                EventKind::Finished { outcome }
            }
            // Names, figures and addresses only: nothing that a program wrote or a file holds.
            EventKind::StageStarted { .. }
            | EventKind::ResourceDone { .. }
            | EventKind::Armed { .. }
            | EventKind::AwaitConfirm { .. }
            | EventKind::Confirmed => kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::os::root::Root;
    use crate::host::record::tail::Tail;
    use crate::host::record::tail::finished;
    use crate::state::TxnId;

    #[test]
    fn a_torn_line_is_skipped_and_counting_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let txn = Txn::new(&Root::at(dir.path()), &TxnId::new("20261122T164512Z-3f9a-1").unwrap());
        std::fs::create_dir_all(&txn.dir).unwrap();
        let path = txn.file("journal");
        let mut tail = Tail::new(&path, 0);
        Journal::open(&txn, &[]).unwrap().log("one");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"seq\":9,\"at")
            .unwrap();
        assert_eq!(tail.read().len(), 1);
        let mut journal = Journal::open(&txn, &[Secret::new("s3cret")]).unwrap();
        journal.log("password s3cret");
        let events = tail.read();
        assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [2]);
        assert!(!format!("{events:?}").contains("s3cret"));
        assert_eq!(Tail::new(&path, 1).read().len(), 1);
        assert!(finished(&path).is_none());
        journal.write(EventKind::Confirmed).unwrap();
    }
}
