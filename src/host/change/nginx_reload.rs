//! nginx's reload, which succeeds whatever comes of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::host::os::error::{Error, Result};
use crate::host::os::systemd;
use crate::host::resource::worker::Worker;
use crate::state::UnitAction;

/// Where both nginx packages log.
const NGINX_LOG: &str = "/var/log/nginx/error.log";

/// nginx.org's reload is only a signal and succeeds whatever comes of it: wait until the workers are new, and read what
/// the master had to say.
pub(crate) fn reload_nginx(worker: &mut Worker<'_>) -> Result<()> {
    let unit = "nginx.service";
    let master = systemd::one(unit).main_pid;
    let before = children(master);
    let log_size = std::fs::metadata(NGINX_LOG).map_or(0, |m| m.len());
    systemd::ctl(UnitAction::Reload, unit)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(line) = emergency(log_size) {
            return Err(
                Error::new(format!("nginx refused the new configuration while running: {line}"))
                    .hint("`nginx -t` cannot see this; usually a port or address that is taken or not on this host"),
            );
        }
        let now = children(master);
        // The old workers take requests until the master tells them to go, a moment after the new ones run.
        let fresh = now.iter().any(|pid| !before.contains(pid));
        if before.is_empty() || (fresh && before.iter().all(|pid| is_leaving(*pid))) {
            return Ok(());
        }
        if Instant::now() > deadline {
            worker
                .journal
                .log("nginx has not started new workers within 5 s of its reload");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A worker that is gone, or finishes the requests it has (nginx says so in its title).
fn is_leaving(pid: u32) -> bool {
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.is_empty() || String::from_utf8_lossy(&title).contains("shutting down")
}

/// The first `[emerg]` line that nginx logged after that size.
fn emergency(from: u64) -> Option<String> {
    let mut file = File::open(NGINX_LOG).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().find(|l| l.contains("[emerg]")).map(str::to_owned)
}

/// Child processes, from the fourth field of `/proc/PID/stat` (the name before it may hold blanks and brackets).
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        after.split_whitespace().nth(1).and_then(|p| p.parse::<u32>().ok()) == Some(parent)
    })
    .collect()
}
