//! `hapair apply`: converge the pair and prove that it works.

use std::time::{Duration, Instant};

use serde_json::json;

use super::plan::{show, show_notes_only};
use super::undo_failed_apply::FailedRun;
use crate::cli::args::{ApplyArgs, Global};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::findings::{self, Shown};
use crate::cli::session::{Session, interrupts, unless_interrupted};
use crate::cli::ui::Ui;
use crate::rollout::{self, ApplyOptions, ApplyReport, Interrupt, Pair, SavedPlan};
use crate::state::error::Doing;

pub(crate) async fn run(global: &Global, args: &ApplyArgs, ui: &Ui) -> Result<Exit, Failure> {
    let Some(path) = &args.file else {
        let session = Session::load(global)?;
        return apply(&session, args, None, ui, None).await.map(|_| Exit::Done);
    };
    let text = std::fs::read_to_string(path).at("read", path).map_err(|e| {
        e.with_kind(Exit::Usage)
            .hint("write a plan with `hapair plan --out FILE`")
    })?;
    let plan = SavedPlan::parse(&text).map_err(|e| e.context(path.display().to_string()))?;
    let global = Global {
        inventory: Some(global.inventory.clone().unwrap_or_else(|| plan.inventory.clone())),
        ..global.clone()
    };
    let session = Session::load(&global)?;
    apply(&session, args, Some(&plan), ui, None).await.map(|_| Exit::Done)
}

/// Converges and reports; also a step of the rehearsal, which listens to Ctrl-C already.
pub(crate) async fn apply(
    session: &Session,
    args: &ApplyArgs,
    saved: Option<&SavedPlan>,
    ui: &Ui,
    interrupt: Option<Interrupt>,
) -> Result<ApplyReport, Failure> {
    let began = Instant::now();
    let mut cx = session.context(ui)?;
    if let Some(plan) = saved {
        plan.complete(&mut cx.secrets);
    }
    let mut pair = unless_interrupted(interrupt.as_ref(), session.planned_pair(&mut cx)).await?;
    if let Some(plan) = saved {
        plan.check(&pair)?;
    }
    let looked = async { Ok(rollout::preflight(&cx, &mut pair).await?) };
    let found = unless_interrupted(interrupt.as_ref(), looked).await?;
    // A saved plan was agreed to when it was made.
    let to_agree = saved.is_none() && pair.members.iter().any(|m| !m.plan.is_empty());
    ui.finish();
    if to_agree {
        show_changes(ui, &pair);
    }
    findings::show(ui, &found, Shown::Serious);
    findings::refuse(&found, &args.accepted.accept)?;
    if to_agree {
        agree(ui)?;
    }
    let options = ApplyOptions {
        limit: args.limit.clone(),
        confirm_timeout: args.confirm_timeout,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(args.gate_timeout),
    };
    let interrupt = match interrupt {
        Some(interrupt) => interrupt,
        None => interrupts()?,
    };
    let names = pair.members.each_ref().map(|member| member.host().to_owned());
    let mut report = ApplyReport::default();
    let applied = rollout::apply(&cx, &mut pair, &options, interrupt.clone(), &mut report).await;
    if let Err(error) = applied {
        let failure = Failure {
            changed: counts(&names, &report),
            ..Failure::from(error)
        };
        let run = FailedRun {
            report: &report,
            undo_on_failure: args.undo_on_failure,
            options: &options,
            ui,
        };
        return Err(run.undo(&cx, &mut pair, failure, interrupt).await);
    }
    if !report.reboot_needed.is_empty() && may_reboot(args, &report, ui) {
        let patience = Duration::from_secs(args.reboot_timeout);
        let done = rollout::reboot(&cx, &mut pair, &options, patience, interrupt, &mut report).await;
        done.map_err(|error| Failure {
            changed: counts(&names, &report),
            ..Failure::from(error)
        })?;
    }
    let changed = counts(&names, &report);
    ui.finish();
    tell(ui, &names, &report);
    let particular = json!({
        "verified": report.verified, "reboot_needed": report.reboot_needed,
        "rebooted": report.rebooted,
        "seconds": began.elapsed().as_secs_f64(),
    });
    ui.summary("apply", Exit::Done, changed, particular);
    pair.close().await;
    Ok(report)
}

/// The changes, or only what is noteworthy where nobody is asked.
fn show_changes(ui: &Ui, pair: &Pair) {
    if ui.asks() || ui.is_verbose() {
        show(ui, pair);
    } else {
        show_notes_only(ui, pair);
    }
}

/// Asks whether the changes shall be made.
fn agree(ui: &Ui) -> Result<(), Failure> {
    match ui.confirm("apply these changes?") {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, "not applied: declined")),
        Err(why) => {
            Err(Failure::new(Exit::Usage, format!("not applied: {why}")).hint("pass --yes to apply without asking"))
        }
    }
}

/// What became of it, for people.
fn tell(ui: &Ui, names: &[String; 2], report: &ApplyReport) {
    for (name, changed) in names.iter().zip(report.changed) {
        ui.say(format!("{name}: {changed} changed"));
    }
    for v in &report.verified {
        ui.say(v.to_string());
    }
    for host in &report.rebooted {
        ui.say(format!("{host}: rebooted"));
    }
    for host in &report.reboot_needed {
        ui.say(format!(
            "{host}: a reboot is needed for all changes to take effect; `hapair apply --reboot` reboots one host at \
             a time, standby first"
        ));
    }
}

/// On request, or by the operator's word; `--yes` alone says nothing about it.
fn may_reboot(args: &ApplyArgs, report: &ApplyReport, ui: &Ui) -> bool {
    if args.reboot {
        return true;
    }
    if !ui.asks() || !ui.can_ask() {
        return false;
    }
    ui.finish();
    let hosts = report.reboot_needed.join(" and ");
    let question = format!(
        "{hosts}: a reboot is needed for all changes to take effect; reboot now, one host at a \
        time?"
    );
    ui.confirm(&question).unwrap_or(false)
}

fn counts(names: &[String; 2], report: &ApplyReport) -> serde_json::Value {
    json!({ names[0].as_str(): report.changed[0], names[1].as_str(): report.changed[1] })
}
