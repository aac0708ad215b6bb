//! SELinux booleans, persistently.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::observe::facts::system;
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::{Planned, Undoing, When};
use crate::host::resource::worker::Worker;
use crate::state::SelinuxMode;
use crate::state::resource::Stage;

const LIMIT: Duration = Duration::from_secs(120);

/// Booleans with their wanted values; they do not apply where SELinux is disabled.
pub(crate) struct SelinuxBooleans<'a> {
    pub(crate) values: &'a BTreeMap<String, bool>,
}

impl Kind for SelinuxBooleans<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        if system::selinux_runtime(root) == SelinuxMode::Disabled {
            return Observed::Booleans(None);
        }
        let read = |name: &String| match root.line(&format!("/sys/fs/selinux/booleans/{name}")).chars().next() {
            Some('1') => Some(true),
            Some('0') => Some(false),
            _ => None,
        };
        let names = self.values.keys();
        Observed::Booleans(Some(names.map(|name| (name.clone(), read(name))).collect()))
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Booleans(Some(have)) = observed else {
            return None;
        };
        let wrong = self.values.iter();
        let wrong: Vec<String> = wrong
            .filter(|(name, wanted)| have.get(*name).copied().flatten() != Some(**wanted))
            .map(|(name, wanted)| format!("{name} {}", on_or_off(*wanted)))
            .collect();
        if wrong.is_empty() {
            None
        } else {
            Found::plain(format!("set {}", wrong.join(", ")))
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Booleans(Some(have)) = observed else {
            return Err(of_another_kind());
        };
        for (name, wanted) in self.values {
            match have.get(name).copied().flatten() {
                Some(value) if value == *wanted => {}
                None => {
                    return Err(Error::new(format!("this host's SELinux policy has no boolean {name}"))
                        .hint("update selinux-policy-targeted on the host"));
                }
                Some(value) => {
                    worker.undo.add(&Undo::Boolean {
                        name: name.clone(),
                        value,
                    })?;
                    exec::must("setsebool", &["-P", name, on_or_off(*wanted)], LIMIT)?;
                }
            }
        }
        Ok(())
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (Observed::Booleans(was), Observed::Booleans(now)) = (was, now) else {
            return Vec::new();
        };
        let (was, now) = (was.clone().unwrap_or_default(), now.clone().unwrap_or_default());
        let changed = now.iter().filter(|(name, value)| was.get(*name) != Some(value));
        changed
            .map(|(name, value)| match value {
                Some(true) => format!("{name} switched on"),
                Some(false) => format!("{name} switched off"),
                None => format!("{name} is gone"),
            })
            .collect()
    }
}

/// How long setting one back may take.
const LIMIT_BACK: Duration = Duration::from_secs(60);

/// Undoes a change of a boolean.
pub(crate) struct BooleanUndo<'a> {
    pub(crate) name: &'a str,
    /// What it was.
    pub(crate) value: bool,
}

impl Undoing for BooleanUndo<'_> {
    fn capture(&self, root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Boolean {
            name: self.name.to_owned(),
            value: root
                .line(&format!("/sys/fs/selinux/booleans/{}", self.name))
                .starts_with('1'),
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("SELinux's boolean {}", self.name))
    }

    fn system(&self, _when: When, _log: &mut dyn FnMut(&str)) -> Result<()> {
        exec::must("setsebool", &["-P", self.name, on_or_off(self.value)], LIMIT_BACK).map(drop)
    }

    fn planned(&self, _root: &Root) -> Option<Planned> {
        Some(Planned {
            resource: format!("selinux boolean {}", self.name),
            stage: Stage::Selinux,
            summary: format!("set back to {}", on_or_off(self.value)),
        })
    }
}

fn on_or_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}
