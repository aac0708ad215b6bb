//! The host name.

use std::time::Duration;

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, Trace, of_another_kind};
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::{Planned, Undoing, When};
use crate::host::resource::worker::Worker;
use crate::host::resource::write;
use crate::state::resource::Stage;

const FILE: &str = "/etc/hostname";
const RUNNING: &str = "/proc/sys/kernel/hostname";

/// The static and the running host name.
pub(crate) struct Hostname<'a> {
    pub(crate) name: &'a str,
}

impl Kind for Hostname<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        Observed::Hostname {
            configured: root.line(FILE),
            running: root.line(RUNNING),
        }
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Hostname { configured, running } = observed else {
            return Found::of_another_kind();
        };
        let from = if configured == self.name { running } else { configured };
        if from == self.name {
            None
        } else {
            let from = if from.is_empty() { "nothing" } else { from };
            Found::plain(format!("rename from {from}"))
        }
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Hostname { running, .. } = observed else {
            return Err(of_another_kind());
        };
        let name = self.name;
        let path = worker.root.path(FILE);
        worker.undo.keep(&path)?;
        worker.undo.add(&Undo::Hostname {
            running: running.to_owned(),
        })?;
        if !worker.root.is_live() {
            return write::write(worker, &path, format!("{name}\n").as_bytes(), 0o644);
        }
        // hostnamed tells NetworkManager and the journal; a host without D-Bus is set by hand.
        let told = exec::run("hostnamectl", &["set-hostname", name], Duration::from_secs(30));
        if told.is_ok_and(|o| o.ok()) && worker.root.line(FILE) == name {
            return Ok(());
        }
        write::write(worker, &path, format!("{name}\n").as_bytes(), 0o644)?;
        nix::unistd::sethostname(name).map_err(|e| Error::new("cannot set the host name").because(e))
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        let (
            Observed::Hostname {
                configured: was,
                running: ran,
            },
            Observed::Hostname { configured, running },
        ) = (was, now)
        else {
            return Vec::new();
        };
        let mut words = Vec::new();
        if was != configured {
            words.push(format!("renamed to {configured} in {FILE}"));
        }
        if ran != running {
            words.push(format!("the running name is {running}"));
        }
        words
    }

    fn trace(&self, root: &Root, was: &Observed, now: &Observed) -> Trace {
        match (was, now) {
            (Observed::Hostname { configured: was, .. }, Observed::Hostname { configured, .. })
                if was != configured =>
            {
                Trace::Path(root.path(FILE))
            }
            _ => Trace::Nowhere,
        }
    }
}

/// Undoes a change of the kernel's host name.
pub(crate) struct HostnameUndo<'a> {
    /// What it was.
    pub(crate) running: &'a str,
}

impl Undoing for HostnameUndo<'_> {
    fn capture(&self, root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Hostname {
            running: root.line(RUNNING),
        })
    }

    fn lost(&self) -> Option<String> {
        Some(format!("the host name {}", self.running))
    }

    fn system(&self, _when: When, _log: &mut dyn FnMut(&str)) -> Result<()> {
        let set = nix::unistd::sethostname(self.running);
        set.map_err(|e| Error::new("cannot restore the host name").because(e))
    }

    fn planned(&self, root: &Root) -> Option<Planned> {
        (self.running != root.line(RUNNING)).then(|| Planned {
            resource: "hostname".to_owned(),
            stage: Stage::Hostname,
            summary: format!("set back to {}", self.running),
        })
    }
}
