//! Packages and package groups, by `yum` or `dnf`.

use std::time::Duration;

use crate::host::os::error::Result;
use crate::host::os::package_manager::{explain, manager, no_such};
use crate::host::os::{exec, rpm_erase};
use crate::host::record::undo::Undo;
use crate::host::resource::worker::Worker;

/// A slow mirror and "Development Tools" together.
const INSTALL: Duration = Duration::from_secs(45 * 60);

pub(crate) fn install(worker: &mut Worker<'_>, names: &[String], repositories: &[String]) -> Result<()> {
    let mut args = vec!["-y".to_owned()];
    if !repositories.is_empty() {
        args.push("--disablerepo=*".into());
        args.extend(repositories.iter().map(|r| format!("--enablerepo={r}")));
    }
    args.push("install".into());
    args.extend(names.iter().cloned());
    transaction(worker, &args, names)
}

pub(crate) fn group(worker: &mut Worker<'_>, name: &str, missing: &[String]) -> Result<()> {
    let args = ["-y", "groupinstall", name].map(str::to_owned);
    transaction(worker, &args, missing)?;
    // yum calls a group that was once marked as installed done, whatever has been removed since.
    let absent = still_missing(missing);
    if absent.is_empty() {
        Ok(())
    } else {
        install(worker, &absent, &[])
    }
}

fn still_missing(names: &[String]) -> Vec<String> {
    let lacks = |name: &&String| !exec::run("rpm", &["-q", name], Duration::from_secs(60)).is_ok_and(|o| o.ok());
    names.iter().filter(lacks).cloned().collect()
}

/// `names`: what was missing before.
fn transaction(worker: &mut Worker<'_>, args: &[String], names: &[String]) -> Result<()> {
    let is_group = args.iter().any(|a| a == "groupinstall");
    let program = manager()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Before: a run that is killed meanwhile must not forget what it was about to install.
    worker.undo.add(&Undo::Installed {
        packages: names.to_vec(),
    })?;
    let before = rpm_erase::everything();
    let journal = &mut worker.journal;
    journal.log(&format!("{program} {}", args.join(" ")));
    let output = exec::run_lines(&program, &args, INSTALL, &mut |line| journal.log(line))?;
    if let (Some(before), Some(after)) = (before, rpm_erase::everything()) {
        let new = after.difference(&before).filter(|name| !names.contains(name));
        let packages: Vec<String> = new.cloned().collect();
        if !packages.is_empty() {
            worker.undo.add(&Undo::CameAlong { packages })?;
        }
    }
    if !output.ok() {
        return Err(explain(&program, &args.join(" "), &output, INSTALL));
    }
    let absent = if is_group { Vec::new() } else { still_missing(names) };
    if absent.is_empty() {
        return Ok(());
    }
    // yum 3 exits 0 when only some of the names were found.
    Err(no_such(&absent.join(" ")))
}
