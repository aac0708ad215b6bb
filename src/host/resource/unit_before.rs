//! Units as they were before a transaction, and putting them back to that.

use std::collections::BTreeMap;

use crate::host::os::error::Result;
use crate::host::os::systemd;
use crate::host::record::undo::Undo;
use crate::host::resource::undoing::When;
use crate::state::UnitAction;

/// A unit before the transaction.
pub(crate) struct Before {
    /// It ran.
    pub(crate) active: bool,
    /// It started at boot.
    pub(crate) enabled: bool,
}

/// Units as they were before the first of these entries, which come newest first.
pub(crate) fn units_before(entries: &[Undo]) -> BTreeMap<&str, Before> {
    let mut units = BTreeMap::new();
    for entry in entries {
        if let Undo::Unit { unit, active, enabled } = entry {
            let before = Before {
                active: *active,
                enabled: matches!(enabled.as_str(), "enabled" | "enabled-runtime"),
            };
            units.insert(unit.as_str(), before);
        }
    }
    units
}

/// Off again, what did not run or start at boot before.
pub(crate) fn stop(unit: &str, before: &Before, when: When) -> Result<()> {
    let now = systemd::one(unit);
    if !before.enabled && now.is_enabled() {
        systemd::quiet(UnitAction::Disable, unit);
    }
    match when {
        _ if before.active || !now.exists() => Ok(()),
        // A job that waits would wait for this very boot.
        When::AtBoot => systemd::request(UnitAction::Stop, unit),
        When::Now if now.is_active() => systemd::ctl(UnitAction::Stop, unit),
        When::Now => Ok(()),
    }
}

/// On again, what ran or started at boot before.
pub(crate) fn start(unit: &str, before: &Before, when: When) -> Result<()> {
    let now = systemd::one(unit);
    if !now.exists() {
        return Ok(());
    }
    if before.enabled && !now.is_enabled() {
        systemd::quiet(UnitAction::Enable, unit);
    }
    match when {
        _ if !before.active => Ok(()),
        When::AtBoot => systemd::request(UnitAction::Start, unit),
        When::Now if !now.is_active() => systemd::ctl(UnitAction::Start, unit),
        When::Now => Ok(()),
    }
}
