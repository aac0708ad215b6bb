//! `hapair remove`: the hosts as they were before hapair, as far as their transactions know.

use std::time::Duration;

use serde_json::json;

use crate::cli::args::{Global, RemoveArgs};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::session::{Session, interrupts};
use crate::cli::ui::Ui;
use crate::rollout::{self, Pair, RollbackOptions, RollbackReport, Which};
use crate::state::{Foreign, Goal};

use super::rollback::{changed, confirm, show_plan, stays, tell, transactions};

pub(crate) async fn run(global: &Global, args: &RemoveArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let mut pair = Pair::connect(&mut cx).await?;
    let foreign = if args.force {
        Foreign::Overwrite
    } else {
        Foreign::Refuse
    };
    let goal = if args.packages {
        Goal::RemoveWithPackages
    } else {
        Goal::Remove
    };
    let what = rollout::plan_rollback(&mut pair, &Which::Everything, foreign, goal).await?;
    ui.finish();
    if (0..2).all(|host| what.is_empty_on(host) && !what.installed[host]) {
        // The executor came with this very connection.
        rollout::purge(&cx, &mut pair, &session.operator()).await?;
        ui.say("nothing to do: there is nothing of hapair on either host");
        ui.summary("remove", Exit::Done, changed(&pair, [0, 0]), json!({ "removed": {} }));
        pair.close().await;
        return Ok(Exit::Done);
    }
    show_plan(ui, &pair, &what);
    for instance in session.inventory.vrrp.iter().flat_map(|v| &v.instances) {
        let vips: Vec<String> = instance
            .virtual_ipaddress
            .iter()
            .map(|v| v.address.to_string())
            .collect();
        ui.say(format!(
            "{} the pair ends: no host answers on {} any more ({})",
            ui.style.yellow("note:"),
            vips.join(", "),
            instance.name
        ));
    }
    ui.say(format!(
        "{} hapair's agent, history and executor go from both hosts; there is no way back but `hapair apply`",
        ui.style.yellow("note:")
    ));
    confirm(ui, "take the pair down and put the hosts back?", "removed")?;
    let options = RollbackOptions {
        confirm_timeout: args.confirm_timeout,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(45),
    };
    let mut report = RollbackReport::default();
    let mut done = rollout::rollback(&cx, &mut pair, &what, None, &options, interrupts()?, &mut report).await;
    if done.is_ok() {
        done = rollout::purge(&cx, &mut pair, &options.operator).await;
    }
    done.map_err(|error| Failure {
        changed: changed(&pair, report.changed),
        ..Failure::from(error).hint("run `hapair remove` again to do the rest")
    })?;
    ui.finish();
    tell(ui, &pair, &what, &report);
    ui.say("hapair is gone from both hosts");
    let particular = json!({ "removed": transactions(&pair, &what), "stays": stays(&pair, &report) });
    ui.summary("remove", Exit::Done, changed(&pair, report.changed), particular);
    pair.close().await;
    Ok(Exit::Done)
}
