//! The host name.

use crate::host::os::error::{Error, Result};
use crate::host::os::exec;
use crate::host::record::undo::Undo;
use crate::host::resource::file;
use crate::host::resource::worker::Worker;

/// The static and the running host name.
pub(crate) fn hostname(worker: &mut Worker<'_>, name: &str, running: &str) -> Result<()> {
    let path = worker.root.path("/etc/hostname");
    worker.undo.keep(&path)?;
    worker.undo.add(&Undo::Hostname {
        running: running.to_owned(),
    })?;
    if !worker.root.is_live() {
        return file::write(worker, &path, format!("{name}\n").as_bytes(), 0o644);
    }
    // hostnamed tells NetworkManager and the journal; a host without D-Bus is set by hand.
    let told = exec::run(
        "hostnamectl",
        &["set-hostname", name],
        std::time::Duration::from_secs(30),
    );
    if told.is_ok_and(|o| o.ok()) && worker.root.line("/etc/hostname") == name {
        return Ok(());
    }
    file::write(worker, &path, format!("{name}\n").as_bytes(), 0o644)?;
    nix::unistd::sethostname(name).map_err(|e| Error::new(format!("cannot set the host name: {e}")))
}
