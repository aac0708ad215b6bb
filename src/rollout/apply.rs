//! Converging the pair: standby first, gate, then the owner, and a proof at the end.

use super::error::RolloutError;
use super::health::verify::verify;
use super::interrupt::Interrupt;
use super::reach::context::Context;
use super::reach::locate::AddressPlan;
use super::reach::pair::Pair;
use super::run::{ApplyOptions, ApplyReport, Run, waiting_for_reboot};

/// Converges a planned pair and proves that it works. `report` is filled in also where it fails.
///
/// # Errors
/// The first failure ends the run: the failing host reverts its transaction.
pub async fn apply(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &ApplyOptions,
    interrupt: Interrupt,
    report: &mut ApplyReport,
) -> Result<(), RolloutError> {
    let mut run = Run::new(cx, options, interrupt, AddressPlan::Inventory);
    run.check_limit(pair)?;
    if pair.members.iter().any(|m| !m.plan.is_empty()) {
        pair.lock(cx.observer, &options.operator).await?;
        let result = run.locked(pair).await;
        pair.unlock().await;
        *report = run.report;
        report.stamp = report.changed.iter().any(|n| *n > 0).then_some(run.stamp);
        report.parts = run.parts;
        result?;
    }
    report.reboot_needed = waiting_for_reboot(pair, options);
    if options.limit.is_none() {
        report.verified = verify(cx, pair, options.gate_timeout, run.interrupt).await?;
    }
    Ok(())
}
