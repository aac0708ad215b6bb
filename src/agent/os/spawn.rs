//! Starts check and notify scripts: as their user, with nothing of the daemon's but its environment.
//!
//! fork and execve are called here and not by std: std waits for the child's exec, and the child is an ordinary process.
//! On a busy machine the packet thread, real-time or not, would wait as long as that one waits for the CPU.

use std::ffi::{CStr, CString, OsString, c_char};
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::{fmt, io};

use super::script::PATH;
use super::users;

/// What systemd tells the daemon alone.
const PRIVATE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];
const OOM_SCORE: &CStr = c"/proc/self/oom_score_adj";
const SHELL: &CStr = c"/bin/sh";
/// Exit status of a child that could not become its program, as the shell's.
const NOT_RUN: i32 = 126;

/// A process that was started here and is waited for here.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    end: Option<End>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As the kernel says.
    Known(ExitStatus),
    /// It is gone, and somebody else was told how: no success.
    Unknown,
}

impl End {
    /// It did what it should.
    pub(crate) fn success(self) -> bool {
        matches!(self, End::Known(status) if status.success())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Known(status) => status.fmt(f),
            End::Unknown => f.write_str("unknown end"),
        }
    }
}

impl Child {
    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<End> {
        self.reap(libc::WNOHANG)
    }

    /// Waits for its end.
    #[cfg(test)]
    pub(crate) fn wait(&mut self) -> End {
        self.reap(0).unwrap_or(End::Unknown)
    }

    /// Waits for its end without telling its `Child`, as a stranger could.
    #[cfg(test)]
    pub(crate) fn steal(&self) {
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) }, self.pid);
    }

    fn reap(&mut self, flags: i32) -> Option<End> {
        while self.end.is_none() {
            let mut status = 0;
            // SAFETY: a child of ours that has not been waited for; `status` is a valid int.
            match unsafe { libc::waitpid(self.pid, &mut status, flags) } {
                0 => return None,
                pid if pid == self.pid => self.end = Some(End::Known(ExitStatus::from_raw(status))),
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // ECHILD: it is no child any more.
                _ => self.end = Some(End::Unknown),
            }
        }
        self.end
    }
}

/// Everything that the child needs, so that it allocates nothing.
struct Image<'i> {
    program: &'i CStr,
    argv: Vec<*const c_char>,
    /// For a script without an interpreter line: the shell, then the script.
    shell_argv: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    null: RawFd,
    ids: &'i users::Ids,
    protected: bool,
}

/// Starts a command in a process group of its own, without waiting for anything.
///
/// # Errors
/// There is no such program, or no process can be made. What shows only in the child ends it with status 126.
pub(crate) fn spawn(argv: &[String], ids: &users::Ids) -> io::Result<Child> {
    let name = argv.first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let environment = environment()?;
    let program = find(name, &path())?;
    let words: Vec<CString> = argv
        .iter()
        .map(|w| CString::new(w.as_bytes()))
        .collect::<Result<_, _>>()?;
    let pointers = |list: &[CString]| list.iter().map(|w| w.as_ptr()).chain([std::ptr::null()]).collect();
    let mut shell_argv = vec![SHELL.as_ptr(), program.as_ptr()];
    shell_argv.extend(words[1..].iter().map(|w| w.as_ptr()));
    shell_argv.push(std::ptr::null());
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let image = Image {
        program: &program,
        argv: pointers(&words),
        shell_argv,
        environment: pointers(&environment),
        null: null.as_raw_fd(),
        ids,
        protected: oom_score().is_some_and(|score| score < 0),
    };
    // SAFETY: the child only makes system calls on what is prepared, allocates nothing, takes no lock, and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: this is the child; the image and what it points to live on this stack.
        0 => unsafe { become_program(&image) },
        pid => {
            // Here and there: whoever comes first. Signals go to the group from now on.
            // SAFETY: plain system call.
            unsafe { libc::setpgid(pid, pid) };
            Ok(Child { pid, end: None })
        }
    }
}

/// Where the daemon looks for programs.
pub(crate) fn path() -> OsString {
    let own = std::env::var_os("PATH").filter(|p| !p.is_empty());
    own.unwrap_or_else(|| PATH.into())
}

/// The daemon's, without what is the daemon's alone.
fn environment() -> io::Result<Vec<CString>> {
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, value)| !PRIVATE.iter().any(|p| name == p) && (name != "PATH" || !value.is_empty()))
        .collect();
    if !all.iter().any(|(name, _)| name == "PATH") {
        all.push(("PATH".into(), PATH.into()));
    }
    let one = |(name, value): (OsString, OsString)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        Ok(CString::new(entry)?)
    };
    all.into_iter().map(one).collect()
}

/// The program's file, by PATH unless it is a path itself.
fn find(name: &str, path: &std::ffi::OsStr) -> io::Result<CString> {
    let executable = |file: &Path| file.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    let file = if name.contains('/') {
        let file = Path::new(name).to_owned();
        let meta = file.metadata()?;
        (meta.is_file() && meta.mode() & 0o111 != 0).then_some(file)
    } else {
        std::env::split_paths(path)
            .map(|dir| dir.join(name))
            .find(|f| executable(f))
    };
    let kind = if name.contains('/') {
        io::ErrorKind::PermissionDenied
    } else {
        io::ErrorKind::NotFound
    };
    let file = file.ok_or(kind)?;
    Ok(CString::new(file.as_os_str().as_bytes())?)
}

/// The child's life until exec.
///
/// # Safety
/// Only in a child after fork; every pointer of the image must be valid and every list end with null.
unsafe fn become_program(image: &Image<'_>) -> ! {
    // SAFETY: async-signal-safe system calls on prepared memory; see above.
    unsafe {
        libc::setpgid(0, 0);
        let ready = become_ordinary(image.ids, image.protected)
            && (0..3).all(|fd| libc::dup2(image.null, fd) >= 0)
            && libc::chdir(c"/".as_ptr()) == 0;
        if ready {
            // The Rust runtime ignores it.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::execve(image.program.as_ptr(), image.argv.as_ptr(), image.environment.as_ptr());
            if io::Error::last_os_error().raw_os_error() == Some(libc::ENOEXEC) {
                libc::execve(SHELL.as_ptr(), image.shell_argv.as_ptr(), image.environment.as_ptr());
            }
        }
        libc::_exit(NOT_RUN)
    }
}

/// A child inherits everything of the packet thread. Returns whether all that must be is done.
fn become_ordinary(ids: &users::Ids, protected: bool) -> bool {
    // SAFETY: plain system calls on locals; each is safe after fork. musl's own sched_setscheduler only says ENOSYS.
    unsafe {
        // The daemon blocks the signals that its descriptor reports; who cannot be sent SIGTERM cannot be ended in peace.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // The kernel has done both already where the daemon itself asked for them (RESET_ON_FORK); a unit may have, too.
        let ordinary = 0i32;
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_OTHER,
            std::ptr::from_ref(&ordinary),
        );
        if libc::getpriority(libc::PRIO_PROCESS, 0) < 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        }
        if protected {
            let fd = libc::open(OOM_SCORE.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if fd >= 0 {
                libc::write(fd, b"0\n".as_ptr().cast(), 2);
                libc::close(fd);
            }
        }
        if !ids.is_root() || libc::getuid() != 0 {
            // Only root may do this; in tests of an ordinary user there is nothing to change.
            if libc::getuid() == ids.uid && libc::getgid() == ids.gid {
                return true;
            }
            return libc::setgroups(ids.groups.len(), ids.groups.as_ptr()) == 0
                && libc::setgid(ids.gid) == 0
                && libc::setuid(ids.uid) == 0;
        }
    }
    true
}

/// How much the kernel would rather end us, -1000 to 1000.
fn oom_score() -> Option<i32> {
    std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Signals the process group of a child, unless it has been waited for.
pub(crate) fn signal_group(child: &Child, signal: i32) {
    if child.end.is_some() {
        return;
    }
    // SAFETY: plain system call; the group exists as long as the child is not reaped.
    unsafe { libc::kill(-child.pid, signal) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// What a script sees of itself, for one that may write into the directory.
    fn seen(ids: &users::Ids, dir: &Path) -> String {
        let out = dir.join("seen");
        let script = format!(
            "{{ cat /proc/self/status; readlink /proc/$$/fd/*; echo PATH=$PATH; }} >{} 2>&1",
            out.display()
        );
        let argv = ["/bin/sh", "-c", &script].map(str::to_owned);
        assert!(spawn(&argv, ids).unwrap().wait().success());
        std::fs::read_to_string(out).unwrap()
    }

    #[test]
    fn a_script_inherits_neither_blocked_signals_nor_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let ids = users::Ids::of_this_process();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let blocked = std::thread::spawn({
            let dir = dir.path().to_owned();
            move || {
                let mut mask = nix::sys::signal::SigSet::empty();
                mask.add(nix::sys::signal::Signal::SIGTERM);
                mask.thread_block().unwrap();
                seen(&ids, &dir)
            }
        });
        let text = blocked.join().unwrap();
        assert!(text.contains("SigBlk:\t0000000000000000\n"), "{text}");
        let inode = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        assert!(!text.contains(&*inode.to_string_lossy()), "{text}");
        assert!(text.contains("PATH=/"), "{text}");
    }

    fn ends(argv: &[&str]) -> Option<i32> {
        let argv: Vec<String> = argv.iter().map(|w| (*w).to_owned()).collect();
        let ids = users::Ids::of_this_process();
        match spawn(&argv, &ids).unwrap().wait() {
            End::Known(status) => status.code(),
            End::Unknown => None,
        }
    }

    #[test]
    fn programs_are_found_and_their_end_is_told() {
        assert_eq!(ends(&["sh", "-c", "exit 7"]), Some(7), "by PATH");
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("no interpreter line");
        std::fs::write(&script, "test \"$1\" = 'a b' && exit 5\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        assert_eq!(ends(&[script.to_str().unwrap(), "a b"]), Some(5), "the shell runs it");
        std::fs::write(&script, "#!/nowhere/to/be/found\n").unwrap();
        assert_eq!(ends(&[script.to_str().unwrap()]), Some(NOT_RUN));
        let kind = |program: &str| spawn(&[program.to_owned()], &users::Ids::ROOT).unwrap_err().kind();
        assert_eq!(kind("/nowhere/to/be/found"), io::ErrorKind::NotFound);
        assert_eq!(kind("hp-nowhere-to-be-found"), io::ErrorKind::NotFound);
        assert_eq!(kind("/etc/passwd"), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_script_of_another_user_has_his_groups_and_no_others() {
        if !crate::agent::left_out::able(&[]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        let ids = users::Ids {
            uid: 65_534,
            gid: 65_533,
            groups: vec![65_533, 4242],
        };
        let text = seen(&ids, dir.path());
        assert!(text.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{text}");
        assert!(text.contains("Gid:\t65533\t65533\t65533\t65533\n"), "{text}");
        let groups = text.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap();
        let mut groups: Vec<&str> = groups.split_whitespace().collect();
        groups.sort_unstable();
        assert_eq!(groups, ["4242", "65533"]);
    }
}
