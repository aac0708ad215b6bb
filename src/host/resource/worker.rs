//! What a running transaction carries from one resource to the next.

use std::collections::BTreeSet;

use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::record::journal::Journal;
use crate::host::record::request::Stored;
use crate::host::record::txn::Txn;
use crate::host::record::undo::Log;
use crate::state::resource::{Reaction, Validator};

/// What a running transaction carries.
#[derive(Debug)]
pub struct Worker<'a> {
    /// The host.
    pub root: &'a Root,
    /// The transaction.
    pub txn: &'a Txn,
    /// What was asked.
    pub request: &'a Stored,
    /// What happens.
    pub journal: Journal,
    /// The undo records.
    pub undo: Log,
    /// `rpm` and `systemctl`.
    pub tools: Tools,
    /// To be run at the end of the stage.
    pub pending: BTreeSet<Reaction>,
    /// Validators that passed, or will run after placing, in this stage.
    pub validated: BTreeSet<Validator>,
    /// Resources changed.
    pub changed: usize,
    /// The revert timer runs.
    pub armed: bool,
    /// VIPs on this host when it was armed.
    pub vips_before: Vec<String>,
}
