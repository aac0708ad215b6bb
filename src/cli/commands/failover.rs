//! `hapair failover`: the drill.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::args::{FailoverArgs, Global};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::session::{Session, interrupts, unless_interrupted};
use crate::cli::ui::Ui;
use crate::drill::report::Format;
use crate::drill::{self, DrillEvent, DrillPlan, DrillReport, Scenario, ScenarioResult};
use crate::rollout::{Interrupt, Observer, Pair, Progress};
use crate::state::error::Doing;

pub(crate) async fn run(global: &Global, args: &FailoverArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    drill(&session, args, ui, None).await
}

/// Drills and reports; also a step of the rehearsal, which listens to Ctrl-C already.
pub(crate) async fn drill(
    session: &Session,
    args: &FailoverArgs,
    ui: &Ui,
    interrupt: Option<Interrupt>,
) -> Result<Exit, Failure> {
    let report_to = report_file(args)?;
    let mut plan = DrillPlan::new(&session.inventory, &args.scenarios, args.budget)?;
    let question = format!(
        "this breaks {} on purpose, on the host that owns the VIP, and repairs it; clients see an outage. continue?",
        plan.scenarios
            .iter()
            .map(Scenario::to_string)
            .collect::<Vec<_>>()
            .join(" and ")
    );
    match ui.confirm(&question) {
        Ok(true) => {}
        Ok(false) => return Err(Failure::new(Exit::Failed, "the drill was not run: declined")),
        Err(why) => {
            return Err(Failure::new(Exit::Usage, format!("the drill was not run: {why}"))
                .hint("pass --yes to run the drill without asking"));
        }
    }
    let mut cx = session.context(ui)?;
    let mut pair = unless_interrupted(interrupt.as_ref(), async { Ok(Pair::connect(&mut cx).await?) }).await?;
    plan.states = pair.members.each_ref().map(|member| member.state.clone());
    pair.lock(cx.observer, &session.operator()).await?;
    let mut links = pair.members.map(|member| member.link);
    let interrupt = match interrupt {
        Some(interrupt) => interrupt,
        None => interrupts()?,
    };
    let already = interrupt.count();
    let cancel = async move {
        interrupt.more_than(already).await;
    };
    let report = drill::run(&mut links, &plan, cancel, &mut |event| tell(ui, &event)).await;
    let [a, b] = links;
    tokio::join!(a.close(), b.close());
    ui.finish();
    let report = report?;
    show(ui, &report);
    let exit = if report.passed() { Exit::Done } else { Exit::OverBudget };
    if let (Some((format, mut file)), Some(path)) = (report_to, &args.report) {
        file.write_all(format.render(&report).as_bytes()).at("write", path)?;
        ui.note(format!("report: {}", path.display()));
    }
    ui.summary("failover", exit, json!({}), json!({ "scenarios": summary(&report) }));
    Ok(exit)
}

/// A report that cannot be written is a usage error before anything is broken.
fn report_file(args: &FailoverArgs) -> Result<Option<(Format, std::fs::File)>, Failure> {
    let Some(path) = &args.report else { return Ok(None) };
    let format = Format::of(path).ok_or_else(|| {
        Failure::usage(format!("{}: unknown form of report", path.display()))
            .hint("the name must end in .html, .json, .xml (JUnit) or .svg")
    })?;
    let file = std::fs::File::create(path)
        .at("write the report", path)
        .map_err(|e| e.with_kind(Exit::Usage))?;
    Ok(Some((format, file)))
}

/// The fields of the contract.
fn summary(report: &DrillReport) -> Vec<Value> {
    let scenario = |s: &ScenarioResult| {
        json!({
            "name": s.name, "passed": s.passed, "outage_ms": s.outage_ms, "budget_ms": s.budget_ms,
            "failed_requests": s.failed_requests, "total_requests": s.total_requests,
            "owner_before": s.owner_before, "owner_after": s.owner_after, "max_owners": s.max_owners,
        })
    };
    report.scenarios.iter().map(scenario).collect()
}

fn tell(ui: &Ui, event: &DrillEvent) {
    let fact = |host: Option<&str>, what: String| {
        ui.tell(Progress::Fact {
            host: host.map(str::to_owned),
            what,
        })
    };
    match event {
        DrillEvent::Started {
            scenario,
            host,
            budget_ms,
        } => {
            fact(
                Some(host),
                format!("{scenario}: {} (budget {budget_ms} ms)", scenario.describe()),
            );
        }
        DrillEvent::Phase(phase) => ui.tell(Progress::Wait {
            host: None,
            what: phase.text().to_owned(),
        }),
        DrillEvent::Probing { .. } => {}
        DrillEvent::Ownership { host, vip, owns, at_ms } => {
            let verb = if *owns { "owns" } else { "no longer owns" };
            fact(Some(host), format!("{verb} {vip} (at {at_ms} ms)"));
        }
        DrillEvent::Note(message) => ui.tell(Progress::Warning {
            host: None,
            message: message.clone(),
        }),
        DrillEvent::Finished(result) => {
            if ui.is_json() {
                let mut object = json!({ "type": "scenario", "host": result.owner_before });
                if let (Some(all), Ok(Value::Object(more))) = (object.as_object_mut(), serde_json::to_value(result)) {
                    all.extend(more);
                }
                ui.json(&object);
            }
        }
    }
}

fn show(ui: &Ui, report: &DrillReport) {
    for s in &report.scenarios {
        let verdict = if s.passed {
            ui.style.green("passed")
        } else {
            ui.style.red("failed")
        };
        let after = s.owner_after.as_deref().unwrap_or("nobody");
        ui.say(format!(
            "{:10} {verdict}  outage {} ms (budget {}), {} of {} requests lost, {} -> {after}, {} at once",
            s.name,
            s.outage_ms,
            s.budget_ms,
            s.failed_requests,
            s.total_requests,
            s.owner_before,
            if s.max_owners == 1 {
                "one owner".to_owned()
            } else {
                format!("{} owners", s.max_owners)
            },
        ));
        s.reasons
            .iter()
            .for_each(|reason| ui.say(format!("           {}", ui.style.red(reason))));
        s.notes
            .iter()
            .for_each(|note| ui.say(format!("           {} {note}", ui.style.yellow("note:"))));
    }
}
