//! What a transaction was asked to do.

use serde::{Deserialize, Serialize};

use crate::host::os::error::{Error, Result, at};
use crate::host::os::files;
use crate::host::os::private_json::write_private;
use crate::host::record::txn::Txn;
use crate::state::{HostRollback, HostState, Stage};

/// `request.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// What the host should be.
    pub state: HostState,
    /// Only these stages, in order.
    pub stages: Vec<Stage>,
    /// Seconds.
    pub confirm_timeout: u64,
    /// `user@machine`.
    pub operator: String,
    /// Put these back instead of converging; the state then only tells secrets, engine and instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<HostRollback>,
}

impl Stored {
    /// Creates the transaction.
    ///
    /// # Errors
    /// It exists already, or the disk refuses.
    pub fn store(&self, txn: &Txn) -> Result<()> {
        if txn.dir.exists() {
            return Err(Error::new(format!("transaction {} exists already", txn.id)).hint("apply again"));
        }
        let stored = files::private_directory(&txn.old())
            .and_then(|()| write_private(&txn.file("request.json"), self))
            .and_then(|()| txn.reserve());
        if stored.is_err() {
            let _ = std::fs::remove_dir_all(&txn.dir);
        }
        stored
    }

    /// Reads it back.
    ///
    /// # Errors
    /// It is not there, or not readable by this version.
    pub fn load(txn: &Txn) -> Result<Stored> {
        let path = txn.file("request.json");
        let bytes = std::fs::read(&path).map_err(at("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::new(format!("cannot read {}", path.display())).because(e))
    }
}
