//! SELinux's mode: in its configuration and, as far as a running kernel allows, now.

use std::time::Duration;

use crate::host::observe::facts::system;
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Boot, Config, Kind, Trace, of_another_kind};
use crate::host::resource::node::{Kept, Node, edit_target, node};
use crate::host::resource::observed::{Observed, nobody_knows};
use crate::host::resource::undoing::{Planned, Undoing, When};
use crate::host::resource::worker::Worker;
use crate::host::resource::write;
use crate::state::SelinuxMode;
use crate::state::edit::{self, Edit};
use crate::state::resource::Stage;

const LIMIT: Duration = Duration::from_secs(120);

const FILE: &str = "/etc/selinux/config";

/// The wanted mode.
pub(crate) struct Selinux {
    pub(crate) mode: SelinuxMode,
}

impl Kind for Selinux {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        let file = node(root, &edit_target(root, FILE));
        let runtime = system::selinux_runtime(root);
        let configured = file.text().as_deref().and_then(system::parse_selinux);
        let settled = match (configured.unwrap_or(SelinuxMode::Disabled), runtime) {
            (SelinuxMode::Disabled, SelinuxMode::Permissive) => SelinuxMode::Disabled,
            (configured, SelinuxMode::Disabled) => configured,
            _ => runtime,
        };
        Observed::Selinux {
            file,
            runtime,
            settled,
            since_boot: system::written_since_boot(root, FILE),
        }
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Selinux { file, runtime, .. } = observed else {
            return Found::of_another_kind();
        };
        let mode = self.mode;
        let mut todo = Vec::new();
        let mut text = None;
        let configured = file.text().map(|t| system::parse_selinux(&t));
        match configured {
            // No file: no policy is installed, which is what `disabled` asks for.
            None if mode == SelinuxMode::Disabled => {}
            Some(Some(have)) if have == mode => {}
            other => {
                let old = file.text().unwrap_or_default();
                let from = other.flatten().map_or_else(|| "nothing".to_owned(), |m| m.to_string());
                todo.push(format!("configure {mode} (was {from})"));
                text = Some((old.clone(), edit::apply(&old, &edits(mode))));
            }
        }
        // A running kernel goes between enforcing and permissive only; `disabled` is as near as permissive until a reboot.
        match (mode, runtime) {
            (SelinuxMode::Enforcing, SelinuxMode::Permissive) => todo.push("set enforcing now".into()),
            (SelinuxMode::Permissive | SelinuxMode::Disabled, SelinuxMode::Enforcing) => {
                todo.push("set permissive now".into());
            }
            _ => {}
        }
        Found::listed(&todo, ", ").map(|found| Found {
            shown: text.is_some(),
            text,
            ..found
        })
    }

    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Selinux { file, runtime, .. } = observed else {
            return Err(of_another_kind());
        };
        self.configure(worker, file)?;
        let enforcing = match (self.mode, runtime) {
            (SelinuxMode::Enforcing, SelinuxMode::Permissive) => true,
            (SelinuxMode::Permissive | SelinuxMode::Disabled, SelinuxMode::Enforcing) => false,
            _ => return Ok(()),
        };
        worker.undo.add(&Undo::Selinux { enforcing: !enforcing })?;
        exec::must("setenforce", &[if enforcing { "1" } else { "0" }], LIMIT).map(drop)
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        match (was, now) {
            (Observed::Selinux { settled: was, .. }, Observed::Selinux { settled, .. }) if was != settled => {
                vec![format!("{was} became {settled} in the running kernel")]
            }
            _ => Vec::new(),
        }
    }

    fn trace(&self, root: &Root, was: &Observed, now: &Observed) -> Trace {
        if was.node() == now.node() {
            Trace::Nowhere
        } else {
            Trace::Path(edit_target(root, FILE))
        }
    }

    fn path(&self) -> &str {
        FILE
    }

    /// A kernel that cannot do SELinux must not be rebooted for it again and again; but CentOS 7's does not say that it
    /// can while it is off. So what counts is whether this boot had its chance.
    fn boot(&self, observed: &Observed, config: Config) -> Boot {
        let Observed::Selinux {
            runtime, since_boot, ..
        } = observed
        else {
            return Boot::Useless;
        };
        let off = SelinuxMode::Disabled;
        match (self.mode == off, *runtime == off) {
            // Only a boot crosses `disabled`.
            (true, false) => Boot::Needed,
            (false, true) if config == Config::ToBeWritten || *since_boot => Boot::Needed,
            (false, true) => Boot::InVain(format!(
                "SELinux is off, although this boot found `{}` configured: another reboot will not turn it on; look for \
                 selinux=0 in /proc/cmdline, or for a kernel without SELinux",
                self.mode
            )),
            (true, true) | (false, false) => Boot::Useless,
        }
    }

    /// A reboot is not someone else's change.
    fn remember(&self, _root: &Root, observed: &mut Observed, _kept: Kept) {
        if let Observed::Selinux {
            runtime, since_boot, ..
        } = observed
        {
            (*runtime, *since_boot) = (nobody_knows(), false);
        }
    }
}

impl Selinux {
    fn configure(&self, worker: &mut Worker<'_>, file: &Node) -> Result<()> {
        let path = edit_target(worker.root, FILE);
        let configured = file.text().as_deref().and_then(system::parse_selinux);
        match file.text() {
            _ if configured == Some(self.mode) => Ok(()),
            None if self.mode == SelinuxMode::Disabled => Ok(()),
            None => Err(
                Error::new("there is no /etc/selinux/config: SELinux is not installed on this host")
                    .hint("install selinux-policy-targeted, or leave `system.selinux` out of the inventory"),
            ),
            Some(old) => write::edit(worker, &path, &edit::apply(&old, &edits(self.mode)), 0o644),
        }
    }
}

/// Edits that put a mode into the configuration.
fn edits(mode: SelinuxMode) -> [Edit; 1] {
    [Edit::Assign {
        key: "SELINUX".into(),
        value: Some(mode.to_string()),
    }]
}

/// How long setting things back may take.
const LIMIT_BACK: Duration = Duration::from_secs(60);

/// Undoes a change of the running mode.
pub(crate) struct SelinuxUndo {
    /// What it was.
    pub(crate) enforcing: bool,
}

impl Undoing for SelinuxUndo {
    fn capture(&self, root: &Root, undo: &mut Log) -> Result<()> {
        undo.add(&Undo::Selinux {
            enforcing: system::selinux_runtime(root) == SelinuxMode::Enforcing,
        })
    }

    fn lost(&self) -> Option<String> {
        Some("SELinux's mode".to_owned())
    }

    fn system(&self, _when: When, _log: &mut dyn FnMut(&str)) -> Result<()> {
        exec::must("setenforce", &[if self.enforcing { "1" } else { "0" }], LIMIT_BACK).map(drop)
    }

    fn planned(&self, root: &Root) -> Option<Planned> {
        let enforces = system::selinux_runtime(root) == SelinuxMode::Enforcing;
        (enforces != self.enforcing).then(|| Planned {
            resource: "selinux mode".to_owned(),
            stage: Stage::Selinux,
            summary: if self.enforcing { "enforcing" } else { "permissive" }.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boot_crosses_disabled_and_only_one_is_tried() {
        use SelinuxMode::{Disabled, Enforcing, Permissive};
        let boot = |mode, runtime, since_boot, config| {
            let observed = Observed::Selinux {
                file: Node::Missing,
                runtime,
                settled: runtime,
                since_boot,
            };
            Selinux { mode }.boot(&observed, config)
        };
        for on in [Enforcing, Permissive] {
            for (since_boot, config) in [
                (false, Config::InPlace),
                (true, Config::InPlace),
                (false, Config::ToBeWritten),
            ] {
                assert_eq!(boot(Disabled, on, since_boot, config), Boot::Needed);
                assert_eq!(boot(Disabled, Disabled, since_boot, config), Boot::Useless);
                assert_eq!(boot(on, Permissive, since_boot, config), Boot::Useless);
            }
            assert_eq!(boot(on, Disabled, false, Config::ToBeWritten), Boot::Needed);
            // The run that wrote it was cut before its reboot.
            assert_eq!(boot(on, Disabled, true, Config::InPlace), Boot::Needed);
            // It was rebooted, and the kernel still has none.
            assert!(matches!(boot(on, Disabled, false, Config::InPlace), Boot::InVain(_)));
        }
    }
}
