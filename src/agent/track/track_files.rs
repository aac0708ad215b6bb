//! `track_file`: a number in a file, as a weight.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::json;

use crate::agent::os::log;
use crate::keepalived::{Config, TrackFile};
use crate::vrrp::Time;

/// Between two looks, and between two looks at what was seen.
const LOOK: Duration = Duration::from_millis(100);
/// So much of a file is read: more than any number takes.
const MOST: u64 = 64;

/// Numbers, in the order of the rules.
type Seen = Mutex<Vec<i64>>;

/// All tracked files.
#[derive(Default)]
pub(crate) struct Files {
    all: Vec<(TrackFile, i64)>,
    /// What the looking thread saw last; it ends when this goes.
    seen: Option<Arc<Seen>>,
    next: Option<Time>,
}

impl Files {
    /// Rules of a configuration; creates what `init_file` asks for, reads once.
    pub(crate) fn configure(&mut self, config: &Config, now: Time) {
        for rule in &config.track_files {
            if let Some(value) = rule.init
                && let Err(e) = create(&rule.file, value)
            {
                let fields = [("path", json!(rule.file)), ("error", json!(e.to_string()))];
                log::event("warning", "cannot make the tracked file", &fields);
            }
        }
        self.all = config
            .track_files
            .iter()
            .map(|rule| (rule.clone(), read(&rule.file)))
            .collect();
        self.seen = if self.all.is_empty() {
            None
        } else {
            self.begin_to_look()
        };
        self.next = (!self.all.is_empty()).then_some(now + LOOK);
    }

    /// A thread of its own looks: a file system that hangs must not hold up the packets.
    fn begin_to_look(&self) -> Option<Arc<Seen>> {
        let seen = Arc::new(Mutex::new(self.all.iter().map(|(_, number)| *number).collect()));
        let paths: Vec<String> = self.all.iter().map(|(rule, _)| rule.file.clone()).collect();
        let told = Arc::downgrade(&seen);
        let spawned = std::thread::Builder::new()
            .name("files".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || look(&paths, &told));
        match spawned {
            Ok(_) => Some(seen),
            Err(e) => {
                let fields = [("error", json!(e.to_string()))];
                log::event("warning", "tracked files are read in the packet thread", &fields);
                None
            }
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.next
    }

    /// Looks at what was seen, if it is time. Returns whether a number changed.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        if self.next.is_none_or(|at| now < at) {
            return false;
        }
        self.next = Some(now + LOOK);
        let numbers: Vec<i64> = match self.seen.as_ref().map(|seen| seen.try_lock()) {
            Some(Ok(seen)) => seen.clone(),
            // It is being written.
            Some(Err(_)) => return false,
            None => self.all.iter().map(|(rule, _)| read(&rule.file)).collect(),
        };
        let mut changed = false;
        for ((_, number), seen) in self.all.iter_mut().zip(numbers) {
            changed |= *number != seen;
            *number = seen;
        }
        changed
    }

    /// The number in the file and the rule's own weight (1 unless written).
    pub(crate) fn value(&self, name: &str) -> Option<(i64, i64, bool)> {
        let (rule, value) = self.all.iter().find(|(rule, _)| rule.name == name)?;
        Some((*value, rule.weight.unwrap_or(1).into(), rule.reverse))
    }
}

fn look(paths: &[String], told: &Weak<Seen>) {
    loop {
        std::thread::sleep(LOOK);
        let numbers: Vec<i64> = paths.iter().map(|path| read(path)).collect();
        let Some(seen) = told.upgrade() else { return };
        // Nobody panics while holding it.
        if let Ok(mut seen) = seen.lock() {
            *seen = numbers;
        }
    }
}

/// A file without a number counts as 0, as in keepalived. As there, links are followed; but nothing that could keep us
/// waiting is read: no FIFO, no device, and no more than a number.
fn read(path: &str) -> i64 {
    text(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn text(path: &str) -> io::Result<String> {
    // Opening does not wait for whoever would write into a FIFO.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let mut text = String::new();
    if file.metadata()?.is_file() {
        file.take(MOST).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Never through a link that somebody else may have put there.
fn create(path: &str, value: i32) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(format!("{value}\n").as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_a_number_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("number"), " -42\n").unwrap();
        assert_eq!(read(&path("number")), -42);
        symlink(path("number"), path("link")).unwrap();
        assert_eq!(read(&path("link")), -42, "as keepalived");
        fs::write(path("words"), "no number\n").unwrap();
        assert_eq!((read(&path("words")), read(&path("nothing"))), (0, 0));
        fs::write(path("long"), format!("7{}8", " ".repeat(100_000))).unwrap();
        assert_eq!(read(&path("long")), 7, "what comes later is not looked at");
        let fifo = CString::new(path("fifo")).unwrap();
        // SAFETY: a name that ends with its zero.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        assert_eq!(read(&path("fifo")), 0, "and nobody waits for its writer");
        symlink(path("fifo"), path("link to the fifo")).unwrap();
        assert_eq!(read(&path("link to the fifo")), 0);
        assert_eq!(read("/dev/zero"), 0);
    }

    #[test]
    fn a_file_is_made_once_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        create(&path("number"), 5).unwrap();
        create(&path("number"), 6).unwrap();
        assert_eq!(read(&path("number")), 5, "what is there stays");
        symlink(path("elsewhere"), path("link")).unwrap();
        create(&path("link"), 5).unwrap();
        assert!(!fs::exists(path("elsewhere")).unwrap());
    }
}
