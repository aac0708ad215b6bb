//! What `rollback` and `remove` have in common: looking, asking, doing, telling.

use serde_json::{Map, Value, json};

use super::plan::show;
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::{Session, interrupts};
use crate::cli::ui::Ui;
use crate::inventory::Side;
use crate::rollout::{
    self, Context, Pair, Progress, Rollback, RollbackOptions, RollbackReport, RolloutError, Selection,
};
use crate::state::frame::Operator;
use crate::state::{Foreign, Goal, TxnId};

/// A connected pair, and what is to be rolled back on it.
pub(super) struct RollbackFlow<'a> {
    cx: Context<'a>,
    pub(super) pair: Pair,
    pub(super) what: Rollback,
    ui: &'a Ui,
}

impl<'a> RollbackFlow<'a> {
    /// Connects and finds out what would change; touches nothing.
    pub(super) async fn planned(
        session: &'a Session,
        ui: &'a Ui,
        which: &Selection,
        foreign: Foreign,
        goal: Goal,
    ) -> Result<RollbackFlow<'a>, Failure> {
        let mut cx = session.context(ui)?;
        let mut pair = Pair::connect(&mut cx).await?;
        let what = rollout::plan_rollback(&mut pair, which, foreign, goal).await?;
        ui.finish();
        Ok(RollbackFlow { cx, pair, what, ui })
    }

    /// Does it. A failure tells what was changed all the same.
    pub(super) async fn carry_out(&mut self, options: &RollbackOptions) -> Result<RollbackReport, Failure> {
        let mut report = RollbackReport::default();
        let (cx, pair) = (&self.cx, &mut self.pair);
        let done = rollout::rollback(cx, pair, &self.what, options, interrupts()?, &mut report).await;
        match done {
            Ok(()) => Ok(report),
            Err(error) => Err(Failure {
                changed: self.changed(&report),
                ..Failure::from(error)
            }),
        }
    }

    /// Removes hapair itself from both hosts.
    pub(super) async fn purge(&mut self, operator: &Operator) -> Result<(), RolloutError> {
        rollout::purge(&self.cx, &mut self.pair, operator).await
    }

    /// What is to be done, for people and as JSON.
    pub(super) fn show(&self) {
        show_plan(self.ui, &self.pair, &self.what);
    }

    /// What was done, and what could not be.
    pub(super) fn tell(&self, report: &RollbackReport) {
        tell(self.ui, &self.pair, &self.what, report);
    }

    /// Changes by host, for the summary.
    pub(super) fn changed(&self, report: &RollbackReport) -> Value {
        by_host(&self.pair, report.changed.map(|n| json!(n)))
    }

    /// Transactions by host, for the summary.
    pub(super) fn transactions(&self) -> Value {
        by_host(
            &self.pair,
            self.what.backs.each_ref().map(|back| json!(back.transactions)),
        )
    }

    /// What stays by host, for the summary.
    pub(super) fn stays(&self, report: &RollbackReport) -> Value {
        by_host(&self.pair, report.stays.each_ref().map(|stays| json!(stays)))
    }
}

/// `--force`.
pub(super) fn foreign(force: bool) -> Foreign {
    if force { Foreign::Overwrite } else { Foreign::Refuse }
}

/// Asks; without a terminal that needs `--yes`.
pub(super) fn confirm(ui: &Ui, question: &str, verb: &str) -> Result<(), Failure> {
    match ui.confirm(question) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, format!("nothing was {verb}: declined"))),
        Err(why) => {
            Err(Failure::new(Exit::Usage, format!("nothing was {verb}: {why}"))
                .hint("pass --yes to do it without asking"))
        }
    }
}

fn show_plan(ui: &Ui, pair: &Pair, what: &Rollback) {
    for (member, back) in pair.members.iter().zip(&what.backs) {
        let plan = Progress::Plan {
            host: member.host().to_owned(),
            plan: member.plan.clone(),
        };
        ui.json(&serde_json::to_value(&plan).unwrap_or_default());
        if !back.transactions.is_empty() {
            let names: Vec<&str> = back.transactions.iter().map(TxnId::as_str).collect();
            ui.say(format!(
                "{}: rolls back {}",
                ui.style.bold(member.host()),
                names.join(", ")
            ));
        }
    }
    show(ui, pair);
}

fn tell(ui: &Ui, pair: &Pair, what: &Rollback, report: &RollbackReport) {
    for (host, member) in Side::BOTH.into_iter().zip(&pair.members) {
        let back = &what.backs[host].transactions;
        let count = match back.len() {
            1 => "1 transaction".to_owned(),
            n => format!("{n} transactions"),
        };
        ui.say(format!(
            "{}: {count} rolled back, {} changed",
            member.host(),
            report.changed[host]
        ));
        for stays in &report.stays[host] {
            ui.say(format!("  {} {stays}", ui.style.yellow("note:")));
        }
    }
}

fn by_host(pair: &Pair, values: [Value; 2]) -> Value {
    let names = pair.members.iter().map(|m| m.host().to_owned());
    Value::Object(names.zip(values).collect::<Map<_, _>>())
}
