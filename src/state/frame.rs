//! What travels over the one exec of a host: one JSON object a line, in both directions.
//!
//! ```text
//! controller                         host (hapair-agent serve)
//!                        <-  Hello {facts}
//! Desired {state}        ->
//!                        <-  Plan
//! Apply {txn, stages}    ->
//!                        <-  Event … Event (the last is Finished)
//! Bye                    ->
//! ```
//!
//! A request that fails is answered by [`Reply::Error`] and leaves the conversation usable.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::event::Event;
use super::facts::Facts;
use super::fault::Fault;
use super::plan::Plan;
use super::preflight::Segment;
use super::resource::{HostState, Stage};
use super::status::HostStatus;
use super::transaction::{HostRollback, HostRollbackPlan, Transaction};
use super::txn_id::TxnId;
use super::unit_action::UnitAction;

/// Version of this protocol; both sides are built from one tree, so any difference is a stale executor.
pub const PROTOCOL: u32 = 1;

/// From the controller to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Compare; answered by [`Reply::Plan`]. Read-only.
    Desired {
        /// What the host should be.
        state: Box<HostState>,
    },
    /// Converge the last desired state; answered by events up to `Finished`.
    ///
    /// Refused when the host moved since the plan (`fingerprint`). One that is there already is followed from its start.
    Apply {
        /// New transaction.
        txn: TxnId,
        /// The plan's fingerprint.
        fingerprint: String,
        /// Only these stages, in order.
        stages: Vec<Stage>,
        /// Seconds until an unconfirmed change that could cut SSH is reverted.
        confirm_timeout: u64,
        /// Who applies, for lock and journal.
        operator: Operator,
    },
    /// Answered by [`Reply::History`]. Read-only.
    History,
    /// What rolling back these transactions would change; answered by [`Reply::RollbackPlan`]. Read-only.
    ///
    /// Refused when somebody else changed a file since, or a later transaction is in force.
    #[serde(rename = "plan_put_back")]
    PlanRollback {
        /// Which, and how.
        back: HostRollback,
    },
    /// Roll back these transactions, in a transaction of its own; answered by events up to `Finished`.
    ///
    /// Refused when the host moved since the plan (`fingerprint`). One that is there already is followed from its start.
    #[serde(rename = "put_back")]
    Rollback {
        /// New transaction.
        txn: TxnId,
        /// The plan's fingerprint.
        fingerprint: String,
        /// Which, and how.
        back: HostRollback,
        /// Seconds until an unconfirmed change that could cut SSH is reverted.
        confirm_timeout: u64,
        /// Who does it, for lock and journal.
        operator: Operator,
    },
    /// Remove what is left of hapair once everything is rolled back: its history and its executors, the running one
    /// last; answered by [`Reply::Ack`].
    Purge,
    /// Check the files of these stages as they will be, on this host, without placing any; answered by
    /// [`Reply::Ack`]. What cannot be checked yet (its program is not installed) is left to the transaction.
    Validate {
        /// Which.
        stages: Vec<Stage>,
    },
    /// Follow a transaction's journal; answered by events with `seq > after`.
    Attach {
        /// Which.
        txn: TxnId,
        /// Last event already seen.
        after: u64,
    },
    /// The host was reached over a fresh connection; answered by [`Reply::Ack`].
    Confirm {
        /// Which.
        txn: TxnId,
    },
    /// Stop at the next step and revert this transaction; answered by [`Reply::Ack`]; its events tell
    /// the rest.
    Cancel {
        /// Which.
        txn: TxnId,
    },
    /// Answered by [`Reply::Status`].
    Status {
        /// What the pair's inventory says of this host.
        state: Box<HostState>,
        /// How closely to look.
        #[serde(default)]
        look: Look,
    },
    /// Take, keep or release the host's operator lock; answered by [`Reply::Locked`] ([`Reply::Ack`] where it is
    /// released) or an error that names the holder. Everything that changes the host needs it.
    Lock {
        /// `None` releases it.
        operator: Option<Operator>,
    },
    /// Break something on purpose; the host undoes it after `undo_after`; answered by [`Reply::Ack`].
    Inject {
        /// What.
        fault: Fault,
        /// Seconds.
        undo_after: u64,
    },
    /// Undo an injected fault now; answered by [`Reply::Ack`].
    Repair {
        /// What.
        fault: Fault,
    },
    /// Report which of these addresses the host owns, now and at each change, as [`Reply::Owned`], until `Unwatch`.
    Watch {
        /// Without prefix.
        addresses: Vec<String>,
    },
    /// Ends `Watch`; answered by [`Reply::Ack`].
    Unwatch,
    /// HTTP GET from this host, for when the controller cannot reach the VIP; answered by [`Reply::Fetched`].
    Fetch {
        /// `http://…`, an IP literal or `localhost` as host.
        url: String,
        /// ms for the whole exchange.
        timeout_ms: u64,
    },
    /// Who else on the segment has the VIPs or the `virtual_router_id` of these instances of the last desired state;
    /// answered by [`Reply::Segment`] after some seconds of listening. Read-only.
    Segment {
        /// By name.
        instances: Vec<String>,
    },
    /// What the host's clock shows; answered by [`Reply::Clock`].
    Clock,
    /// TCP connect from this host, closed at once: the executor has no TLS, so of a port that does this is all it can
    /// see; answered by [`Reply::Ack`] or an error that says why not.
    Connect {
        /// `address:port`, an IP literal.
        address: String,
        /// ms.
        timeout_ms: u64,
    },
    /// Start, stop, reload or restart a unit, for handovers; answered by [`Reply::Ack`].
    Unit {
        /// With suffix.
        unit: String,
        /// Which.
        action: UnitAction,
    },
    /// Move VIPs, or be in election again as configured, by whichever engine runs; answered by [`Reply::Ack`].
    Vrrp {
        /// Which.
        order: VrrpOrder,
    },
    /// Restart the host, a moment after the answer; answered by [`Reply::Ack`].
    ///
    /// Refused while a change waits for its confirm (the boot would revert it) or a transaction runs.
    Reboot {
        /// Who asks, for the lock.
        operator: Operator,
        /// Seconds of the next boot in which VRRP does not start, unless [`VrrpOrder::Resume`] comes first; `None`: it
        /// starts as ever.
        silent: Option<u64>,
    },
    /// Close.
    Bye,
}

impl Request {
    /// Asked twice, it does what it does when asked once: also a connection that was lost before the answer came is no
    /// reason not to ask again. ([`Request::Apply`] and [`Request::Rollback`] are told apart by their transaction.)
    pub fn is_repeatable(&self) -> bool {
        match self {
            Request::Desired { .. }
            | Request::Apply { .. }
            | Request::History
            | Request::PlanRollback { .. }
            | Request::Rollback { .. }
            | Request::Validate { .. }
            | Request::Attach { .. }
            | Request::Cancel { .. }
            | Request::Status { .. }
            | Request::Lock { .. }
            | Request::Repair { .. }
            | Request::Unwatch
            | Request::Fetch { .. }
            | Request::Clock
            | Request::Segment { .. }
            | Request::Connect { .. }
            | Request::Unit { .. }
            | Request::Vrrp {
                order: VrrpOrder::Resume | VrrpOrder::Hold { .. } | VrrpOrder::TakeOver { .. },
            }
            | Request::Bye => true,
            // It counts for one connection, is refused where it is done already, or takes away what would answer.
            Request::Purge
            | Request::Vrrp {
                order: VrrpOrder::HandOver { .. },
            }
            | Request::Confirm { .. }
            | Request::Inject { .. }
            | Request::Watch { .. }
            | Request::Reboot { .. } => false,
        }
    }
}

/// What a host's VRRP engine is told beside its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpOrder {
    /// Hand the VIPs over, and be held.
    HandOver {
        /// Seconds for which the host is held; `None`: until [`VrrpOrder::Resume`].
        hold: Option<u64>,
    },
    /// Keep the VIPs that are owned, and take none from a living owner. keepalived cannot.
    Hold {
        /// Seconds; `None`: until [`VrrpOrder::Resume`].
        seconds: Option<u64>,
    },
    /// Own the VIPs of these instances now, even if another host owns them, by announcing a priority above the
    /// owner's. keepalived cannot.
    ///
    /// Refused where an instance is in FAULT, its checks have not answered yet, or the owner's priority is 255.
    TakeOver {
        /// `VI_1`; the members of a sync group move together.
        instances: Vec<String>,
        /// Seconds for which that priority is announced; `None`: until [`VrrpOrder::Resume`].
        seconds: Option<u64>,
    },
    /// Be in election again as configured: ends holds and raised priorities.
    Resume,
}

/// Who works on a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// `user@machine`, for people.
    pub name: String,
    /// One run of the command line: a later connection of the same run (its address changed, say) takes the lock over
    /// from the earlier one, whose link may never be told to end.
    pub run: String,
    /// What becomes of a lock that another run holds.
    #[serde(default)]
    pub if_held: IfHeld,
}

/// What becomes of an operator lock that another run holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfHeld {
    /// It stays, and we are refused.
    #[default]
    Refuse,
    /// It is ours from now on. A transaction of the other run that is under way runs to its end; every further step
    /// of that run is refused.
    Break,
}

/// Whose lock was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// `user@machine`.
    pub operator: String,
    /// Held it since, ms since 1970, the host's clock.
    pub since_ms: u64,
}

/// How closely a status looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Engine, instances, nginx: what a health gate asks ten times a second.
    #[default]
    Glance,
    /// Also what somebody else changed, by whom, and the last transactions.
    Whole,
}

/// From the host to the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// First frame, unasked.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The host as it is.
        facts: Box<Facts>,
    },
    /// Answer to `Desired`.
    Plan {
        /// The difference.
        plan: Plan,
    },
    /// Answer to `History`: every transaction, oldest first.
    History {
        /// The transactions.
        transactions: Vec<Transaction>,
        /// Something of hapair's own is on the host besides the executor: its history, its agent, its units.
        installed: bool,
    },
    /// Answer to `PlanRollback`.
    #[serde(rename = "put_back_plan")]
    RollbackPlan {
        /// The difference.
        plan: HostRollbackPlan,
    },
    /// A line of a transaction's journal.
    Event {
        /// Which transaction.
        txn: TxnId,
        /// The line.
        event: Event,
    },
    /// Answer to `Status`.
    Status {
        /// At a glance.
        status: HostStatus,
    },
    /// Answer to `Lock`: it is held.
    Locked {
        /// Somebody else held it, and does no longer.
        broke: Option<TakenOver>,
        /// A transaction that runs on the host, or waits for its confirm: it must end before another one.
        running: Option<TxnId>,
    },
    /// Done as asked.
    Ack,
    /// Addresses among the watched that the host owns now.
    Owned {
        /// ms since 1970, the host's clock.
        at_ms: u64,
        /// Without prefix.
        addresses: Vec<String>,
    },
    /// Answer to `Fetch`.
    Fetched {
        /// HTTP status; 0 when no answer came.
        status: u16,
        /// Value of hapair's own response header, empty when there is none.
        node: String,
        /// Why there was no answer.
        error: String,
    },
    /// Answer to `Clock`.
    Clock {
        /// ms since 1970.
        at_ms: u64,
    },
    /// Answer to `Segment`.
    Segment {
        /// Who was seen and heard.
        seen: Segment,
    },
    /// The request failed.
    Error {
        /// Lower case, no final period.
        message: String,
        /// What to do now.
        hints: Vec<String>,
    },
}

/// Only text travels: the causes become part of the message.
impl From<Error> for Reply {
    fn from(error: Error) -> Reply {
        Reply::Error {
            message: error.in_full(),
            hints: error.hints,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_travels_with_its_causes_and_hints() {
        let error = Error::new("cannot write /etc/hosts")
            .because(std::io::Error::from_raw_os_error(28))
            .hint("free some space")
            .context("hosts file");
        let frame = serde_json::to_string(&Reply::from(error)).unwrap();
        let expected = r#"{"reply":"error","message":"hosts file: cannot write /etc/hosts: No space left on device (os error 28)","hints":["free some space"]}"#;
        assert_eq!(frame, expected);
    }
}
