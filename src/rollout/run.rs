//! A rollout under way: what it was asked for, and what it has done so far.

use std::time::{Duration, SystemTime};

use super::error::RolloutError;
use super::health::gate::Gate;
use super::health::verify::Verification;
use super::interrupt::Interrupt;
use super::reach::context::Context;
use super::reach::locate::AddressPlan;
use super::reach::pair::Pair;
use crate::inventory::Side;
use crate::state::UnitAction;
use crate::state::frame::Operator;
use crate::state::time::Utc;
use crate::state::{Engine, HostStatus, Request, TxnId};

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Only this host.
    pub limit: Option<String>,
    /// Seconds until a host reverts an unconfirmed change that could cut SSH.
    pub confirm_timeout: u64,
    /// Who applies, for lock and journal.
    pub operator: Operator,
    /// How long a health gate waits.
    pub gate_timeout: Duration,
}

/// An engine that hapair stopped and could not start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoppedEngine {
    /// On which host.
    pub host: Side,
    /// Which one.
    pub engine: Engine,
}

/// What an apply did.
#[derive(Debug, Clone, Default)]
pub struct ApplyReport {
    /// Resources changed, by host in the inventory's order.
    pub changed: [usize; 2],
    /// Hosts that need a reboot for everything to take effect.
    pub reboot_needed: Vec<String>,
    /// Hosts that were rebooted.
    pub rebooted: Vec<String>,
    /// VIPs that were seen to answer.
    pub verified: Vec<Verification>,
    /// What the transactions of this run share, once one of them changed something: `rollback` takes it.
    pub stamp: Option<String>,
    /// How many transactions there were with it.
    pub(super) parts: u32,
    /// A host whose engine a failure left stopped.
    pub left_stopped: Option<StoppedEngine>,
}

/// A rollout under way; what one transaction takes is in `transact`.
pub(super) struct Run<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) options: &'a ApplyOptions,
    pub(super) interrupt: Interrupt,
    pub(super) report: ApplyReport,
    /// Transactions so far; their ids share the stamp and sort by this number.
    pub(super) parts: u32,
    pub(super) stamp: String,
    /// Where a host is to be found after its network changed.
    pub(super) address_plan: AddressPlan,
}

/// UTC time to the second and four digits that tell two runs of one second apart.
pub(super) fn stamp() -> String {
    let now = SystemTime::now();
    let nanos = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    format!(
        "{}-{:04x}",
        Utc::of(now).compact(),
        (nanos ^ std::process::id()) & 0xffff
    )
}

impl<'a> Run<'a> {
    pub(super) fn new(
        cx: &'a Context<'a>,
        options: &'a ApplyOptions,
        interrupt: Interrupt,
        address_plan: AddressPlan,
    ) -> Run<'a> {
        Run {
            cx,
            options,
            interrupt,
            report: ApplyReport::default(),
            parts: 0,
            stamp: stamp(),
            address_plan,
        }
    }

    /// Identifier of the next transaction.
    pub(super) fn next_transaction(&mut self) -> TxnId {
        self.parts += 1;
        TxnId::new(&format!("{}-{}", self.stamp, self.parts)).expect("letters, digits and dashes")
    }

    pub(super) fn includes(&self, host: &str) -> bool {
        self.options.limit.as_deref().is_none_or(|limit| limit == host)
    }

    /// Starts or stops an engine that runs, or ran a moment ago; the wanted one may be another.
    pub(super) async fn order_engine(
        &self,
        pair: &mut Pair,
        host: Side,
        engine: Engine,
        action: UnitAction,
    ) -> Result<(), RolloutError> {
        let unit = engine.unit().to_owned();
        pair[host].order(Request::Unit { unit, action }).await
    }

    pub(super) fn gate(&self) -> Gate<'_> {
        Gate {
            inventory: self.cx.inventory,
            observer: self.cx.observer,
            timeout: self.options.gate_timeout,
            interrupt: self.interrupt.clone(),
        }
    }

    pub(super) fn tell_owners(&self, statuses: &[HostStatus; 2]) {
        for status in statuses {
            for instance in &status.instances {
                self.cx
                    .observer
                    .fact(&status.host, format!("{} is {}", instance.name, instance.state));
            }
        }
    }

    pub(super) fn half(&self) -> Run<'_> {
        Run {
            cx: self.cx,
            options: self.options,
            interrupt: self.interrupt.clone(),
            report: ApplyReport::default(),
            parts: self.parts,
            stamp: self.stamp.clone(),
            address_plan: self.address_plan,
        }
    }
}

/// Hosts whose plans say so, among those that are worked on.
pub(super) fn waiting_for_reboot(pair: &Pair, options: &ApplyOptions) -> Vec<String> {
    let included = |host: &str| options.limit.as_deref().is_none_or(|limit| limit == host);
    let waiting = pair.members.iter().filter(|m| m.plan.reboot_needed);
    waiting
        .map(|m| m.host().to_owned())
        .filter(|host| included(host))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_makes_a_transaction_id() {
        assert!(TxnId::new(&format!("{}-1", stamp())).is_some());
    }
}
