//! `hapair remove`: the hosts as they were before hapair, as far as their transactions know.

use std::time::Duration;

use serde_json::json;

use super::rollback_flow::{RollbackFlow, confirm, foreign};
use crate::cli::args::{Global, RemoveArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::inventory::{Inventory, Side};
use crate::rollout::{Rollback, RollbackOptions, RollbackReport, Selection};
use crate::state::Goal;

pub(crate) async fn run(global: &Global, args: &RemoveArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let goal = if args.packages {
        Goal::RemoveWithPackages
    } else {
        Goal::Remove
    };
    let mut back = RollbackFlow::planned(&session, ui, &Selection::Everything, foreign(args.force), goal).await?;
    if Side::BOTH
        .into_iter()
        .all(|host| back.what.is_empty_on(host) && !back.what.installed[host])
    {
        // The executor came with this very connection.
        back.purge(&session.operator()).await?;
        ui.say("nothing to do: hapair is not installed on either host");
        let changed = back.changed(&RollbackReport::default());
        ui.summary("remove", Exit::Done, changed, json!({ "removed": {} }));
        back.pair.close().await;
        return Ok(Exit::Done);
    }
    back.show();
    let names = back.pair.members.each_ref().map(|m| m.host().to_owned());
    for line in consequences(&session.inventory, &names, &back.what) {
        ui.say(format!("{} {line}", ui.style.yellow("note:")));
    }
    confirm(
        ui,
        "remove hapair and restore both hosts as they were before it?",
        "removed",
    )?;
    let options = RollbackOptions {
        confirm_timeout: args.confirm_timeout,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(45),
        left_stopped: None,
    };
    let again = "run `hapair remove` again to finish";
    let report = back.carry_out(&options).await.map_err(|failure| failure.hint(again))?;
    back.purge(&options.operator).await.map_err(|error| Failure {
        changed: back.changed(&report),
        ..Failure::from(error).hint(again)
    })?;
    ui.finish();
    back.tell(&report);
    ui.say("hapair was removed from both hosts");
    let particular = json!({ "removed": back.transactions(), "stays": back.stays(&report) });
    ui.summary("remove", Exit::Done, back.changed(&report), particular);
    back.pair.close().await;
    Ok(Exit::Done)
}

/// What becomes of the VIPs, and of hapair. A pair that ran before hapair is restored, it does not end.
fn consequences(inventory: &Inventory, names: &[String; 2], what: &Rollback) -> Vec<String> {
    let kept_in_election: Vec<Side> = Side::BOTH
        .into_iter()
        .filter(|host| what.plans[*host].engine_runs_after)
        .collect();
    let kept: Vec<&String> = kept_in_election
        .iter()
        .flat_map(|host| &what.plans[*host].instances)
        .flat_map(|instance| &instance.vips)
        .collect();
    let mut lines = Vec::new();
    match kept_in_election[..] {
        [] => {}
        [host] => lines.push(format!(
            "only {} stays in election, with the configuration it had before hapair",
            names[host]
        )),
        _ => lines.push("the pair continues with the configuration it had before hapair".to_owned()),
    }
    for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
        let vips = instance.virtual_ipaddress.iter().map(|v| v.address.addr().to_string());
        let gone: Vec<String> = vips.filter(|vip| !kept.contains(&vip)).collect();
        if gone.is_empty() {
            continue;
        }
        let (vips, name) = (gone.join(", "), &instance.name);
        lines.push(match kept_in_election.is_empty() {
            true => format!("the pair ends: no host answers on {vips} any more ({name})"),
            false => format!("no host answers on {vips} any more ({name})"),
        });
    }
    lines.push(
        "hapair's agent, history and executor are deleted from both hosts; only `hapair apply` brings them back"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::resource::InstanceRef;
    use crate::state::{Foreign, HostRollback, HostRollbackPlan};

    fn lines(plans: [HostRollbackPlan; 2]) -> String {
        let text = include_str!("../../../inventory.example.yaml");
        let inventory = Inventory::parse(text, std::path::Path::new("inventory.example.yaml")).expect("valid");
        let nothing = || HostRollback {
            transactions: vec![],
            foreign: Foreign::Refuse,
            goal: Goal::Remove,
        };
        let what = Rollback {
            backs: [nothing(), nothing()],
            plans,
            installed: [true, true],
        };
        consequences(&inventory, &["web1".into(), "web2".into()], &what).join("\n")
    }

    fn earlier(vip: &str) -> HostRollbackPlan {
        HostRollbackPlan {
            engine_runs_after: true,
            serves_after: true,
            instances: vec![InstanceRef {
                name: "VI_OLD".into(),
                interface: "enp0s3".into(),
                virtual_router_id: 7,
                priority: 100,
                vips: vec![vip.into()],
            }],
            ..HostRollbackPlan::default()
        }
    }

    #[test]
    fn an_earlier_pair_continues_and_only_a_fresh_pair_ends() {
        let fresh = lines([HostRollbackPlan::default(), HostRollbackPlan::default()]);
        assert!(
            fresh.contains("the pair ends: no host answers on 192.168.0.200 any more"),
            "{fresh}"
        );
        let adopted = lines([earlier("192.168.0.200"), earlier("192.168.0.200")]);
        assert!(
            adopted.contains("the pair continues") && !adopted.contains("answers on"),
            "{adopted}"
        );
        let other_vip = lines([earlier("192.168.0.99"), earlier("192.168.0.99")]);
        assert!(
            other_vip.contains("no host answers on 192.168.0.200 any more"),
            "{other_vip}"
        );
        assert!(!other_vip.contains("the pair ends"), "{other_vip}");
        let one = lines([HostRollbackPlan::default(), earlier("192.168.0.200")]);
        assert!(one.contains("only web2 stays in election"), "{one}");
    }
}
