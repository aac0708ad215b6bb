//! Files, edits and directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::host::os::error::{Error, Result, at};
use crate::host::os::files;
use crate::host::resource::diff::edited_text;
use crate::host::resource::observed::{Node, edit_target};
use crate::host::resource::worker::Worker;
use crate::state::Spec;
use crate::state::resource::Content;

pub(crate) fn converge(worker: &mut Worker<'_>, spec: &Spec, node: &Node) -> Result<()> {
    let root = worker.root;
    match spec {
        Spec::File {
            path,
            content,
            mode,
            owner,
            group,
            ..
        } => {
            let at = root.path(path);
            let (uid, gid) = files::ids(root, owner, group)?;
            refuse_odd(&at, node)?;
            replace(
                worker,
                &at,
                &crate::host::resource::file::bytes_of(content)?,
                *mode,
                uid,
                gid,
            )
        }
        Spec::Edit {
            path,
            edits,
            create,
            mode,
            ..
        } => {
            let at = edit_target(root, path);
            refuse_odd(&at, node)?;
            match edited_text(edits, create.as_deref(), node) {
                Some((_, text)) => edit(worker, &at, &text, *mode),
                None => Ok(()),
            }
        }
        Spec::Directory { path, mode } => directory(worker, &root.path(path), *mode, node),
        _ => Ok(()),
    }
}

/// A directory or a device in a file's place is somebody's; it is not ours to remove.
fn refuse_odd(path: &Path, node: &Node) -> Result<()> {
    let what = match node {
        Node::Directory { .. } => "a directory",
        Node::Other { .. } => "not a regular file",
        _ => return Ok(()),
    };
    Err(Error::new(format!("{} is {what}", path.display())).hint("move it away by hand and apply again"))
}

/// Writes an edited file: an existing one keeps owner and mode.
pub(crate) fn edit(worker: &mut Worker<'_>, path: &Path, text: &str, mode: u32) -> Result<()> {
    match fs::metadata(path) {
        Ok(meta) => replace(
            worker,
            path,
            text.as_bytes(),
            meta.permissions().mode() & 0o7777,
            meta.uid(),
            meta.gid(),
        ),
        Err(_) => {
            let (uid, gid) = files::ids(worker.root, "root", "root")?;
            replace(worker, path, text.as_bytes(), mode, uid, gid)
        }
    }
}

/// Writes a file of root's that the undo log knows already.
pub(crate) fn write(worker: &mut Worker<'_>, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (uid, gid) = files::ids(worker.root, "root", "root")?;
    files::file(path, bytes, mode, uid, gid, files::label_of(path).as_deref())
}

fn replace(worker: &mut Worker<'_>, path: &Path, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> Result<()> {
    worker.undo.keep(path)?;
    for parent in files::missing_parents(path) {
        fs::create_dir(&parent).map_err(at("create", &parent))?;
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).map_err(at("set the mode of", &parent))?;
    }
    // A link is replaced, so what it points to keeps its own label.
    let label = if path.is_symlink() { None } else { files::label_of(path) };
    files::file(path, bytes, mode, uid, gid, label.as_deref())
}

fn directory(worker: &mut Worker<'_>, path: &Path, mode: u32, node: &Node) -> Result<()> {
    let (uid, gid) = files::ids(worker.root, "root", "root")?;
    match node {
        Node::Missing | Node::Directory { .. } => {}
        _ => {
            return Err(Error::new(format!("{} is not a directory", path.display()))
                .hint("move it away by hand and apply again"));
        }
    }
    worker.undo.keep(path)?;
    fs::create_dir_all(path).map_err(at("create", path))?;
    files::own(path, mode, uid, gid)?;
    files::sync_parent(path)
}

/// Bytes of a file's content.
pub(crate) fn bytes_of(content: &Content) -> Result<Vec<u8>> {
    match content {
        Content::Text(text) => Ok(text.as_bytes().to_vec()),
        Content::Executor => {
            std::fs::read("/proc/self/exe").map_err(|e| Error::new(format!("cannot read the executor itself: {e}")))
        }
    }
}
