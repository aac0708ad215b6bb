//! `hapair status`: who owns the VIP, what was changed by hand, by whom and how, and the last transactions.

use std::time::Duration;

use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::rollout;
use crate::state::time::Utc;
use crate::state::{HostStatus, Transaction, TransactionOutcome, TxnId};

use super::plan::show_drift;

pub(crate) async fn run(global: &Global, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let (mut statuses, mut exit) = (Vec::new(), Exit::Done);
    for surveyed in rollout::survey(&mut cx).await {
        match surveyed {
            Ok(status) => statuses.push(status),
            Err(error) => {
                let failure = Failure::from(error);
                exit = failure.exit();
                failure.report(ui);
            }
        }
    }
    ui.finish();
    statuses.iter().for_each(|status| show(ui, status));
    ui.summary("status", exit, json!({}), json!({ "hosts": statuses }));
    Ok(exit)
}

fn show(ui: &Ui, status: &HostStatus) {
    let engine = status
        .engine
        .map_or("no VRRP engine".to_owned(), |e| format!("engine {e}"));
    ui.say(format!(
        "{}: {engine}, nginx {}",
        ui.style.bold(&status.host),
        status.nginx
    ));
    for i in &status.instances {
        let state = if i.owns_vip {
            ui.style.green(&i.state.to_string())
        } else {
            i.state.to_string()
        };
        ui.say(format!(
            "  {} {state} priority {} {}{}{}",
            i.name,
            i.priority,
            i.vips.join(" "),
            if i.held {
                ", held: does not take over from a living owner"
            } else {
                ""
            },
            i.raised.map_or_else(String::new, |raised| format!(
                ", took the VIP over on command and announces priority {raised} (ends with `hapair handover --resume`)"
            ))
        ));
    }
    for check in &status.disabled_checks {
        ui.say(format!("  {}", ui.style.yellow(&check.to_string())));
    }
    for warning in &status.warnings {
        ui.say(format!("  {}", ui.style.yellow(warning)));
    }
    status.drift_details.iter().for_each(|drift| show_drift(ui, drift));
    for transaction in &status.transactions {
        ui.say(format!("  {}", line(ui, transaction)));
    }
}

/// `2026-11-22T16:45:12Z 20261122T164512Z-3f9a-2: applied, 4 changed, by ann@desk`.
fn line(ui: &Ui, transaction: &Transaction) -> String {
    let when = Utc::since_epoch(Duration::from_millis(transaction.at_ms)).rfc3339();
    let outcome = transaction.outcome.to_string();
    let outcome = match transaction.outcome {
        TransactionOutcome::Applied | TransactionOutcome::RolledBack => outcome,
        TransactionOutcome::Running
        | TransactionOutcome::Reverted
        | TransactionOutcome::Interrupted
        | TransactionOutcome::Failed => ui.style.yellow(&outcome),
    };
    let outcome = if transaction.rolls_back.is_empty() {
        outcome
    } else {
        let back: Vec<&str> = transaction.rolls_back.iter().map(TxnId::as_str).collect();
        format!("rolled back {} ({outcome})", back.join(", "))
    };
    format!(
        "{} {}: {outcome}, {} changed, by {}",
        ui.style.dim(&when),
        transaction.id,
        transaction.changed,
        transaction.operator
    )
}
