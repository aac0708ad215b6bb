//! `hapair rollback`: roll transactions back on both hosts.

use std::time::Duration;

use serde_json::json;

use super::rollback_flow::{RollbackFlow, confirm, foreign};
use crate::cli::args::{Global, RollbackArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::inventory::Side;
use crate::rollout::{RollbackOptions, RollbackReport, Selection};
use crate::state::{Goal, TxnId};

pub(crate) async fn run(global: &Global, args: &RollbackArgs, ui: &Ui) -> Result<Exit, Failure> {
    let which = match &args.transaction {
        None => Selection::LastRun,
        Some(text) => Selection::Named(
            TxnId::new(text).ok_or_else(|| Failure::usage(format!("not a transaction's identifier: {text}")))?,
        ),
    };
    let session = Session::load(global)?;
    let mut back = RollbackFlow::planned(&session, ui, &which, foreign(args.force), Goal::Rollback).await?;
    if Side::BOTH.into_iter().all(|host| back.what.is_empty_on(host)) {
        ui.say("nothing to roll back");
        let changed = back.changed(&RollbackReport::default());
        ui.summary("rollback", Exit::Done, changed, json!({ "rolled_back": {} }));
        back.pair.close().await;
        return Ok(Exit::Done);
    }
    back.show();
    confirm(ui, "roll this back?", "rolled back")?;
    let options = RollbackOptions {
        confirm_timeout: args.confirm_timeout,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(args.gate_timeout),
        left_stopped: None,
    };
    let report = back.carry_out(&options).await?;
    ui.finish();
    back.tell(&report);
    let particular = json!({ "rolled_back": back.transactions(), "stays": back.stays(&report) });
    ui.summary("rollback", Exit::Done, back.changed(&report), particular);
    back.pair.close().await;
    Ok(Exit::Done)
}
