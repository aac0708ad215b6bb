//! The mark of a run: a file in the state directory that is there for as long as the daemon lives. Found while nobody holds the lock
//! beside it, it means a crash that nobody has cleaned up after.
//!
//! The lock is fcntl(2)'s, which belongs to the process: the kernel drops it with the process, and a child between fork and
//! exec does not keep it. It would also be dropped if the daemon closed another descriptor of the same file, so the daemon
//! opens it once.
//!
//! Any user who can open the file for reading can take a shared lock, or wait for one and get it when the daemon dies: the daemon would
//! seem to live for ever. So the lock is on a file that never was open to anybody else ([`ours_alone`]), in a directory that nobody
//! else writes to, and what somebody else has put there is removed. Older versions locked the mark itself, which everybody could
//! read; there only the write lock counts, which nobody else can take ([`holder`]).

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libc::{c_int, c_short};

use super::state_dir::{crashed_in, lock_in, running_in};

/// A mark that this process holds.
#[derive(Debug)]
pub(crate) struct Mark {
    dir: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// The life before, as far as the state directory knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It ended in good order, or there was none.
    Clean,
    /// It ended without taking its addresses off itself.
    Crash,
}

/// Whose the mark is.
#[derive(Debug)]
pub(crate) enum Claim {
    /// This process's now.
    Ours(Mark, Before),
    /// A living one's, of that process id.
    Theirs(libc::pid_t),
}

/// Makes the mark of a run that begins.
///
/// # Errors
/// The state directory belongs to somebody else, or cannot be made or written to.
pub(crate) fn claim(dir: &Path) -> io::Result<Claim> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir)?;
    secure(dir)?;
    let lock = match take(dir)? {
        Ok(lock) => lock,
        Err(pid) => return Ok(Claim::Theirs(pid)),
    };
    let crashed = is_ours(&running_in(dir)) || is_ours(&crashed_in(dir));
    let before = if crashed { Before::Crash } else { Before::Clean };
    let path = running_in(dir);
    // Renamed, so that what a crash has left is never missing, and what is not a file of ours is out of the way.
    let new = path.with_extension("new");
    discard(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    // That it is there counts, not the text, which is for people: a full disk takes no mark away.
    drop(file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    if path.is_dir() {
        discard(&path)?;
    }
    fs::rename(&new, &path)?;
    discard(&crashed_in(dir))?;
    let dir = dir.to_owned();
    Ok(Claim::Ours(Mark { dir, _lock: lock }, before))
}

/// For the stop step: the mark of a run that has crashed, if there is one.
///
/// # Errors
/// The state directory belongs to somebody else, or the lock cannot be opened.
pub(crate) fn left_behind(dir: &Path) -> io::Result<Option<Claim>> {
    if !is_ours(&running_in(dir)) {
        return Ok(None);
    }
    secure(dir)?;
    Ok(match take(dir)? {
        Err(pid) => Some(Claim::Theirs(pid)),
        // Whoever held it has ended in good order meanwhile.
        Ok(_) if !is_ours(&running_in(dir)) => None,
        Ok(lock) => Some(Claim::Ours(
            Mark {
                dir: dir.to_owned(),
                _lock: lock,
            },
            Before::Crash,
        )),
    })
}

impl Mark {
    /// The run ended in good order.
    pub(crate) fn clear(self) -> io::Result<()> {
        fs::remove_file(running_in(&self.dir))
    }

    /// What a crash has left is gone: nobody need look again, and the next start shall know.
    pub(crate) fn cleaned_up(self) -> io::Result<()> {
        fs::rename(running_in(&self.dir), crashed_in(&self.dir))
    }

    /// The run did not come to begin: as it was before.
    pub(crate) fn withdraw(self, before: Before) -> io::Result<()> {
        match before {
            Before::Clean => self.clear(),
            // Not as if somebody had cleaned up: perhaps nobody has.
            Before::Crash => Ok(()),
        }
    }
}

fn our_user() -> libc::uid_t {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// From here on nobody else can put anything into the directory.
fn secure(dir: &Path) -> io::Result<()> {
    let meta = fs::metadata(dir)?;
    if meta.uid() != our_user() {
        let whose = format!("{} belongs to user {}, not to the agent's", dir.display(), meta.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, whose));
    }
    if meta.mode() & 0o022 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A file that our user has made, whoever may read it.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.uid() == our_user())
}

/// A file that only our user could ever open.
fn ours_alone(meta: &Metadata) -> bool {
    meta.is_file() && meta.uid() == our_user() && meta.mode() & 0o077 == 0
}

/// Removes what is there; a directory is moved aside, as it may hold anything.
fn discard(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::rename(path, path.with_extension(format!("aside-{}", std::process::id()))),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Takes the lock of the state directory, without waiting; else the process that has it.
fn take(dir: &Path) -> io::Result<Result<File, libc::pid_t>> {
    let path = lock_in(dir);
    let lock = loop {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW);
        let opened = match options.clone().create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => options.open(&path),
            opened => opened,
        };
        match opened {
            Ok(file) if !ours_alone(&file.metadata()?) => {
                // Perhaps somebody has only made it readable since.
                if let Some(pid) = holder(&file)? {
                    return Ok(Err(pid));
                }
                discard(&path)?;
            }
            Ok(file) => {
                if let Some(pid) = lock(&file)? {
                    return Ok(Err(pid));
                }
                // It may have been discarded between our opening and our lock.
                if is_at(&file, &path) {
                    break file;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.is_dir() => {}
            // A directory or a link.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::ELOOP)) => discard(&path)?,
            Err(e) => return Err(e),
        }
    };
    // A daemon of an older version locks the mark itself.
    if is_ours(&running_in(dir)) {
        let mark = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(running_in(dir))?;
        if let Some(pid) = holder(&mark)? {
            return Ok(Err(pid));
        }
    }
    Ok(Ok(lock))
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |m: Metadata| (m.dev(), m.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => inode(open) == inode(there),
        _ => false,
    }
}

/// The process that holds a write lock on a file that others may have open for reading. Where only our user can write, it is one of
/// ours; a shared lock is not, and keeps none out: both cannot be there at once.
fn holder(file: &File) -> io::Result<Option<libc::pid_t>> {
    let meta = file.metadata()?;
    if meta.uid() != our_user() || meta.mode() & 0o022 != 0 {
        return Ok(None);
    }
    let found = record(file, libc::F_GETLK)?;
    Ok((found.l_type == libc::F_WRLCK as c_short).then_some(found.l_pid))
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
        // Both are looked at: the lock, and what an older version has locked.
        for path in [lock_in(dir.path()), running_in(dir.path())] {
            a_living_process_keeps(dir.path(), &path);
        }
    }

    fn a_living_process_keeps(dir: &Path, path: &Path) {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.mode(0o600).open(running_in(dir)).unwrap();
        let file = options.open(path).unwrap();
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
        assert!(matches!(claim(dir), Ok(Claim::Theirs(p)) if p == pid));
        assert!(matches!(left_behind(dir), Ok(Some(Claim::Theirs(p))) if p == pid));
        // SAFETY: a child of ours that has not been waited for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        assert!(matches!(left_behind(dir), Ok(Some(Claim::Ours(..)))));
    }
}
