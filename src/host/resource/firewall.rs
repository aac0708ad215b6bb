//! firewalld: permanently and now, without a reload (a reload drops packets for a moment, adverts among them).

use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result};
use crate::host::os::{exec, systemd};
use crate::host::record::undo::Undo;
use crate::host::resource::firewalld::Observed;
use crate::host::resource::worker::Worker;

const LIMIT: Duration = Duration::from_secs(60);
const UNIT: &str = "firewalld.service";

pub(crate) fn converge(worker: &mut Worker<'_>, have: &Observed) -> Result<()> {
    if !have.installed {
        return Err(Error::new("firewalld is not installed on this host")
            .hint("`yum install firewalld`, or leave `system.firewalld` out of the inventory"));
    }
    let zone = format!("--zone={}", have.zone);
    if !have.missing.is_empty() {
        worker
            .undo
            .keep(&worker.root.path(&format!("/etc/firewalld/zones/{}.xml", have.zone)))?;
        worker
            .undo
            .keep(&worker.root.path(&format!("/etc/firewalld/zones/{}.xml.old", have.zone)))?;
        let undo = Undo::Firewall {
            zone: have.zone.clone(),
            options: have.missing.clone(),
        };
        worker.undo.add(&undo)?;
    }
    for option in &have.missing {
        worker.journal.log(&format!("firewall: zone {} {option}", have.zone));
        if have.running {
            // Adding what is there already is a warning with exit code 0.
            exec::must("firewall-cmd", &["--permanent", &zone, option], LIMIT)?;
            exec::must("firewall-cmd", &[&zone, option], LIMIT)?;
        } else {
            exec::must("firewall-offline-cmd", &[&zone, option], LIMIT)?;
        }
    }
    if !have.running || !have.enabled {
        let enabled = systemd::one(UNIT).enabled;
        worker.undo.add(&Undo::Unit {
            unit: UNIT.into(),
            active: have.running,
            enabled,
        })?;
    }
    if !have.enabled {
        systemd::ctl("enable", UNIT)?;
    }
    if !have.running {
        systemd::ctl("start", UNIT)?;
        await_rules()?;
    }
    Ok(())
}

/// firewalld counts as started once its name is on the bus, a moment before its rules are in force: a connection that
/// comes in between would prove nothing. It answers only after that.
fn await_rules() -> Result<()> {
    let began = Instant::now();
    loop {
        let state = exec::run("firewall-cmd", &["--state"], LIMIT)?;
        if state.ok() {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(exec::failed("firewall-cmd", &["--state"], &state, LIMIT)
                .hint("see `systemctl status firewalld` on the host"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
