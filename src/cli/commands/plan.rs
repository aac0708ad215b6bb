//! `hapair plan`: what `apply` would change. Changes nothing.

use serde_json::{Value, json};

use crate::cli::args::Global;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::rollout::Pair;

pub(crate) async fn run(global: &Global, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let pair = session.planned_pair(&mut cx).await?;
    ui.finish();
    show(ui, &pair);
    let changes: usize = pair.members.iter().map(|m| m.plan.changes.len()).sum();
    let exit = if changes == 0 { Exit::Done } else { Exit::Changes };
    ui.summary("plan", exit, counts(&pair), json!({}));
    if changes > 0 {
        ui.note("`hapair apply` makes these changes");
    }
    pair.close().await;
    Ok(exit)
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
                flags.push_str("  [may cut SSH: taken back unless confirmed]");
            }
            if change.election_critical {
                flags.push_str("  [decides the election: both hosts in one go]");
            }
            if change.diff.as_deref().is_some_and(changes_router_id) {
                flags.push_str("  [changes virtual_router_id: the VIP is away until both hosts have it]");
            }
            ui.say(format!(
                "  {} {}: {}{}",
                style.cyan("~"),
                change.resource,
                change.summary,
                style.yellow(&flags)
            ));
            if let Some(diff) = &change.diff {
                ui.say(style.diff(diff));
            }
        }
        plan.notes
            .iter()
            .for_each(|note| ui.say(format!("  {} {note}", style.yellow("note:"))));
        if plan.reboot_needed {
            ui.say(format!(
                "  {} takes full effect at the next reboot",
                style.yellow("note:")
            ));
        }
    }
}

/// Two virtual routers never meet: unlike other changes that decide the election this one is an outage.
fn changes_router_id(diff: &str) -> bool {
    diff.lines()
        .any(|l| l.starts_with('-') && l.contains("virtual_router_id"))
}
