//! The copy of an installation disc, to install from without it.

use std::fs;
use std::path::Path;

use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result, at};
use crate::host::os::files;
use crate::host::os::root::Root;
use crate::host::record::undo::{Log, Undo};
use crate::host::resource::found::Found;
use crate::host::resource::kind::{Kind, of_another_kind};
use crate::host::resource::node::Kept;
use crate::host::resource::observed::Observed;
use crate::host::resource::undoing::Undoing;
use crate::host::resource::worker::Worker;

/// The content of a disc, until the copy holds the disc's `.discinfo`.
pub(crate) struct MediaCopy<'a> {
    /// Where the disc is mounted.
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
}

impl Kind for MediaCopy<'_> {
    fn observe(&self, root: &Root, _tools: &Tools) -> Observed {
        let info = |dir: &str| root.read(&format!("{}/.discinfo", dir.trim_end_matches('/')));
        Observed::Media {
            disc: info(self.from),
            copy: info(self.to),
        }
    }

    fn diff(&self, observed: &Observed) -> Option<Found> {
        let Observed::Media { disc, copy } = observed else {
            return Found::of_another_kind();
        };
        match (disc, copy) {
            // The disc may be gone once it is copied.
            (None, Some(_)) => None,
            (Some(disc), Some(copy)) if disc == copy => None,
            (Some(_), _) | (None, None) => Found::plain(format!("copy {} to {}", self.from, self.to)),
        }
    }

    /// `.discinfo` comes last, so that an interrupted copy continues where it stopped.
    fn converge(&self, worker: &mut Worker<'_>, observed: &Observed) -> Result<()> {
        let Observed::Media { disc, .. } = observed else {
            return Err(of_another_kind());
        };
        let MediaCopy { from, to } = self;
        let (source, target) = (worker.root.path(from), worker.root.path(to));
        if disc.is_none() {
            return Err(
                Error::new(format!("there is no installation disc at {from} (no .discinfo in it)"))
                    .hint(format!("mount it: `mount -o ro /dev/sr0 {from}`")),
            );
        }
        worker.undo.add(&Undo::Stays {
            text: format!("what was copied from the disc stays in {to}"),
        })?;
        worker.journal.log(&format!("copy {from} to {to}"));
        copy_tree(&source, &target)?;
        let info = source.join(".discinfo");
        let copy = target.join(".discinfo");
        fs::copy(&info, &copy).map_err(at("copy to", &copy))?;
        files::sync_parent(&copy)
    }

    fn difference(&self, was: &Observed, now: &Observed) -> Vec<String> {
        match (was, now) {
            (Observed::Media { .. }, Observed::Media { .. }) => vec!["the copy changed".into()],
            _ => Vec::new(),
        }
    }

    /// A disc is taken out of its drive; only the copy is hapair's.
    fn remember(&self, _root: &Root, observed: &mut Observed, _kept: Kept) {
        if let Observed::Media { disc, .. } = observed {
            *disc = None;
        }
    }
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

/// Something that is not undone, for the operator to know.
pub(crate) struct StaysUndo<'a> {
    /// What, in words.
    pub(crate) text: &'a str,
}

impl Undoing for StaysUndo<'_> {
    fn capture(&self, _root: &Root, _undo: &mut Log) -> Result<()> {
        Ok(())
    }

    fn lost(&self) -> Option<String> {
        None
    }

    fn stays(&self, _root: &Root) -> Option<String> {
        Some(self.text.to_owned())
    }
}
