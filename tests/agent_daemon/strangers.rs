//! Other users of the machine have no say in whether the agent counts as running.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::host::{Host, able, instance, until};

const NOBODY: u32 = 65534;

/// How far nobody got.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Got {
    /// The file could not be opened.
    Nothing,
    /// It waits for a shared lock, or has it already.
    InLine,
}

/// A process of `nobody` that opens a file for reading and waits for a shared lock on it, for as long as this lives.
struct Waiting {
    pid: i32,
    got: Got,
}

impl Waiting {
    fn for_lock_on(path: &Path) -> Waiting {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let (mut heard, says) = std::io::pipe().unwrap();
        // SAFETY: the child makes system calls only, on what is there already, and does not return.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe {
                // Not longer than any test, should the test die before it ends this.
                libc::alarm(300);
                if libc::setgid(NOBODY) != 0 || libc::setuid(NOBODY) != 0 {
                    libc::_exit(9);
                }
                let fd = libc::open(name.as_ptr(), libc::O_RDONLY);
                libc::write(says.as_raw_fd(), if fd < 0 { b"n" } else { b"y" }.as_ptr().cast(), 1);
                let mut lock: libc::flock = std::mem::zeroed();
                lock.l_type = libc::F_RDLCK as libc::c_short;
                libc::fcntl(fd, libc::F_SETLKW, &raw mut lock);
                loop {
                    libc::pause();
                }
            }
        }
        drop(says);
        let mut answer = [0];
        std::io::Read::read_exact(&mut heard, &mut answer).expect("nobody's word");
        let waiting = Waiting {
            pid,
            got: if &answer == b"y" { Got::InLine } else { Got::Nothing },
        };
        if waiting.got == Got::InLine {
            // Asleep in line for the lock, or with it: either way it has asked.
            until("nobody asks for the lock", || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.contains(") S ")
            });
        }
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: a child of ours that has not been waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// A host whose state directory can be reached by everybody, as `/run/hapair` can.
fn reachable() -> Host {
    let host = Host::new();
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    host
}

/// The daemon dies; the stop step and the restart do what they are for.
fn crash_and_return(host: &mut Host) {
    host.crash();
    assert!(host.owns(), "a crash leaves the VIP to the stop step");
    let config = host.path("keepalived.conf");
    let (said, done) = host.agent(&["release", "--config", config.to_str().unwrap()]);
    assert!(done && said.contains("VI_1: released"), "{said}");
    assert!(!host.owns(), "the VIP stays on a dead host");
    host.start(&instance(""), &[]);
    let log = host.read("log");
    assert!(log.contains("\"crashed_before\":true"), "{log}");
    assert!(!log.contains("cannot write the run marker"), "{log}");
    host.stop();
    assert!(!host.path("state/agent.running").exists());
}

#[test]
fn nobody_waits_for_every_lock_and_a_crash_is_cleaned_up_all_the_same() {
    if !able(&[]) {
        return;
    }
    let mut host = reachable();
    host.start(&instance(""), &[]);
    until("owner", || host.owns());
    let state = host.path("state");
    let mut seen = 0;
    let mut waiting = Vec::new();
    for entry in fs::read_dir(&state).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            seen += 1;
            waiting.push(Waiting::for_lock_on(&entry.path()));
        }
    }
    assert!(seen > 0, "there is a mark at least");
    crash_and_return(&mut host);
}

#[test]
fn what_an_older_version_left_open_to_everybody_decides_nothing() {
    if !able(&[]) {
        return;
    }
    let mut host = reachable();
    let state = host.path("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let mark = state.join("agent.running");
    fs::write(&mark, "1\n").unwrap();
    fs::set_permissions(&mark, fs::Permissions::from_mode(0o644)).unwrap();
    // It has the lock before the daemon begins, and another one is in line.
    let waiting = [Waiting::for_lock_on(&mark), Waiting::for_lock_on(&mark)];
    assert_eq!(waiting.each_ref().map(|w| w.got), [Got::InLine; 2]);
    // The run before has crashed without a stop step, so this one waits before it owns: alone it would be owner at once.
    host.start(&instance(""), &[]);
    let log = host.read("log");
    assert!(
        log.contains("\"crashed_before\":true") && !log.contains("cannot write the run marker"),
        "{log}"
    );
    for entry in fs::read_dir(&state).unwrap() {
        let meta = entry.unwrap().metadata().unwrap();
        assert_eq!(meta.mode() & 0o077, 0, "for root alone");
    }
    until("owner", || host.owns());
    crash_and_return(&mut host);
}

#[test]
fn files_of_another_user_in_the_state_directory_decide_nothing() {
    if !able(&[]) {
        return;
    }
    let mut host = reachable();
    let state = host.path("state");
    fs::create_dir(&state).unwrap();
    // It was open to everybody, once.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let nobodys = ["agent.running", "agent.lock", "agent.crashed"].map(|name| state.join(name));
    for path in &nobodys {
        fs::write(path, "1\n").unwrap();
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let _waiting = nobodys.each_ref().map(|path| Waiting::for_lock_on(path));
    // Nothing of it is a run of ours: there is nothing to release, and it is no error.
    let config = host.path("keepalived.conf");
    host.write(&instance(""));
    let (said, done) = host.agent(&["release", "--config", config.to_str().unwrap()]);
    assert!(done && said.is_empty(), "{said}");
    host.start(&instance(""), &[]);
    let log = host.read("log");
    assert!(
        log.contains("\"crashed_before\":false") && !log.contains("cannot write the run marker"),
        "{log}"
    );
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o022, 0);
    until("owner", || host.owns());
    crash_and_return(&mut host);
}

#[test]
fn while_the_agent_lives_its_stop_step_and_a_second_one_are_refused() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    host.start(&instance(""), &[]);
    until("owner", || host.owns());
    let (config, state) = (host.path("keepalived.conf"), host.path("state"));
    assert!(!host.agent(&["release", "--config", config.to_str().unwrap()]).1);
    let mut second = host.command(env!("CARGO_BIN_EXE_hapair-agent"));
    second
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(&state);
    let out = second.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let pid = format!("as process {}", host.pid());
    assert!(!out.status.success() && said.contains(&pid), "{said}");
    // Also when somebody has made its files readable.
    for entry in fs::read_dir(&state).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert!(!host.agent(&["release", "--config", config.to_str().unwrap()]).1);
    assert!(host.owns());
    host.stop();
}
