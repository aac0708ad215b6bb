//! Repository files set aside, and the copy of an installation disc.

use std::fs;
use std::path::Path;

use crate::host::os::error::{Error, Result, at};
use crate::host::os::files;
use crate::host::record::undo::Undo;
use crate::host::resource::worker::Worker;

/// Renames `X.repo` to `X.repo.bak`, which yum does not read. A `.bak` that is there already is kept in the
/// transaction, not lost.
pub(crate) fn set_aside(worker: &mut Worker<'_>, directory: &str, names: &[String]) -> Result<()> {
    for name in names {
        let from = worker.root.path(&format!("{directory}/{name}"));
        let to = worker.root.path(&format!("{directory}/{name}.bak"));
        worker.undo.keep(&to)?;
        worker.undo.add(&Undo::Renamed {
            from: from.clone(),
            to: to.clone(),
        })?;
        fs::rename(&from, &to).map_err(at("set aside", &from))?;
        files::sync_parent(&from)?;
    }
    Ok(())
}

/// Copies a disc; `.discinfo` comes last, so that a copy that was cut goes on where it stopped.
pub(crate) fn copy_media(worker: &mut Worker<'_>, from: &str, to: &str, mounted: bool) -> Result<()> {
    let (source, target) = (worker.root.path(from), worker.root.path(to));
    if !mounted {
        return Err(
            Error::new(format!("there is no installation disc at {from} (no .discinfo in it)"))
                .hint(format!("mount it: `mount -o ro /dev/sr0 {from}`")),
        );
    }
    worker.undo.add(&Undo::Stays {
        text: format!("what was copied of the disc stays in {to}"),
    })?;
    worker.journal.log(&format!("copy {from} to {to}"));
    copy_tree(&source, &target)?;
    let info = source.join(".discinfo");
    let copy = target.join(".discinfo");
    fs::copy(&info, &copy).map_err(at("copy to", &copy))?;
    files::sync_parent(&copy)
}

fn copy_tree(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target).map_err(at("create", target))?;
    for entry in fs::read_dir(source).map_err(at("read", source))? {
        let entry = entry.map_err(at("read", source))?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        let meta = entry.metadata().map_err(at("read", &from))?;
        if meta.is_dir() {
            copy_tree(&from, &to)?;
        } else if meta.is_symlink() {
            let link = fs::read_link(&from).map_err(at("read the link", &from))?;
            let _ = fs::remove_file(&to);
            std::os::unix::fs::symlink(link, &to).map_err(at("write", &to))?;
        } else if meta.is_file() && entry.file_name() != ".discinfo" {
            // A file of the right length was copied whole by an earlier run: it is written under another name first.
            if fs::metadata(&to).is_ok_and(|m| m.len() == meta.len()) {
                continue;
            }
            let part = to.with_file_name(format!(".{}.part", entry.file_name().to_string_lossy()));
            let copied = fs::copy(&from, &part).and_then(|_| fs::rename(&part, &to));
            if copied.is_err() {
                let _ = fs::remove_file(&part);
            }
            copied.map_err(at("copy to", &to))?;
        }
    }
    Ok(())
}
