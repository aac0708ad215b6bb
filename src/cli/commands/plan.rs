//! `hapair plan`: what `apply` would change. Changes nothing.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::{Global, PlanArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::findings::{self, Shown};
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::cli::whole_file;
use crate::rollout::{self, Pair, SavedPlan};
use crate::state::error::Doing;
use crate::state::{Drift, Plan, Remedy};

pub(crate) async fn run(global: &Global, args: &PlanArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let written = cx.secrets.clone();
    let mut pair = session.planned_pair(&mut cx).await?;
    let found = rollout::preflight(&cx, &mut pair).await?;
    if let Some(path) = &args.out {
        keep(path, &SavedPlan::new(&session.inventory, &pair, &written, &cx.secrets))?;
    }
    ui.finish();
    show(ui, &pair);
    findings::show(ui, &found, Shown::Serious);
    let blocking = findings::blocking(&found, &args.accepted.accept);
    let changes: usize = pair.members.iter().map(|m| m.plan.changes.len()).sum();
    let exit = match (blocking.is_empty(), changes) {
        (false, _) => Exit::Blocked,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Changes,
    };
    let waiting = pair.members.iter().filter(|m| m.plan.reboot_needed);
    let waiting: Vec<&str> = waiting.map(|m| m.host()).collect();
    ui.summary(
        "plan",
        exit,
        counts(&pair),
        json!({ "reboot_needed": waiting, "findings": findings::counts(&found) }),
    );
    if !blocking.is_empty() {
        ui.note(format!(
            "`hapair apply` would refuse this: {}",
            findings::how_to_accept(&blocking)
        ));
    } else if changes > 0 {
        let file = args
            .out
            .as_ref()
            .map(|f| format!(" {}", f.display()))
            .unwrap_or_default();
        // A saved plan holds no acceptance.
        let accepted = match &findings::blocking(&found, &[])[..] {
            [] => String::new(),
            ids => format!(" {}", findings::options(ids)),
        };
        ui.note(format!("run `hapair apply{file}{accepted}` to make these changes"));
    }
    pair.close().await;
    Ok(exit)
}

/// Writes a plan whole or not at all, for its owner only.
fn keep(path: &Path, plan: &SavedPlan) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(plan).map_err(std::io::Error::from);
    Ok(whole_file::write(path, 0o600, text.at("write", path)?.as_bytes())?)
}

/// Number of changes by host.
pub(crate) fn counts(pair: &Pair) -> Value {
    pair.members
        .iter()
        .map(|m| (m.host().to_owned(), json!(m.plan.changes.len())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Both plans, for people.
pub(crate) fn show(ui: &Ui, pair: &Pair) {
    for member in &pair.members {
        let plan = &member.plan;
        let style = ui.style;
        if plan.is_empty() {
            ui.say(format!("{}: nothing to do", style.bold(member.host())));
        } else {
            ui.say(format!(
                "{}: {} to change",
                style.bold(member.host()),
                plan.changes.len()
            ));
        }
        for change in &plan.changes {
            let mut flags = String::new();
            if change.cuts_ssh {
                flags.push_str("  [may cut SSH: reverted unless confirmed]");
            }
            if change.election_critical {
                flags.push_str("  [election-critical: both hosts change together]");
            }
            if change.diff.as_deref().is_some_and(changes_router_id) {
                flags.push_str("  [changes virtual_router_id: the VIP is down until both hosts have it]");
            }
            ui.say(format!(
                "  {} {}: {}{}",
                style.cyan("~"),
                change.resource,
                change.summary,
                style.yellow(&flags)
            ));
            let by_hand = plan.drift.iter().filter(|d| d.resource == change.resource);
            by_hand.for_each(|drift| ui.say(format!("    {}", style.yellow(&drift.account()))));
            if let Some(diff) = &change.diff {
                ui.say(style.diff(diff));
            }
        }
        // What no change above is about: an apply leaves it as it is.
        let kept = |drift: &&Drift| plan.changes.iter().all(|c| c.resource != drift.resource);
        for drift in plan.drift.iter().filter(kept) {
            show_drift(ui, drift);
        }
        show_notes(ui, plan, "  ");
    }
}

/// One resource that is no longer as hapair left it, with what was done to it.
pub(crate) fn show_drift(ui: &Ui, drift: &Drift) {
    let mark = ui.style.yellow("drift:");
    ui.say(format!("  {mark} {}: {}", drift.resource, drift.account()));
    if let Some(diff) = &drift.diff {
        ui.say(ui.style.diff(diff));
    }
}

/// What the operator should know besides the changes.
fn show_notes(ui: &Ui, plan: &Plan, indent: &str) {
    let note = |text: &str| ui.say(format!("{indent}{} {text}", ui.style.yellow("note:")));
    plan.notes.iter().for_each(|text| note(text));
    if plan.reboot_needed {
        note(
            "takes full effect after a reboot; `apply --reboot` reboots one host at a time and moves the VIP away \
             first",
        );
    }
}

/// Only what is overwritten, and the notes, each once: for an apply that nobody is asked about, whose progress names every
/// change anyway.
pub(crate) fn show_notes_only(ui: &Ui, pair: &Pair) {
    let mut merged = Plan::default();
    for member in &pair.members {
        let overwritten = member.plan.drift.iter().filter(|d| d.remedy == Remedy::PutsRight);
        for drift in overwritten {
            let mark = ui.style.yellow("drift:");
            ui.say(format!(
                "{mark} {}: {}: {}",
                member.host(),
                drift.resource,
                drift.account()
            ));
        }
    }
    for plan in pair.members.iter().map(|m| &m.plan) {
        merged.reboot_needed |= plan.reboot_needed;
        merged.notes.extend(plan.notes.iter().cloned());
    }
    merged.notes.sort();
    merged.notes.dedup();
    show_notes(ui, &merged, "");
}

/// Two virtual routers never meet: unlike other changes that decide the election this one is an outage.
fn changes_router_id(diff: &str) -> bool {
    diff.lines()
        .any(|l| l.starts_with('-') && l.contains("virtual_router_id"))
}
