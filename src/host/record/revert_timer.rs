//! The dead man's switch: a timer and a boot guard, both PID 1's, that revert an unconfirmed change.

use std::fs;

use crate::host::os::error::{Error, Result, at};
use crate::host::os::executor::executor;
use crate::host::os::systemd::{self, TransientUnit};
use crate::host::record::txn::Txn;
use crate::state::UnitAction;

/// The unit that reverts at a boot.
fn guard_unit(txn: &Txn) -> String {
    format!("hapair-boot-guard-{}.service", txn.id)
}

/// The unit that the timer starts.
pub(crate) fn revert_unit(txn: &Txn) -> String {
    format!("hapair-revert-{}", txn.id)
}

/// Arms: marker, boot guard, timer, in this order, so that a crash in between is caught by the guard.
///
/// # Errors
/// Nothing may be touched then.
pub(crate) fn arm(txn: &Txn, seconds: u64) -> Result<()> {
    for stale in ["confirmed", "awaiting", "reverting"] {
        let _ = fs::remove_file(txn.file(stale));
    }
    txn.mark("armed").map_err(at("write", &txn.file("armed")))?;
    let armed = write_guard(txn).and_then(|()| {
        let program = executor();
        let unit = TransientUnit {
            name: &revert_unit(txn),
            description: "hapair: revert an unconfirmed change",
            command: &[&program, "revert", txn.id.as_str()],
        };
        unit.start_after(seconds)
    });
    if armed.is_err() {
        let _ = fs::remove_file(txn.file("armed"));
        remove_guard(txn);
    }
    armed.map_err(|e| e.context("cannot arm the revert timer, so nothing was touched"))
}

fn write_guard(txn: &Txn) -> Result<()> {
    let text = format!(
        "[Unit]\nDescription=hapair: revert a change that was not confirmed before this boot\n\
         ConditionPathExists={}\nAfter=local-fs.target\nBefore=network-pre.target network.service NetworkManager.service\n\
         Wants=network-pre.target\n\n[Service]\nType=oneshot\nExecStart={} revert {} --boot\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        txn.file("armed").display(),
        executor(),
        txn.id,
    );
    systemd::start_at_boot(&guard_unit(txn), &text)
}

pub(crate) fn remove_guard(txn: &Txn) {
    systemd::forget_at_boot(&guard_unit(txn));
}

/// Takes timer and boot guard away. The marker must have been turned before.
pub fn disarm(txn: &Txn) {
    systemd::quiet(UnitAction::Stop, &format!("{}.timer", revert_unit(txn)));
    remove_guard(txn);
}

/// The controller's word that the host is reachable. The first to rename the marker, this or the timer, wins.
///
/// # Errors
/// The transaction is not waiting for a confirm (any more).
pub fn confirm(txn: &Txn) -> Result<()> {
    if txn.has("armed") && !txn.has("awaiting") {
        return Err(
            Error::new(format!("transaction {} has not activated its change yet", txn.id))
                .hint("confirm after its event `await_confirm`, over a fresh connection"),
        );
    }
    if !txn.turn("armed", "confirmed") {
        return Err(
            Error::new(format!("transaction {} is not waiting for a confirm", txn.id))
                .hint("it may have reverted already: attach to it and read its outcome"),
        );
    }
    if !systemd::one(&format!("{}.service", txn.unit())).is_active() {
        // Nobody is left to tidy up.
        disarm(txn);
    }
    Ok(())
}
