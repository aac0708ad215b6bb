//! FIFOs that notifications are written to, and the scripts that read them (`notify_fifo`, `notify_fifo_script`).

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::time::Duration;

use serde_json::json;

use crate::agent::os::script::Prepared;
use crate::agent::os::spawn::Child;
use crate::agent::os::{log, script, spawn, users};
use crate::keepalived::{self, Config, GlobalDefs};
use crate::vrrp::Time;

/// A reader that ended is started again after this. One that cannot be started waits twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
/// So often the wait doubles: up to 32 s.
const DOUBLINGS: u32 = 5;

enum Reader {
    Running(Child),
    /// It starts at this time, after this many starts that failed.
    At(Time, u32),
    /// There is none.
    None,
}

struct Fifo {
    config: keepalived::Fifo,
    file: File,
    reader: Reader,
    /// Why it could not be started: said once.
    refused: Option<String>,
}

/// All FIFOs.
#[derive(Default)]
pub(crate) struct Fifos {
    all: Vec<Fifo>,
    global: GlobalDefs,
    /// Readers that were told to end.
    ending: Vec<Child>,
}

impl Fifos {
    /// Opens the FIFOs, creating them where they are not. Those that are still the same stay open, and their readers run on.
    pub(crate) fn configure(&mut self, config: &Config, now: Time) {
        let mut old = std::mem::take(&mut self.all);
        self.global = config.global.clone();
        for wanted in [&config.global.notify_fifo, &config.global.vrrp_notify_fifo] {
            let Some(path) = wanted.path.as_deref() else { continue };
            let same =
                |f: &Fifo| f.config == *wanted && inode(&f.file.metadata()) == inode(&fs::symlink_metadata(path));
            if let Some(at) = old.iter().position(same) {
                let mut same = old.swap_remove(at);
                if let Reader::At(at, _) = &mut same.reader {
                    // What kept it from being started may be what was changed.
                    *at = now;
                }
                self.all.push(same);
                continue;
            }
            match open(path, wanted) {
                Ok(file) => self.all.push(Fifo {
                    reader: wanted.script.as_ref().map_or(Reader::None, |_| Reader::At(now, 0)),
                    config: wanted.clone(),
                    file,
                    refused: None,
                }),
                Err(e) => {
                    let fields = [("path", json!(path)), ("error", json!(e.to_string()))];
                    log::event("error", "cannot open FIFO", &fields);
                }
            }
        }
        for fifo in old {
            self.end(fifo.reader);
        }
        self.tick(now);
    }

    fn end(&mut self, reader: Reader) {
        if let Reader::Running(child) = reader {
            spawn::signal_group(&child, libc::SIGTERM);
            self.ending.push(child);
        }
    }

    /// Writes a line to each; who does not read in time misses it.
    pub(crate) fn write(&mut self, line: &str) {
        for fifo in &mut self.all {
            if let Err(e) = fifo.file.write_all(line.as_bytes()) {
                let fields = [("path", json!(fifo.config.path)), ("error", json!(e.to_string()))];
                log::event("warning", "FIFO is not read", &fields);
            }
        }
    }

    /// Starts readers, and looks which have ended.
    pub(crate) fn tick(&mut self, now: Time) {
        self.ending.retain_mut(|child| child.ended().is_none());
        for fifo in &mut self.all {
            if let Reader::Running(child) = &mut fifo.reader
                && let Some(how) = child.ended()
            {
                let fields = [("path", json!(fifo.config.path)), ("result", json!(how.to_string()))];
                log::event("warning", "the FIFO's script has ended and is started again", &fields);
                fifo.reader = Reader::At(now + AGAIN, 0);
            }
            if let Reader::At(at, failed) = fifo.reader
                && at <= now
            {
                match start(&fifo.config, &self.global) {
                    Ok(reader) => (fifo.reader, fifo.refused) = (reader, None),
                    Err(reason) => {
                        fifo.reader = Reader::At(now + AGAIN * (1 << failed.min(DOUBLINGS)), failed.saturating_add(1));
                        if fifo.refused.as_ref() != Some(&reason) {
                            let fields = [("path", json!(fifo.config.path)), ("reason", json!(reason))];
                            log::event("error", "the FIFO's script is not run", &fields);
                            fifo.refused = Some(reason);
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let starts = self.all.iter().filter_map(|f| match f.reader {
            Reader::At(at, _) => Some(at),
            _ => None,
        });
        starts.min()
    }

    /// Nothing more is written: a reader that has read everything sees the end.
    pub(crate) fn close(&mut self) {
        for fifo in self.all.drain(..) {
            if let Reader::Running(child) = fifo.reader {
                self.ending.push(child);
            }
        }
    }

    /// Signals the readers that have not ended by themselves.
    pub(crate) fn signal(&self, signal: i32) {
        self.ending.iter().for_each(|child| spawn::signal_group(child, signal));
    }

    /// No reader runs, after [`Fifos::close`].
    pub(crate) fn idle(&self) -> bool {
        self.all.is_empty() && self.ending.is_empty()
    }
}

fn inode(meta: &io::Result<fs::Metadata>) -> Option<(u64, u64)> {
    meta.as_ref().ok().map(|m| (m.dev(), m.ino()))
}

fn open(path: &str, fifo: &keepalived::Fifo) -> io::Result<File> {
    let name = CString::new(path)?;
    // SAFETY: `name` ends with zero. What exists already is looked at below.
    unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    // Read and write: opening does not wait for a reader, and writing needs none. Not through a link, as keepalived: it may
    // lie in a directory of others.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is not a FIFO"));
    }
    if let Some(user) = &fifo.user {
        let ids = users::lookup(&user.user, user.group.as_deref()).map_err(io::Error::other)?;
        std::os::unix::fs::fchown(file.as_fd(), Some(ids.uid), Some(ids.gid))?;
    }
    Ok(file)
}

/// Starts the reader: the FIFO's path is its last argument.
fn start(fifo: &keepalived::Fifo, global: &GlobalDefs) -> Result<Reader, String> {
    let (Some(path), Some(script)) = (&fifo.path, &fifo.script) else {
        return Ok(Reader::None);
    };
    let Prepared { mut argv, ids } = script::prepare(script, global, &spawn::path())?;
    argv.push(path.clone());
    spawn::spawn(&argv, &ids)
        .map(Reader::Running)
        .map_err(|e| format!("{}: {e}", argv[0]))
}
