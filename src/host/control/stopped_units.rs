//! Remembers which units hapair itself stopped for a change: if the change fails, nobody else is to blame.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::host::os::error::Result;
use crate::host::os::files::Access;
use crate::host::os::root::Root;
use crate::host::os::{files, systemd};
use crate::state::UnitAction;

/// A note of each, gone with the boot, which starts them.
const DIRECTORY: &str = "/run/hapair/stopped";

fn note(root: &Root, unit: &str) -> PathBuf {
    root.path(DIRECTORY).join(unit)
}

/// Does what the controller wants with a unit, and notes a stop.
///
/// # Errors
/// systemd does not do it.
pub(crate) fn apply_action(root: &Root, unit: &str, action: UnitAction) -> Result<()> {
    systemd::ctl(action, unit)?;
    let noted = match action {
        // After it: the note's time tells this stop from a later one.
        UnitAction::Stop => remember(root, unit),
        UnitAction::Start | UnitAction::Reload | UnitAction::Restart => forget(root, unit),
        // What boots do with a unit says nothing of who stopped it.
        UnitAction::Enable | UnitAction::Disable => Ok(()),
    };
    // It is for people only; no change fails for it.
    drop(noted);
    Ok(())
}

fn remember(root: &Root, unit: &str) -> Result<()> {
    files::private_directory(&root.path(DIRECTORY))?;
    files::write_atomic(&note(root, unit), b"", Access::ours(0o600), None)
}

fn forget(root: &Root, unit: &str) -> Result<()> {
    files::remove(&note(root, unit))
}

/// A unit that was stopped last at this time (ms since 1970) was stopped by hapair.
pub(crate) fn stopped_by_hapair(root: &Root, unit: &str, stopped_ms: u64) -> bool {
    // systemd tells it by the clock that begins with the boot.
    const SLACK_MS: u64 = 50;
    fs::metadata(note(root, unit)).is_ok_and(|meta| {
        let noted_ms = u64::try_from(meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000).unwrap_or(0);
        stopped_ms <= noted_ms + SLACK_MS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_after_ours_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let unit = "hapair-agent.service";
        let now = crate::host::os::clock::now_ms();
        assert!(!stopped_by_hapair(&root, unit, now));
        remember(&root, unit).unwrap();
        assert!(stopped_by_hapair(&root, unit, now));
        assert!(!stopped_by_hapair(&root, unit, now + 5_000));
        assert!(!stopped_by_hapair(&root, "keepalived.service", now));
        forget(&root, unit).unwrap();
        assert!(!stopped_by_hapair(&root, unit, now));
        forget(&root, unit).unwrap();
    }
}
