//! Progress for people: one living line a host on a terminal, plain lines elsewhere.
//!
//! indicatif swallows what is printed through it when stderr is no terminal, so the two ways are apart from the start.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::rollout::Progress;
use crate::state::EventKind;

use super::style::Style;

pub(super) struct Human {
    began: Instant,
    pub(super) verbose: bool,
    style: Style,
    bars: Option<Bars>,
    /// The last line in plain mode: after a long pause the next host that reports is shown, not a repetition.
    last: Mutex<String>,
}

struct Bars {
    all: MultiProgress,
    by_host: Mutex<BTreeMap<String, ProgressBar>>,
}

/// How progress is shown.
pub(super) enum Shape {
    /// One living line a host.
    Bars,
    /// A line for each piece of news.
    Lines,
}

impl Human {
    pub(super) fn new(shape: Shape, style: Style, verbose: bool) -> Human {
        let bars = match shape {
            Shape::Bars => Some(Bars {
                all: MultiProgress::new(),
                by_host: Mutex::default(),
            }),
            Shape::Lines => None,
        };
        Human {
            began: Instant::now(),
            verbose,
            style,
            bars,
            last: Mutex::default(),
        }
    }

    /// Runs something that writes to the terminal itself.
    pub(super) fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.all.suspend(f),
            None => f(),
        }
    }

    pub(super) fn line(&self, line: &str) {
        self.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn error(&self, message: &str, hints: &[String]) {
        self.finish();
        let mut lines = message.lines();
        self.line(&format!(
            "{} {}",
            self.style.red("error:"),
            lines.next().unwrap_or_default()
        ));
        lines.for_each(|more| self.line(&format!("       {more}")));
        for hint in hints {
            self.line(&format!("{} {hint}", self.style.cyan("hint:")));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            let mut by_host = bars.by_host.lock().unwrap_or_else(|p| p.into_inner());
            by_host.values().for_each(|bar| bar.finish_and_clear());
            by_host.clear();
        }
    }

    pub(super) fn tell(&self, progress: &Progress) {
        match progress {
            Progress::Connected {
                host,
                address,
                release,
                took_ms,
            } => {
                self.done(host, &format!("connected to {address} ({release}, {took_ms} ms)"));
            }
            Progress::Plan { host, plan } if plan.is_empty() => self.done(host, "nothing to do"),
            Progress::Plan { .. } => {}
            Progress::Phase { host, what, changes } => {
                self.living(host, |bar| {
                    bar.set_length(*changes as u64);
                    bar.set_position(0);
                    bar.set_message(what.clone());
                });
                self.plain(host, &format!("{what}: {changes} to change"));
            }
            Progress::Event { host, event } => self.event(host, &event.kind),
            Progress::Wait { host, what } => {
                let host = host.as_deref().unwrap_or("pair");
                self.living(host, |bar| bar.set_message(format!("waiting for {what}")));
                self.plain(host, &format!("waiting for {what}"));
            }
            Progress::Fact { host, what } => self.done(host.as_deref().unwrap_or("pair"), what),
            Progress::Warning { host, message } => {
                let who = host.as_deref().map(|h| format!("{h}: ")).unwrap_or_default();
                self.line(&format!("{} {who}{message}", self.style.yellow("warning:")));
            }
        }
    }

    fn event(&self, host: &str, kind: &EventKind) {
        match kind {
            EventKind::ResourceStarted { resource, summary } => {
                self.living(host, |bar| bar.set_message(format!("{resource}: {summary}")));
            }
            EventKind::ResourceDone { resource, took_ms } => {
                self.living(host, |bar| bar.inc(1));
                self.done(
                    host,
                    &format!("{resource} {}", self.style.dim(&format!("({took_ms} ms)"))),
                );
            }
            EventKind::Log { line } => {
                self.living(host, |bar| bar.set_message(line.clone()));
                if self.verbose {
                    self.mark("|", host, line);
                }
            }
            EventKind::Armed { seconds } => {
                self.done(
                    host,
                    &format!("will revert the next change automatically unless it is confirmed within {seconds} s"),
                );
            }
            EventKind::StageStarted { .. }
            | EventKind::AwaitConfirm { .. }
            | EventKind::Confirmed
            | EventKind::Finished { .. } => {}
        }
    }

    /// A line that stays, on a terminal and elsewhere.
    fn done(&self, host: &str, what: &str) {
        self.mark(&self.style.green("✓"), host, what);
    }

    /// A line that only plain mode needs, because a terminal shows it as a living one.
    fn plain(&self, host: &str, what: &str) {
        if self.bars.is_none() {
            self.mark("·", host, what);
        }
    }

    fn mark(&self, mark: &str, host: &str, what: &str) {
        let line = format!("{mark} {} {what}", self.style.bold(&format!("{host}:")));
        let mut last = self.last.lock().unwrap_or_else(|p| p.into_inner());
        if *last == line {
            return;
        }
        let at = self.style.dim(&format!("{:6.1}s", self.began.elapsed().as_secs_f64()));
        self.line(&format!("{at} {line}"));
        *last = line;
    }

    fn living(&self, host: &str, change: impl FnOnce(&ProgressBar)) {
        let Some(bars) = &self.bars else { return };
        let mut by_host = bars.by_host.lock().unwrap_or_else(|p| p.into_inner());
        let bar = by_host.entry(host.to_owned()).or_insert_with(|| {
            let template = "{spinner:.cyan} {prefix:.bold} [{bar:16}] {pos}/{len} {wide_msg}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bars
                .all
                .add(ProgressBar::new(0).with_style(style.progress_chars("━━ ")));
            bar.set_prefix(host.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        change(bar);
    }
}
