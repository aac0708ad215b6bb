//! `hapair status`: who owns the VIP, and what was changed by hand.

use serde_json::json;

use crate::cli::args::Global;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::rollout;
use crate::state::HostStatus;

pub(crate) async fn run(global: &Global, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let (mut statuses, mut exit) = (Vec::new(), Exit::Done);
    for surveyed in rollout::survey(&mut cx).await {
        match surveyed {
            Ok(status) => statuses.push(status),
            Err(error) => {
                let failure = Failure::from(error);
                exit = failure.exit;
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
            "  {} {state} priority {} {}{}",
            i.name,
            i.priority,
            i.vips.join(" "),
            if i.held {
                ", takes over from no living owner for now"
            } else {
                ""
            }
        ));
    }
    for resource in &status.drift {
        ui.say(format!(
            "  {} changed by hand since the last apply: {resource}",
            ui.style.yellow("drift:")
        ));
    }
}
