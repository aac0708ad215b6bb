//! Network namespaces that tests make for themselves, and what every test of the daemon needs around it.
#![allow(dead_code)]

#[path = "../left_out/mod.rs"]
pub(crate) mod left_out;
mod tap;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub(crate) use tap::Tap;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test can run with root, ip(8) and those programs; says so if not.
pub(crate) fn able(programs: &[&str]) -> bool {
    let around = ["ip", "nsenter", "unshare"];
    left_out::able(&around.iter().chain(programs).copied().collect::<Vec<_>>())
}

fn keepalived_says(option: &str) -> Option<String> {
    let program = left_out::program("keepalived")?;
    let out = Command::new(program).arg(option).output().ok()?;
    // On either, depending on the version.
    Some(String::from_utf8_lossy(&[out.stderr, out.stdout].concat()).into_owned())
}

/// Options with which the keepalived that is here does VRRP alone, and keeps out of the system's log, whose absence would cost it
/// seconds. One that was built without virtual servers does not know the first, and ends at an option that it does not know.
pub(crate) fn keepalived_options() -> Vec<&'static str> {
    let help = keepalived_says("--help").unwrap_or_default();
    let known = |(long, short): (&str, &'static str)| help.contains(long).then_some(short);
    [("--vrrp ", "-P"), ("--no-syslog", "-G")]
        .into_iter()
        .filter_map(known)
        .collect()
}

/// The version of the keepalived that is here.
fn keepalived_version() -> Option<[u32; 3]> {
    let text = keepalived_says("--version")?;
    // `Keepalived v2.2.7 (01/16,2022)`.
    let text = text.split_once("Keepalived v")?.1.to_owned();
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

/// [`able`] with a keepalived from one version on and below another, where what is expected is its own doing.
pub(crate) fn able_with_keepalived(from: [u32; 3], below: [u32; 3]) -> bool {
    if !able(&["keepalived"]) {
        return false;
    }
    let version = keepalived_version().expect("keepalived tells its version");
    let fits = (from..below).contains(&version);
    if !fits {
        let [major, minor, patch] = version;
        left_out::not_made_for(&format!("keepalived {major}.{minor}.{patch}"));
    }
    fits
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
        let child = Command::new(left_out::program("unshare").expect("unshare"))
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

    /// Processes in it, besides the sleeping one.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = fs::read_link(self.path()).unwrap();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != self.id())
            .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|n| n == own))
            .collect()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(left_out::program("nsenter").expect("nsenter"));
        command
            .args(["-t", &self.id().to_string(), "-n"])
            .arg(left_out::program(program).unwrap_or_else(|| program.into()))
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
