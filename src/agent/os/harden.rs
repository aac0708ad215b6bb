//! Real-time priority and locked memory for the packet thread; whatever the kernel refuses, the daemon runs without.

use std::io;

use serde_json::json;

use super::log;
use crate::keepalived::GlobalDefs;

/// Children and threads begin as SCHED_OTHER, without a negative nice value (sched(7)).
const RESET_ON_FORK: i32 = 0x4000_0000;

/// What the command line asks for; what the configuration asks for comes before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hardening {
    /// 1 to 99: SCHED_RR.
    pub rt_priority: Option<u8>,
    /// Lock the memory, as `vrrp_no_swap`.
    pub lock_memory: bool,
}

/// Does it for the calling thread, which must be the packet thread.
///
/// There is no limit on real-time CPU time (RLIMIT_RTTIME): keepalived's kills it under load.
pub(crate) fn apply(asked: Hardening, global: &GlobalDefs) {
    let wanted = global.rt_priority.or(asked.rt_priority);
    if let Some(priority) = wanted
        && let Err(e) = schedule(libc::SCHED_RR, priority.into())
    {
        let hint = "real-time needs CAP_SYS_NICE; in a cgroup with CPU accounting, CentOS 7's kernel also wants cpu.rt_runtime_us";
        warn("cannot get real-time priority", &e, hint);
    }
    if let Some(nice) = global.nice {
        // Without it, scripts and the other threads would have the nice value too.
        let reset = if wanted.is_none() {
            schedule(libc::SCHED_OTHER, 0)
        } else {
            Ok(())
        };
        // SAFETY: plain system call.
        let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()) };
        let failed = (set != 0).then(io::Error::last_os_error);
        if let Some(e) = failed.or(reset.err()) {
            warn(
                "cannot set the nice value of `vrrp_priority`",
                &e,
                "it needs CAP_SYS_NICE",
            );
        }
    }
    if (global.no_swap || asked.lock_memory)
        && let Err(e) = lock_memory()
    {
        let hint = "it needs CAP_IPC_LOCK, or LimitMEMLOCK=infinity in the unit";
        warn("cannot lock the memory", &e, hint);
    }
}

fn warn(message: &str, error: &io::Error, hint: &str) {
    let fields = [("error", json!(error.to_string())), ("hint", json!(hint))];
    log::event("warning", message, &fields);
}

/// musl's sched_setscheduler only answers ENOSYS, so the kernel is asked itself.
fn schedule(policy: i32, priority: i32) -> io::Result<()> {
    // SAFETY: the kernel's sched_param is one int, and it lives during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            policy | RESET_ON_FORK,
            std::ptr::from_ref(&priority),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Only what is used, where the kernel can (from Linux 4.4); else everything, stacks of all threads included.
fn lock_memory() -> io::Result<()> {
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE;
    for flags in [all | libc::MCL_ONFAULT, all] {
        // SAFETY: plain system call.
        if unsafe { libc::mlockall(flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}
