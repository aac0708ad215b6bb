//! The VIPs of an engine beside changes of the network.

use std::time::{Duration, Instant};

use crate::host::observe::facts::net;
use crate::host::os::error::Result;
use crate::host::os::systemd;
use crate::state::{Engine, UnitAction};

/// How long an engine may take to put its addresses back by itself.
const BY_ITSELF: Duration = Duration::from_secs(3);

/// Re-activating an interface strips the VIPs, and keepalived before 2.0 does not notice: an engine that owned some of
/// `before` and lost them is restarted.
///
/// # Errors
/// The engine does not start again.
pub fn keep_vips(engine: Option<Engine>, before: &[String], log: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(unit) = engine.map(Engine::unit) else {
        return Ok(());
    };
    let lost = || net::owned(before).len() < before.len();
    if !lost() || !systemd::one(unit).is_active() {
        return Ok(());
    }
    let until = Instant::now() + BY_ITSELF;
    while lost() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    if lost() {
        log(&format!(
            "the network change took the VIP off the interface; restarting {unit}"
        ));
        systemd::ctl(UnitAction::Restart, unit)?;
    }
    Ok(())
}
