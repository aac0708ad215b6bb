//! Transactions: `/var/lib/hapair/txn/<id>/` with request, journal, undo log and old files.
//!
//! ```text
//! request.json   what was asked (holds secrets: 0600 in 0700)
//! journal        events, one JSON object a line, synced one by one
//! undo           undo records, one JSON object a line, synced before anything is touched
//! old/           bytes of replaced files
//! armed          the revert timer runs; renamed to `confirmed` or `reverting`, whichever comes first
//! awaiting       the change is active and waits for a confirm
//! cancel         asked to stop
//! left           what was left at the paths it touched: what differs later was changed by someone else
//! rolled_back    id of the transaction that put this one back
//! interrupted    was killed, and a later transaction went on from there
//! ```

use std::path::PathBuf;

use crate::host::os::error::{Error, Result, at};
use crate::host::os::root::Root;
use crate::host::record::{tail, test_hold};
use crate::state::{OutcomeKind, TxnId};

/// Where transactions are.
pub const DIRECTORY: &str = "/var/lib/hapair/txn";

/// How the last apply left each resource, for drift.
pub const LAST: &str = "/var/lib/hapair/last.json";

/// Bytes set aside by a running transaction: more than all the text files that it may have to restore.
const RESERVE: usize = 2 << 20;

/// One transaction's directory.
#[derive(Debug, Clone)]
pub struct Txn {
    /// Its identifier.
    pub id: TxnId,
    /// Its directory.
    pub dir: PathBuf,
    /// See [`crate::host::record::test_hold`].
    pub(crate) hold: PathBuf,
}

impl Txn {
    /// The transaction of that name, whether it exists or not.
    pub fn new(root: &Root, id: &TxnId) -> Txn {
        Txn {
            id: id.clone(),
            dir: root.path(DIRECTORY).join(id.as_str()),
            hold: root.path(test_hold::FILE),
        }
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Such a marker file is there.
    pub fn has(&self, marker: &str) -> bool {
        self.file(marker).exists()
    }

    /// Creates an empty marker file.
    pub fn mark(&self, marker: &str) -> std::io::Result<()> {
        std::fs::File::create(self.file(marker))?.sync_all()?;
        std::fs::File::open(&self.dir)?.sync_all()
    }

    /// Moves a marker; false if it was not there: somebody else came first.
    pub fn turn(&self, from: &str, to: &str) -> bool {
        std::fs::rename(self.file(from), self.file(to)).is_ok()
    }

    /// Sets space aside, so that on a full disk the journal can still be finished and old files restored.
    ///
    /// # Errors
    /// There is not even that much.
    pub fn reserve(&self) -> Result<()> {
        let path = self.file("reserve");
        std::fs::write(&path, vec![0xa5_u8; RESERVE]).map_err(at("set space aside in", &path))
    }

    /// Gives that space back.
    pub fn release(&self) {
        let _ = std::fs::remove_file(self.file("reserve"));
    }

    /// Where replaced bytes are.
    pub fn old(&self) -> PathBuf {
        self.file("old")
    }

    /// The unit of PID 1's that runs it.
    pub fn unit(&self) -> String {
        format!("hapair-txn-{}", self.id)
    }

    /// The journal ends with `Finished`.
    pub fn is_finished(&self) -> bool {
        tail::finished(&self.file("journal")).is_some()
    }

    /// It ended, and everything was done.
    pub fn is_done(&self) -> bool {
        tail::finished(&self.file("journal")).is_some_and(|o| o.result == OutcomeKind::Done)
    }
}

/// All transactions, oldest first.
pub fn all(root: &Root) -> Vec<Txn> {
    let names = root.names(DIRECTORY);
    let mut ids: Vec<TxnId> = names.iter().filter_map(|name| TxnId::new(name)).collect();
    ids.sort_by(|a, b| a.parts().cmp(&b.parts()));
    ids.iter().map(|id| Txn::new(root, id)).collect()
}

/// # Errors
/// The operator cancelled it.
pub fn check_cancel(txn: &Txn) -> Result<()> {
    if txn.has("cancel") {
        Err(Error::new("cancelled by the operator"))
    } else {
        Ok(())
    }
}
