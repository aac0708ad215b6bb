//! Restarting the host on request: whether it needs to be, doing it, and VRRP's silence afterwards.
//!
//! A host that has just booted would take its VIPs back before anyone knows whether its nginx serves. So its engines
//! wait, at that one boot, for a unit that ends when the controller says so, or after a time if nobody does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result, at};
use crate::host::os::root::Root;
use crate::host::os::{exec, executor, files, systemd};
use crate::host::record::exclusive;
use crate::host::resource::observed::Observed;
use crate::state::SelinuxMode;
use crate::state::resource::{Resource, Spec};

/// The configuration that the next boot will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    /// As observed.
    InPlace,
    /// A change of it is to come.
    ToBeWritten,
}

/// Whether SELinux comes to its wanted mode only by a reboot.
pub fn needed(resources: &[&Resource], observed: &[Observed], config: Config) -> bool {
    states(resources, observed).any(|state| state.reboot(config) == Reboot::Needed)
}

/// What the operator should know of a wanted mode that no reboot brings about.
pub fn in_vain(resources: &[&Resource], observed: &[Observed], config: Config) -> Option<String> {
    let state = states(resources, observed).find(|state| state.reboot(config) == Reboot::InVain)?;
    Some(format!(
        "SELinux is off, although this boot found `{}` configured: another reboot will not turn it on; look for \
         selinux=0 in /proc/cmdline, or for a kernel without SELinux",
        state.wanted
    ))
}

fn states(resources: &[&Resource], observed: &[Observed]) -> impl Iterator<Item = Selinux> {
    resources.iter().zip(observed).filter_map(|pair| match pair {
        (
            Resource {
                spec: Spec::Selinux { mode },
                ..
            },
            Observed::Selinux {
                runtime, since_boot, ..
            },
        ) => Some(Selinux {
            wanted: *mode,
            runtime: *runtime,
            since_boot: *since_boot,
        }),
        _ => None,
    })
}

#[derive(Debug, Clone, Copy)]
struct Selinux {
    wanted: SelinuxMode,
    runtime: SelinuxMode,
    /// Its configuration was written since this boot.
    since_boot: bool,
}

/// What a reboot does for a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reboot {
    /// Nothing is left to do, or setenforce does it.
    Useless,
    /// The mode is on the other side of `disabled`, which only a boot crosses.
    Needed,
    /// The mode is on the other side, and this very boot had read it.
    InVain,
}

impl Selinux {
    /// A kernel that cannot do SELinux must not be rebooted for it again and again; but CentOS 7's does not say that it
    /// can while it is off. So what counts is whether this boot had its chance.
    fn reboot(self, config: Config) -> Reboot {
        let off = SelinuxMode::Disabled;
        match (self.wanted == off, self.runtime == off) {
            (true, false) => Reboot::Needed,
            (false, true) if config == Config::ToBeWritten || self.since_boot => Reboot::Needed,
            (false, true) => Reboot::InVain,
            _ => Reboot::Useless,
        }
    }
}

/// The unit that the engines wait for.
const HOLD: &str = "hapair-boot-hold.service";

/// Between the order and the reboot: the answer must be out by then.
const NOTICE: u64 = 1;

/// Has PID 1 restart the host, a moment from now. For `silent` seconds of the next boot, if any, VRRP does not start
/// unless released.
///
/// # Errors
/// A transaction runs, or systemd refuses; then the host goes on as it was.
pub fn order(root: &Root, silent: Option<u64>) -> Result<()> {
    if !exclusive::idle(root) {
        return Err(Error::new("a transaction runs on this host").hint("wait for its end, then apply again"));
    }
    let systemctl =
        exec::which(&["systemctl"]).ok_or_else(|| Error::new("command `systemctl` is not installed on this host"))?;
    if let Some(seconds) = silent {
        systemd::start_at_boot(HOLD, &unit(&executor::executor(), seconds))?;
    }
    // Not by this process: the shutdown may end it and its connection before the answer is out.
    let ordered = systemd::spawn_after(NOTICE, "hapair-reboot", "hapair: reboot", &[&systemctl, "reboot"]);
    if ordered.is_err() {
        systemd::forget_at_boot(HOLD);
    }
    ordered
}

/// The unit's text. `program` is the executor's path.
pub fn unit(program: &str, seconds: u64) -> String {
    format!(
        "[Unit]\nDescription=hapair: VRRP waits until this host was seen to be healthy after its reboot\n\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boot_crosses_disabled_and_only_one_is_tried() {
        use SelinuxMode::{Disabled, Enforcing, Permissive};
        let reboot = |wanted, runtime, since_boot, config| {
            Selinux {
                wanted,
                runtime,
                since_boot,
            }
            .reboot(config)
        };
        for on in [Enforcing, Permissive] {
            for (since_boot, config) in [
                (false, Config::InPlace),
                (true, Config::InPlace),
                (false, Config::ToBeWritten),
            ] {
                assert_eq!(reboot(Disabled, on, since_boot, config), Reboot::Needed);
                assert_eq!(reboot(Disabled, Disabled, since_boot, config), Reboot::Useless);
                assert_eq!(reboot(on, Permissive, since_boot, config), Reboot::Useless);
            }
            assert_eq!(reboot(on, Disabled, false, Config::ToBeWritten), Reboot::Needed);
            // The run that wrote it was cut before its reboot.
            assert_eq!(reboot(on, Disabled, true, Config::InPlace), Reboot::Needed);
            // It was rebooted, and the kernel still has none.
            assert_eq!(reboot(on, Disabled, false, Config::InPlace), Reboot::InVain);
        }
    }
}
