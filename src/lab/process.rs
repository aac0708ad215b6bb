//! Starting processes where they belong: a lab's cgroups, a network namespace, a session of their own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::cgroup;
use super::error::{Doing, LabError};

/// Moves the calling thread into a named network namespace; threads and processes it starts follow.
pub(super) fn enter_namespace(name: &str) -> Result<(), LabError> {
    let path = Path::new("/run/netns").join(name);
    let file = File::open(&path).map_err(|e| {
        LabError::new(format!("cannot open {}", path.display()))
            .because(e)
            .hint("is the lab up? `hapair lab status`")
    })?;
    set_namespace(file.as_raw_fd()).at("enter", &path)
}

fn set_namespace(fd: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is valid; setns changes nothing but this thread's network namespace.
    if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Where a process is to start.
#[derive(Debug, Default)]
pub(super) struct Place {
    doors: Vec<OwnedFd>,
    namespace: Option<File>,
    own_session: bool,
    dies_with_us: bool,
}

impl Place {
    pub(super) fn new() -> Place {
        Place::default()
    }

    /// In the cgroups of a part of a lab.
    pub(super) fn part(mut self, lab: &str, part: &str) -> Result<Place, LabError> {
        self.doors = cgroup::doors(lab, part)?;
        Ok(self)
    }

    /// In a named network namespace.
    pub(super) fn namespace(mut self, name: &str) -> Result<Place, LabError> {
        let path = Path::new("/run/netns").join(name);
        self.namespace = Some(File::open(&path).at("open", &path)?);
        Ok(self)
    }

    /// Detached from our terminal: it outlives hapair.
    pub(super) fn own_session(mut self) -> Place {
        self.own_session = true;
        self
    }

    /// Killed when the thread that started it ends, however it ends.
    pub(super) fn dies_with_us(mut self) -> Place {
        self.dies_with_us = true;
        self
    }

    /// Makes the command start there.
    pub(super) fn apply(self, command: &mut Command) {
        let us = std::process::id() as libc::pid_t;
        // SAFETY: between fork and exec only write, setns, setsid, prctl and getppid are called, all
        // async-signal-safe; the descriptors are owned by the closure, which the command keeps.
        unsafe {
            command.pre_exec(move || {
                for door in &self.doors {
                    if libc::write(door.as_raw_fd(), b"0".as_ptr().cast(), 1) != 1 {
                        return Err(io::Error::last_os_error());
                    }
                }
                if let Some(namespace) = &self.namespace {
                    set_namespace(namespace.as_raw_fd())?;
                }
                if self.own_session && libc::setsid() < 0 {
                    return Err(io::Error::last_os_error());
                }
                if self.dies_with_us {
                    if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                        return Err(io::Error::last_os_error());
                    }
                    // Killed between fork and prctl: no signal will come any more.
                    if libc::getppid() != us {
                        return Err(io::Error::from_raw_os_error(libc::ESRCH));
                    }
                }
                Ok(())
            });
        }
    }
}

/// A command as it runs everywhere in the lab: without the caller's locale and configuration.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").current_dir("/");
    // Services find their programs where an administrator would, also when hapair runs with a user's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"));
    command
}

/// A shell script that is PID 1 of a private pid namespace, in a private mount namespace, and ends with what started it.
/// `dir`: where it keeps its files (`LAB_DIR`); `lower`: the file system that it starts from (`LAB_LOWER`).
pub(super) fn supervisor(script: &Path, dir: &Path, lower: &str) -> Command {
    let mut command = command("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh"])
        .arg(script)
        .env("LAB_DIR", dir)
        .env("LAB_LOWER", lower);
    command
}

/// Runs a command to its end; failure carries what it wrote to standard error.
pub(super) fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<Output, LabError> {
    let mut command = command(program);
    command.args(args).stdin(Stdio::null());
    finish(program, command)
}

/// Runs a prepared command to its end. It is killed with us, so that it cannot go on in a lab that is taken down.
pub(super) fn finish(program: &str, mut command: Command) -> Result<Output, LabError> {
    Place::new().dies_with_us().apply(&mut command);
    let output = command.output().doing(|| format!("run {program}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(LabError::new(format!(
        "`{program} {}` failed ({}): {}",
        args.join(" "),
        output.status,
        said.trim()
    )))
}

/// Runs a command, handing on what it writes line by line; failure carries the last lines.
pub(super) fn stream(what: &str, mut command: Command, line: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let (reader, writer) = io::pipe().doing(|| "make a pipe".into())?;
    let second = writer.try_clone().doing(|| "copy a pipe".into())?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second);
    let mut child = command.spawn().doing(|| format!("run {what}"))?;
    drop(command); // with it our ends of the pipe
    let mut tail: Vec<String> = Vec::new();
    let mut reader = BufReader::new(reader);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        // A line is ended by \r too in progress displays; 64 KiB bounds what a broken program can make us keep.
        match reader.by_ref().take(1 << 16).read_until(b'\n', &mut raw) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        let text = String::from_utf8_lossy(&raw);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        line(&text);
        tail.push(text);
        if tail.len() > 20 {
            tail.remove(0);
        }
    }
    let status = child.wait().doing(|| format!("wait for {what}"))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::new(format!(
        "{what} failed ({status}); it said last:\n{}",
        tail.join("\n")
    )))
}

/// Starts a process that outlives hapair, its output in a file. A thread waits for it, so that it leaves no zombie
/// while hapair runs.
pub(super) fn detach(mut command: Command, log: &Path) -> Result<(), LabError> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .at("open", log)?;
    let second = file.try_clone().at("open", log)?;
    command.stdin(Stdio::null()).stdout(file).stderr(second);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().doing(|| format!("start {program}"))?;
    std::thread::spawn(move || child.wait());
    Ok(())
}
