//! Writing files inside a transaction: what was there is in its undo log before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::host::os::error::{Error, Result, at};
use crate::host::os::files::{self, Access};
use crate::host::resource::node::Node;
use crate::host::resource::worker::Worker;

/// A directory or a device in a file's place is somebody's; it is not ours to remove.
pub(crate) fn refuse_odd(path: &Path, node: &Node) -> Result<()> {
    let what = match node {
        Node::Directory { .. } => "a directory",
        Node::Other { .. } => "not a regular file",
        Node::Missing | Node::File { .. } | Node::Symlink { .. } => return Ok(()),
    };
    Err(Error::new(format!("{} is {what}", path.display())).hint("move it away by hand and apply again"))
}

/// Writes an edited file: an existing one keeps owner and mode.
pub(crate) fn edit(worker: &mut Worker<'_>, path: &Path, text: &str, mode: u32) -> Result<()> {
    match fs::metadata(path) {
        Ok(meta) => replace(worker, path, text.as_bytes(), Access::of(&meta)),
        Err(_) => {
            let access = Access::named(worker.root, mode, "root", "root")?;
            replace(worker, path, text.as_bytes(), access)
        }
    }
}

/// Writes a file of root's that the undo log knows already.
pub(crate) fn write(worker: &mut Worker<'_>, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let access = Access::named(worker.root, mode, "root", "root")?;
    files::write_atomic(path, bytes, access, files::label_of(path).as_deref())
}

pub(crate) fn replace(worker: &mut Worker<'_>, path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    worker.undo.keep(path)?;
    for parent in files::missing_parents(path) {
        fs::create_dir(&parent).map_err(at("create", &parent))?;
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).map_err(at("set the mode of", &parent))?;
    }
    // A link is replaced, so what it points to keeps its own label.
    let label = if path.is_symlink() { None } else { files::label_of(path) };
    files::write_atomic(path, bytes, access, label.as_deref())
}
