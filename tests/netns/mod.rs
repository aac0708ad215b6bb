//! Network namespaces that tests make for themselves, and what every test of the daemon needs around it.
#![allow(dead_code)]

mod tap;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub(crate) use tap::Tap;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn have(program: &str) -> bool {
    let mut places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter();
    places.any(|dir| Path::new(dir).join(program).exists())
}

/// Whether the test can run with root, ip(8) and those programs; says so if not.
pub(crate) fn able(programs: &[&str]) -> bool {
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let missing = ["ip"].iter().chain(programs).find(|p| !have(p));
    let why = match (root, missing) {
        (false, _) => "root",
        (_, Some(program)) => program,
        _ => return true,
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "needs {why}, and CI must not leave it out"
    );
    eprintln!("SKIPPED: needs {why}");
    false
}

pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    until_or(what, String::new, condition);
}

/// Waits for a condition; in vain, it says what was said meanwhile.
pub(crate) fn until_or(what: &str, said: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace that lives as long as its one sleeping process.
pub(crate) struct Net(Child);

impl Net {
    pub(crate) fn new() -> Net {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "900"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let net = Net(child);
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", || {
            fs::read_link(net.path()).is_ok_and(|n| n != ours)
        });
        net
    }

    /// Of the process, as `ip link set … netns` wants it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.id()))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.id().to_string(), "-n", program])
            .stdin(Stdio::null());
        command
    }

    /// Runs in a thread of its own that is in the namespace; sockets made there stay in it.
    pub(crate) fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = fs::File::open(self.path()).unwrap();
        std::thread::spawn(move || {
            // SAFETY: plain system call on an open descriptor; it concerns this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            work()
        })
    }

    pub(crate) fn ip(&self, args: &str) -> String {
        let out = self.command("ip").args(args.split_whitespace()).output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "ip {args}: {error}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
