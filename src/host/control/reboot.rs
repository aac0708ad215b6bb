//! Restarting the host on request, and keeping VRRP stopped afterwards.
//!
//! A host that has just booted would take its VIPs back before anyone knows whether its nginx serves. So its engines
//! wait, at that one boot, for a unit that ends when the controller says so, or after a time if nobody does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result, at};
use crate::host::os::root::Root;
use crate::host::os::systemd::TransientUnit;
use crate::host::os::{exec, executor, files, systemd};
use crate::host::record::exclusive;

/// The unit that the engines wait for.
const HOLD: &str = "hapair-boot-hold.service";

/// Between the order and the reboot: the answer must be out by then.
const NOTICE: u64 = 1;

/// Has PID 1 restart the host, a moment from now. For `hold_seconds` of the next boot, if any, VRRP does not start
/// unless released.
///
/// # Errors
/// A transaction runs, or systemd refuses; then the host keeps running as it was.
pub fn order(root: &Root, hold_seconds: Option<u64>) -> Result<()> {
    if !exclusive::idle(root) {
        return Err(Error::new("a transaction runs on this host").hint("wait for it to end, then apply again"));
    }
    let systemctl =
        exec::which(&["systemctl"]).ok_or_else(|| Error::new("command `systemctl` is not installed on this host"))?;
    if let Some(seconds) = hold_seconds {
        systemd::start_at_boot(HOLD, &unit(&executor::executor(), seconds))?;
    }
    // Not by this process: the shutdown may end it and its connection before the answer is out.
    let unit = TransientUnit {
        name: "hapair-reboot",
        description: "hapair: reboot",
        command: &[&systemctl, "reboot"],
    };
    let ordered = unit.start_after(NOTICE);
    if ordered.is_err() {
        systemd::forget_at_boot(HOLD);
    }
    ordered
}

/// The unit's text. `program` is the executor's path.
pub fn unit(program: &str, seconds: u64) -> String {
    format!(
        "[Unit]\nDescription=hapair: keep VRRP stopped until this host is seen healthy after its reboot\n\
         Before=hapair-agent.service keepalived.service\n\n\
         [Service]\nType=oneshot\nExecStart={program} hold-at-boot {seconds}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// Says that the engines may start; /run is empty after a boot.
fn released(root: &Root) -> PathBuf {
    root.path("/run/hapair/released")
}

/// `hapair-agent hold-at-boot SECONDS`: ends when released, or after that time.
///
/// # Errors
/// Not a number of seconds.
pub fn hold(root: &Root, seconds: &str) -> Result<()> {
    // First of all, so that whatever becomes of this boot, the next one is an ordinary one.
    systemd::forget_at_boot(HOLD);
    let seconds = seconds
        .parse()
        .map_err(|_| Error::new(format!("not a number of seconds: {seconds}")))?;
    let (began, mark) = (Instant::now(), released(root));
    while !mark.exists() && began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Lets the engines start now, or at a boot that was ordered and did not come about. Nothing happens where they do not
/// wait.
///
/// # Errors
/// The mark cannot be written.
pub fn release(root: &Root) -> Result<()> {
    if !systemd::starts_at_boot(HOLD) && !systemd::one(HOLD).is_active() {
        return Ok(());
    }
    let mark = released(root);
    if let Some(parent) = mark.parent() {
        files::private_directory(parent)?;
    }
    std::fs::write(&mark, "").map_err(at("write", &mark))?;
    systemd::forget_at_boot(HOLD);
    Ok(())
}
