//! `hapair rehearse`: twins up, apply, re-apply, drill, twins down. Touches nothing real.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::{apply, failover, lab};
use crate::cli::args::{Accepted, ApplyArgs, Global, RehearseArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::runtime::in_lab;
use crate::cli::session::{Session, interrupts};
use crate::cli::ui::Ui;
use crate::lab::Lab;
use crate::rollout::Interrupt;
use crate::state::NetworkManagerKind;

/// One step of the rehearsal, as in the summary.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    passed: bool,
    seconds: f64,
    changed: usize,
}

/// The inventory that is rehearsed when the operator has none yet.
const EXAMPLE: &str = "inventory.example.yaml";

pub(crate) fn run(global: &Global, args: &RehearseArgs, ui: &Ui) -> Result<Exit, Failure> {
    let default = if Path::new("inventory.yaml").exists() {
        "inventory.yaml"
    } else {
        EXAMPLE
    };
    let global = Global {
        lab: true,
        ..global.clone()
    };
    let session = Session::load_or(&global, default)?;
    ui.note(format!(
        "rehearsing {} on twin hosts; nothing real is touched",
        session.inventory.path.display()
    ));
    let mut steps = Steps { ui, done: Vec::new() };
    lab::install_what_is_missing(ui)?;
    if Lab::open(&session.inventory.name).is_ok() {
        return Err(Failure::new(
            Exit::Failed,
            format!("twins of `{}` are already up", session.inventory.name),
        )
        .hint("`hapair --lab COMMAND` works on them; `hapair lab down` removes them"));
    }
    let result = rehearse(&session, args, ui, &mut steps);
    if args.keep {
        lab::ways_in(&session, ui);
    } else {
        let down = steps.run("down", || lab::down(&session, lab::Image::Keep, ui).map(|()| 0));
        if result.is_ok() {
            down?;
        }
    }
    let exit = match &result {
        Ok(exit) => *exit,
        Err(failure) => {
            failure.report(ui);
            failure.exit()
        }
    };
    ui.finish();
    for step in &steps.done {
        let verdict = if step.passed {
            ui.style.green("passed")
        } else {
            ui.style.red("failed")
        };
        let changed = if step.changed > 0 {
            format!(", {} changed", step.changed)
        } else {
            String::new()
        };
        ui.say(format!("{:9} {verdict} in {:5.1} s{changed}", step.name, step.seconds));
    }
    ui.summary("rehearse", exit, json!({}), json!({ "steps": steps.done }));
    Ok(exit)
}

fn rehearse(session: &Session, args: &RehearseArgs, ui: &Ui, steps: &mut Steps<'_>) -> Result<Exit, Failure> {
    // From here on there is something to take down; the twins need no further questions.
    let interrupt = interrupts()?;
    ui.stop_asking();
    let twins = steps.run("up", || lab::up(session, NetworkManagerKind::NetworkService, ui))?;
    in_lab(&twins, async || {
        if interrupt.count() > 0 {
            return Err(Failure::new(Exit::Failed, "interrupted"));
        }
        let options = ApplyArgs {
            accepted: Accepted::default(),
            file: None,
            limit: None,
            undo_on_failure: false,
            reboot: false,
            reboot_timeout: 600,
            confirm_timeout: 120,
            gate_timeout: 60,
        };
        steps.apply("apply", session, &options, &interrupt).await?;
        let again = steps.apply("reapply", session, &options, &interrupt).await?;
        if again > 0 {
            steps.fail_last();
            return Err(Failure::new(
                Exit::Failed,
                format!("the second apply changed {again} resources instead of none"),
            ));
        }
        let began = Instant::now();
        let drilled = failover::drill(session, &args.drill, ui, Some(interrupt)).await;
        let passed = matches!(drilled, Ok(Exit::Done));
        steps.push("failover", passed, began, 0);
        drilled
    })
}

struct Steps<'a> {
    ui: &'a Ui,
    done: Vec<Step>,
}

impl Steps<'_> {
    fn push(&mut self, name: &'static str, passed: bool, began: Instant, changed: usize) {
        let step = Step {
            name,
            passed,
            seconds: began.elapsed().as_secs_f64(),
            changed,
        };
        if let Ok(serde_json::Value::Object(mut object)) = serde_json::to_value(&step) {
            object.insert("type".to_owned(), "step".into());
            self.ui.json(&object.into());
        }
        self.done.push(step);
    }

    fn fail_last(&mut self) {
        if let Some(step) = self.done.last_mut() {
            step.passed = false;
        }
    }

    fn run<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let began = Instant::now();
        let result = work();
        self.push(name, result.is_ok(), began, 0);
        result
    }

    async fn apply(
        &mut self,
        name: &'static str,
        session: &Session,
        options: &ApplyArgs,
        interrupt: &Interrupt,
    ) -> Result<usize, Failure> {
        let began = Instant::now();
        let result = apply::apply(session, options, None, self.ui, Some(interrupt.clone())).await;
        let changed = result.as_ref().map_or(0, |report| report.changed.iter().sum());
        self.push(name, result.is_ok(), began, changed);
        result.map(|_| changed)
    }
}
