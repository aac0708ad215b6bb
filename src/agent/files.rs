//! `track_file`: a number in a file, as a weight.

use std::fs;
use std::time::Duration;

use crate::keepalived::{Config, TrackFile};
use crate::vrrp::Time;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// All tracked files.
#[derive(Default)]
pub(super) struct Files {
    all: Vec<(TrackFile, i64)>,
    next: Option<Time>,
}

impl Files {
    /// Rules of a configuration; creates what `init_file` asks for, reads once.
    pub(super) fn configure(&mut self, config: &Config, now: Time) {
        for rule in &config.track_files {
            if let Some(value) = rule.init
                && !fs::exists(&rule.file).unwrap_or(true)
            {
                drop(fs::write(&rule.file, format!("{value}\n")));
            }
        }
        self.all = config
            .track_files
            .iter()
            .map(|rule| (rule.clone(), read(&rule.file)))
            .collect();
        self.next = (!self.all.is_empty()).then_some(now + LOOK);
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        self.next
    }

    /// Looks, if it is time. Returns whether a number changed.
    pub(super) fn tick(&mut self, now: Time) -> bool {
        if self.next.is_none_or(|at| now < at) {
            return false;
        }
        self.next = Some(now + LOOK);
        let mut changed = false;
        for (rule, value) in &mut self.all {
            let seen = read(&rule.file);
            changed |= *value != seen;
            *value = seen;
        }
        changed
    }

    /// The number in the file and the rule's own weight (1 unless written).
    pub(super) fn value(&self, name: &str) -> Option<(i64, i64, bool)> {
        let (rule, value) = self.all.iter().find(|(rule, _)| rule.name == name)?;
        Some((*value, rule.weight.unwrap_or(1).into(), rule.reverse))
    }
}

/// A file without a number counts as 0, as in keepalived.
fn read(path: &str) -> i64 {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
