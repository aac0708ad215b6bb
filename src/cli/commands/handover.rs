//! `hapair handover`: the VIP to the other host, for maintenance of this one.

use std::time::Duration;

use serde_json::json;

use crate::cli::args::{Global, HandoverArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::{Session, interrupts};
use crate::cli::ui::Ui;
use crate::rollout::{self, HandoverOptions, Pair};

pub(crate) async fn run(global: &Global, args: &HandoverArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let mut pair = Pair::connect(&mut cx).await?;
    let question = if args.resume {
        "return both hosts to election as configured?"
    } else {
        "move the VIP to the other host?"
    };
    match ui.confirm(question) {
        Ok(true) => {}
        Ok(false) => return Err(Failure::new(Exit::Failed, "nothing was moved: declined")),
        Err(why) => {
            return Err(Failure::new(Exit::Usage, format!("nothing was moved: {why}"))
                .hint("pass --yes to move it without asking"));
        }
    }
    let options = HandoverOptions {
        from: args.from.clone(),
        hold: args.hold,
        operator: session.operator(),
        gate_timeout: Duration::from_secs(args.gate_timeout),
    };
    let interrupt = interrupts()?;
    let particular = if args.resume {
        let statuses = rollout::resume(&cx, &mut pair, &options, interrupt).await?;
        ui.finish();
        let mut owners = serde_json::Map::new();
        for status in &statuses {
            for instance in status.instances.iter().filter(|i| i.owns_vip) {
                ui.say(format!("{} owns the VIP of {}", status.host, instance.name));
                owners.insert(instance.name.clone(), json!(status.host));
            }
        }
        json!({ "owners": owners })
    } else {
        let done = rollout::hand_over(&cx, &mut pair, &options, interrupt).await?;
        ui.finish();
        let until = match args.hold {
            Some(time) => format!("for {} s, or until `hapair handover --resume`", time.as_secs()),
            None => "until `hapair handover --resume`".to_owned(),
        };
        ui.say(format!(
            "{} owns the VIP of {}, {until}",
            done.to,
            done.instances.join(", ")
        ));
        json!({
            "owner_before": done.from, "owner_after": done.to, "instances": done.instances,
            "hold_seconds": args.hold.map(|h| h.as_secs()),
        })
    };
    ui.summary("handover", Exit::Done, json!({}), particular);
    pair.close().await;
    Ok(Exit::Done)
}
