//! The terminal: data to stdout, everything else to stderr.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::human::{Human, Shape};
use super::style::Style;
use crate::cli::args::{Global, Output};
use crate::rollout::{Observer, Progress};

/// The terminal, or what stands in for it.
pub(crate) struct Ui {
    output: Output,
    human: Human,
    /// Colours for stdout.
    pub(crate) style: Style,
    assume_yes: AtomicBool,
}

impl Ui {
    pub(crate) fn new(global: &Global) -> Ui {
        let colours = |tty: bool| Style::new(tty && !global.no_color && std::env::var_os("NO_COLOR").is_none());
        let tty = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let shape = if tty && !global.no_progress {
            Shape::Bars
        } else {
            Shape::Lines
        };
        Ui {
            output: global.output,
            human: Human::new(shape, colours(tty), global.verbose),
            style: colours(std::io::stdout().is_terminal()),
            assume_yes: AtomicBool::new(global.yes),
        }
    }

    /// stdout carries JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// A line of data for people; nothing in JSON mode.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.is_json() {
            self.human.suspend(|| out(line.as_ref()));
        }
    }

    /// One JSON object; nothing in human mode.
    pub(crate) fn json(&self, value: &Value) {
        if self.is_json() {
            out(&value.to_string());
        }
    }

    /// The last JSON object of a command.
    pub(crate) fn summary(&self, command: &str, exit: crate::cli::Exit, changed: Value, particular: Value) {
        let mut summary = serde_json::json!({
            "type": "summary", "command": command, "exit_code": exit.code(), "changed": changed,
        });
        if let (Some(all), Value::Object(more)) = (summary.as_object_mut(), particular) {
            all.extend(more);
        }
        self.json(&summary);
    }

    /// A line on stderr.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        self.human.line(line.as_ref());
    }

    /// `error:` and `hint:` lines on stderr, and an object in JSON mode.
    pub(crate) fn error(&self, host: Option<&str>, message: &str, hints: &[String]) {
        self.human.error(message, hints);
        let mut object = serde_json::json!({ "type": "error", "message": message, "hints": hints });
        if let Some(host) = host {
            object["host"] = host.into();
        }
        self.json(&object);
    }

    /// Questions are put to the operator.
    pub(crate) fn asks(&self) -> bool {
        !self.assume_yes.load(Ordering::Relaxed)
    }

    /// There is a terminal to ask on.
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// `-v` was given.
    pub(crate) fn is_verbose(&self) -> bool {
        self.human.verbose
    }

    /// Asks yes or no. `Err` where nobody can be asked.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, &'static str> {
        if self.assume_yes.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if !self.can_ask() {
            return Err("there is no terminal to ask for confirmation");
        }
        Ok(self.human.suspend(|| ask_yes(question)))
    }

    /// From now on the answer to every question is yes: only twins are at stake.
    pub(crate) fn stop_asking(&self) {
        self.assume_yes.store(true, Ordering::Relaxed);
    }

    /// Progress lines end here: what follows is the result.
    pub(crate) fn finish(&self) {
        self.human.finish();
    }
}

impl Observer for Ui {
    fn tell(&self, progress: Progress) {
        if let Ok(value) = serde_json::to_value(&progress) {
            self.json(&value);
        }
        self.human.tell(&progress);
    }
}

/// Reads one line; only `y` and `yes` are a yes.
pub(crate) fn ask_yes(question: &str) -> bool {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Writes a line to stdout; a reader that went away (`| head`) is no error.
fn out(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
