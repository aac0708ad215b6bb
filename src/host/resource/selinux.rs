//! SELinux mode and booleans.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::observe::facts::system;
use crate::host::os::error::{Error, Result};
use crate::host::os::exec;
use crate::host::record::undo::Undo;
use crate::host::resource::diff::selinux_edits;
use crate::host::resource::file;
use crate::host::resource::observed::{Node, edit_target};
use crate::host::resource::worker::Worker;
use crate::state::SelinuxMode;
use crate::state::edit;

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn mode(worker: &mut Worker<'_>, mode: SelinuxMode, node: &Node, runtime: SelinuxMode) -> Result<()> {
    let path = edit_target(worker.root, "/etc/selinux/config");
    let old = node.text();
    let configured = old.as_deref().and_then(system::parse_selinux);
    if configured != Some(mode) && !(old.is_none() && mode == SelinuxMode::Disabled) {
        if old.is_none() {
            return Err(
                Error::new("there is no /etc/selinux/config: SELinux is not installed on this host")
                    .hint("install selinux-policy-targeted, or leave `system.selinux` out of the inventory"),
            );
        }
        let text = edit::apply(&old.unwrap_or_default(), &selinux_edits(mode));
        file::edit(worker, &path, &text, 0o644)?;
    }
    let enforcing = match (mode, runtime) {
        (SelinuxMode::Enforcing, SelinuxMode::Permissive) => true,
        (SelinuxMode::Permissive | SelinuxMode::Disabled, SelinuxMode::Enforcing) => false,
        _ => return Ok(()),
    };
    worker.undo.add(&Undo::Selinux { enforcing: !enforcing })?;
    exec::must("setenforce", &[if enforcing { "1" } else { "0" }], LIMIT).map(drop)
}

pub(crate) fn booleans(
    worker: &mut Worker<'_>,
    values: &BTreeMap<String, bool>,
    have: &BTreeMap<String, Option<bool>>,
) -> Result<()> {
    for (name, wanted) in values {
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
                exec::must("setsebool", &["-P", name, if *wanted { "on" } else { "off" }], LIMIT)?;
            }
        }
    }
    Ok(())
}
