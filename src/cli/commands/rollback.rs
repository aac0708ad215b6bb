//! `hapair rollback`: put back what transactions replaced, on both hosts.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::args::{Global, RollbackArgs};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::session::{Session, interrupts};
use crate::cli::ui::Ui;
use crate::rollout::{self, Pair, Progress, Rollback, RollbackOptions, RollbackReport, Which};
use crate::state::{Foreign, Goal, TxnId};

use super::plan::show;

pub(crate) async fn run(global: &Global, args: &RollbackArgs, ui: &Ui) -> Result<Exit, Failure> {
    let which = match &args.transaction {
        None => Which::LastRun,
        Some(text) => Which::Named(
            TxnId::new(text).ok_or_else(|| Failure::usage(format!("not a transaction's identifier: {text}")))?,
        ),
    };
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let mut pair = Pair::connect(&mut cx).await?;
    let foreign = if args.force {
        Foreign::Overwrite
    } else {
        Foreign::Refuse
    };
    let what = rollout::plan_rollback(&mut pair, &which, foreign, Goal::Rollback).await?;
    ui.finish();
    if (0..2).all(|host| what.is_empty_on(host)) {
        ui.say("nothing to put back");
        ui.summary(
            "rollback",
            Exit::Done,
            changed(&pair, [0, 0]),
            json!({ "rolled_back": {} }),
        );
        pair.close().await;
        return Ok(Exit::Done);
    }
    show_plan(ui, &pair, &what);
    confirm(ui, "put this back?", "put back")?;
    let options = RollbackOptions {
        confirm_timeout: args.confirm_timeout,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(args.gate_timeout),
    };
    let mut report = RollbackReport::default();
    let done = rollout::rollback(&cx, &mut pair, &what, None, &options, interrupts()?, &mut report).await;
    done.map_err(|error| Failure {
        changed: changed(&pair, report.changed),
        ..Failure::from(error)
    })?;
    ui.finish();
    tell(ui, &pair, &what, &report);
    let particular = json!({ "rolled_back": transactions(&pair, &what), "stays": stays(&pair, &report) });
    ui.summary("rollback", Exit::Done, changed(&pair, report.changed), particular);
    pair.close().await;
    Ok(Exit::Done)
}

/// Asks; without a terminal that needs `--yes`.
pub(crate) fn confirm(ui: &Ui, question: &str, verb: &str) -> Result<(), Failure> {
    match ui.confirm(question) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, format!("nothing was {verb}: declined"))),
        Err(why) => {
            Err(Failure::new(Exit::Usage, format!("nothing was {verb}: {why}"))
                .hint("pass --yes to do it without asking"))
        }
    }
}

/// What is to be done, for people and as JSON.
pub(crate) fn show_plan(ui: &Ui, pair: &Pair, what: &Rollback) {
    for (member, back) in pair.members.iter().zip(&what.backs) {
        let plan = Progress::Plan {
            host: member.host().to_owned(),
            plan: member.plan.clone(),
        };
        ui.json(&serde_json::to_value(&plan).unwrap_or_default());
        if !back.transactions.is_empty() {
            let names: Vec<&str> = back.transactions.iter().map(TxnId::as_str).collect();
            ui.say(format!(
                "{}: puts back {}",
                ui.style.bold(member.host()),
                names.join(", ")
            ));
        }
    }
    show(ui, pair);
}

/// What was done, and what could not be.
pub(crate) fn tell(ui: &Ui, pair: &Pair, what: &Rollback, report: &RollbackReport) {
    for (host, member) in pair.members.iter().enumerate() {
        let back = &what.backs[host].transactions;
        let count = match back.len() {
            1 => "1 transaction".to_owned(),
            n => format!("{n} transactions"),
        };
        ui.say(format!(
            "{}: {count} put back, {} changed",
            member.host(),
            report.changed[host]
        ));
        for stays in &report.stays[host] {
            ui.say(format!("  {} {stays}", ui.style.yellow("note:")));
        }
    }
}

pub(crate) fn changed(pair: &Pair, counts: [usize; 2]) -> Value {
    by_host(pair, counts.map(|n| json!(n)))
}

pub(crate) fn transactions(pair: &Pair, what: &Rollback) -> Value {
    by_host(pair, what.backs.each_ref().map(|back| json!(back.transactions)))
}

pub(crate) fn stays(pair: &Pair, report: &RollbackReport) -> Value {
    by_host(pair, report.stays.each_ref().map(|stays| json!(stays)))
}

fn by_host(pair: &Pair, values: [Value; 2]) -> Value {
    let names = pair.members.iter().map(|m| m.host().to_owned());
    Value::Object(names.zip(values).collect::<Map<_, _>>())
}
