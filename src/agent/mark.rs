//! The mark of a run: a file in the state directory, locked for as long as the daemon lives. Found without the lock, it
//! means a crash that nobody has cleaned up after.
//!
//! The lock is fcntl(2)'s, which belongs to the process: the kernel drops it with the process, and a child between fork and
//! exec does not keep it. It would also be dropped if the daemon closed another descriptor of the same file, so the daemon
//! opens it once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libc::{c_int, c_short};

/// There while the daemon runs.
fn running_in(dir: &Path) -> PathBuf {
    dir.join("agent.running")
}

/// There after a crash that has been cleaned up after, until the next start.
fn crashed_in(dir: &Path) -> PathBuf {
    dir.join("agent.crashed")
}

/// A mark that this process holds.
#[derive(Debug)]
pub(super) struct Mark {
    dir: PathBuf,
    /// Holds the lock.
    _file: File,
}

/// The life before, as far as the state directory knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It ended in good order, or there was none.
    Clean,
    /// It ended without taking its addresses off itself.
    Crash,
}

/// Whose the mark is.
#[derive(Debug)]
pub(super) enum Claim {
    /// This process's now.
    Ours(Mark, Before),
    /// A living one's, of that process id.
    Theirs(libc::pid_t),
}

/// Makes the mark of a run that begins.
///
/// # Errors
/// The state directory cannot be made or written to.
pub(super) fn claim(dir: &Path) -> io::Result<Claim> {
    fs::create_dir_all(dir)?;
    let path = running_in(dir);
    loop {
        let (mut file, mut before) = match open(&path, OpenOptions::new().create_new(true)) {
            Ok(file) => (file, Before::Clean),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match open(&path, &mut OpenOptions::new()) {
                Ok(file) => (file, Before::Crash),
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            },
            Err(e) => return Err(e),
        };
        if let Some(pid) = lock(&file)? {
            return Ok(Claim::Theirs(pid));
        }
        // Whoever held it may have ended in good order between our opening and our lock.
        if !is_at(&file, &path) {
            continue;
        }
        // The lock counts, not the text, which is for people: a full disk takes no mark away.
        let pid = format!("{}\n", std::process::id());
        drop(file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())));
        if crashed_in(dir).exists() {
            before = Before::Crash;
            drop(fs::remove_file(crashed_in(dir)));
        }
        let dir = dir.to_owned();
        return Ok(Claim::Ours(Mark { dir, _file: file }, before));
    }
}

/// For the stop step: the mark of a run that has crashed, if there is one.
///
/// # Errors
/// The mark cannot be opened.
pub(super) fn left_behind(dir: &Path) -> io::Result<Option<Claim>> {
    let path = running_in(dir);
    let file = match open(&path, &mut OpenOptions::new()) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Some(match lock(&file)? {
        Some(pid) => Claim::Theirs(pid),
        // Whoever held it has ended in good order meanwhile.
        None if !is_at(&file, &path) => return Ok(None),
        None => Claim::Ours(
            Mark {
                dir: dir.to_owned(),
                _file: file,
            },
            Before::Crash,
        ),
    }))
}

impl Mark {
    /// The run ended in good order.
    pub(super) fn clear(self) -> io::Result<()> {
        fs::remove_file(running_in(&self.dir))
    }

    /// What a crash has left is gone: nobody need look again, and the next start shall know.
    pub(super) fn cleaned_up(self) -> io::Result<()> {
        fs::rename(running_in(&self.dir), crashed_in(&self.dir))
    }

    /// The run did not come to begin: as it was before.
    pub(super) fn withdraw(self, before: Before) -> io::Result<()> {
        match before {
            Before::Clean => self.clear(),
            // Not as if somebody had cleaned up: perhaps nobody has.
            Before::Crash => Ok(()),
        }
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.read(true).write(true).mode(0o644);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |m: fs::Metadata| (m.dev(), m.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => inode(open) == inode(there),
        _ => false,
    }
}

/// Locks it, without waiting. Returns who holds it otherwise.
fn lock(file: &File) -> io::Result<Option<libc::pid_t>> {
    loop {
        match record(file, libc::F_SETLK) {
            Ok(_) => return Ok(None),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        let found = record(file, libc::F_GETLK)?;
        // Else he has let go meanwhile.
        if found.l_type != libc::F_UNLCK as c_short {
            return Ok(Some(found.l_pid));
        }
    }
}

/// fcntl(2) with a write lock of the whole file.
fn record(file: &File, command: c_int) -> io::Result<libc::flock> {
    // SAFETY: all zero is a valid flock: from the beginning to the end of the file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as c_short;
    lock.l_whence = libc::SEEK_SET as c_short;
    // SAFETY: the descriptor is open, and `lock` lives during the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(claim: io::Result<Claim>) -> (Mark, Before) {
        match claim.unwrap() {
            Claim::Ours(mark, before) => (mark, before),
            Claim::Theirs(pid) => panic!("held by {pid}"),
        }
    }

    #[test]
    fn a_start_knows_how_the_life_before_ended() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (mark, before) = ours(claim(&state));
        assert_eq!(before, Before::Clean);
        mark.clear().unwrap();
        assert!(left_behind(&state).unwrap().is_none());
        assert_eq!(ours(claim(&state)).1, Before::Clean);
        // Dropped without a word: a crash.
        let (mark, before) = ours(claim(&state));
        assert_eq!(before, Before::Crash);
        mark.withdraw(before).unwrap();
        let (mark, _) = ours(Ok(left_behind(&state).unwrap().unwrap()));
        mark.cleaned_up().unwrap();
        assert!(left_behind(&state).unwrap().is_none(), "cleaned up once is enough");
        let (mark, before) = ours(claim(&state));
        assert_eq!(before, Before::Crash);
        mark.clear().unwrap();
        assert_eq!(ours(claim(&state)).1, Before::Clean);
    }

    #[test]
    fn a_living_process_keeps_its_mark_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = running_in(dir.path());
        fs::write(&path, "").unwrap();
        let file = open(&path, &mut OpenOptions::new()).unwrap();
        let (mut held, holds) = std::io::pipe().unwrap();
        // Another process, as locks of one process do not keep itself out.
        // SAFETY: the child makes system calls only, on what is open, and does not return.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let locked = record(&file, libc::F_SETLK).is_ok();
            // SAFETY: as above; one byte of a literal.
            unsafe {
                if locked {
                    libc::write(holds.as_raw_fd(), b"x".as_ptr().cast(), 1);
                }
                libc::pause();
                libc::_exit(0)
            }
        }
        drop(holds);
        io::Read::read_exact(&mut held, &mut [0]).unwrap();
        assert!(matches!(claim(dir.path()), Ok(Claim::Theirs(p)) if p == pid));
        assert!(matches!(left_behind(dir.path()), Ok(Some(Claim::Theirs(p))) if p == pid));
        // SAFETY: a child of ours that has not been waited for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        assert!(matches!(left_behind(dir.path()), Ok(Some(Claim::Ours(..)))));
    }
}
