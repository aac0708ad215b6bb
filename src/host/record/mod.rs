//! Transactions on disk: `/var/lib/hapair/txn/<id>/` with request, journal, undo log and old files.
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

pub mod exclusive;
pub mod fingerprint;
pub mod history;
pub mod journal;
pub mod request;
pub mod revert_timer;
pub mod tail;
pub mod test_hold;
pub mod txn;
pub mod undo;
