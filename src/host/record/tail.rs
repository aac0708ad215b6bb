//! The reading side of the journal.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::state::{Event, EventKind, Outcome};

/// How the transaction ended, if the last event is `Finished`.
pub(crate) fn finished(path: &Path) -> Option<Outcome> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let last = text.lines().rev().find_map(|l| serde_json::from_str::<Event>(l).ok());
    match last?.kind {
        EventKind::Finished { outcome } => Some(outcome),
        _ => None,
    }
}

/// The reading side: remembers where it is.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
    after: u64,
}

impl Tail {
    /// Follows a journal from the event after `after`.
    pub fn new(path: &Path, after: u64) -> Tail {
        Tail {
            path: path.to_owned(),
            offset: 0,
            partial: Vec::new(),
            after,
        }
    }

    /// Whole events that came since the last call.
    pub fn read(&mut self) -> Vec<Event> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(SeekFrom::Start(self.offset)).is_ok()
        {
            let _ = file.read_to_end(&mut bytes);
        }
        self.offset += bytes.len() as u64;
        self.partial.extend(bytes);
        let Some(end) = self.partial.iter().rposition(|b| *b == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.partial.drain(..=end).collect();
        let events = whole
            .split(|b| *b == b'\n')
            .filter_map(|line| serde_json::from_slice::<Event>(line).ok());
        events.filter(|e| e.seq > self.after).collect()
    }
}
