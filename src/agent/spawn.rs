//! Starts check and notify scripts: as their user, with nothing of the daemon's but its environment.

use std::ffi::CStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::users;
use crate::keepalived::{self, GlobalDefs, User};

/// For scripts if the daemon itself has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
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

/// Starts a command in a process group of its own.
pub(super) fn spawn(argv: &[String], ids: &users::Ids) -> io::Result<Child> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .current_dir("/");
    for name in PRIVATE {
        command.env_remove(name);
    }
    if std::env::var_os("PATH").is_none_or(|path| path.is_empty()) {
        command.env("PATH", PATH);
    }
    let ids = ids.clone();
    let protected = oom_score().is_some_and(|score| score < 0);
    // SAFETY: `become_ordinary` only makes system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || become_ordinary(&ids, protected)) };
    command.spawn()
}

/// In the child, between fork and exec: std's child inherits everything of the packet thread.
fn become_ordinary(ids: &users::Ids, protected: bool) -> io::Result<()> {
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
                return Ok(());
            }
            let done = libc::setgroups(ids.groups.len(), ids.groups.as_ptr()) == 0
                && libc::setgid(ids.gid) == 0
                && libc::setuid(ids.uid) == 0;
            if !done {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// How much the kernel would rather end us, -1000 to 1000.
fn oom_score() -> Option<i32> {
    std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Signals the process group of a child that has not been waited for.
pub(super) fn signal_group(child: &Child, signal: i32) {
    // SAFETY: plain system call; the group exists as long as the child is not reaped.
    unsafe { libc::kill(-(child.id() as i32), signal) };
}

/// Who runs a command: its own user, else script_user, else keepalived_script if there is one, else root.
fn ids(user: Option<&User>, global: &GlobalDefs) -> Result<users::Ids, String> {
    match user.or(global.script_user.as_ref()) {
        Some(u) => users::lookup(&u.user, u.group.as_deref()),
        None => Ok(users::lookup("keepalived_script", None).unwrap_or(users::Ids::ROOT)),
    }
}

/// Who runs a command, unless it must not be run: then why.
pub(super) fn allowed(command: &keepalived::Command, global: &GlobalDefs) -> Result<users::Ids, String> {
    let ids = ids(command.user.as_ref(), global)?;
    let program = command.argv.first().map_or("", String::as_str);
    match global.script_security.then(|| insecure(program)).flatten() {
        Some(reason) if ids.uid == 0 => Err(reason),
        _ => Ok(ids),
    }
}

/// Why a command of root's must not run, if somebody else could change what it is.
fn insecure(program: &str) -> Option<String> {
    let mut path = Path::new(program);
    if !path.is_absolute() {
        return Some(format!("`{program}` is not an absolute path"));
    }
    loop {
        if let Ok(meta) = std::fs::metadata(path) {
            let sticky_dir = meta.is_dir() && meta.mode() & 0o1000 != 0;
            if meta.uid() != 0 || (meta.mode() & 0o022 != 0 && !sticky_dir) {
                return Some(format!("{} can be changed by others than root", path.display()));
            }
        }
        path = path.parent()?;
    }
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
        assert!(spawn(&argv, ids).unwrap().wait().unwrap().success());
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

    #[test]
    fn a_script_of_another_user_has_his_groups_and_no_others() {
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("SKIPPED: needs root");
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
