//! A host with one interface, on a wire of its own.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test can run: root, and these programs; says so if not.
pub(crate) fn able(programs: &[&str]) -> bool {
    let have = |program: &str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|dir| PathBuf::from(dir).join(program).exists())
    };
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let missing = programs.iter().find(|program| !have(program));
    let why = match (root, missing) {
        (false, _) => "root",
        (true, Some(program)) => program,
        (true, None) => return true,
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "needs {why}, and CI must not leave it out"
    );
    eprintln!("SKIPPED: needs {why}");
    false
}

/// Waits for a condition; in vain, it says what was said meanwhile.
pub(crate) fn until(what: &str, said: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace that lives as long as its one sleeping process.
pub(crate) struct Net(Child);

impl Net {
    /// With `eth0`, whose other end is a bridge's port in the same namespace: adverts go out and nobody hears them.
    pub(crate) fn with_eth0(address: &str) -> Net {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let net = Net(child);
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", String::new, || {
            fs::read_link(format!("/proc/{}/ns/net", net.0.id())).is_ok_and(|n| n != ours)
        });
        for line in [
            "link set lo up",
            "link add br0 type bridge mcast_snooping 0",
            "link set br0 up",
            "link add name port1 type veth peer name eth0",
            "link set dev port1 master br0 up",
            "link set eth0 up",
        ] {
            net.ip(line);
        }
        net.ip(&format!("addr add {address} dev eth0"));
        net
    }

    /// What [`enter`] takes.
    pub(crate) fn file(&self) -> fs::File {
        fs::File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.0.id().to_string(), "-n", program])
            .stdin(Stdio::null());
        command
    }

    fn ip(&self, args: &str) -> String {
        let out = self.command("ip").args(args.split_whitespace()).output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "ip {args}: {error}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    pub(crate) fn owns(&self, vip: &str) -> bool {
        self.ip("-o addr show dev eth0").contains(&format!(" {vip}/"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(namespace: &fs::File) -> io::Result<()> {
    // SAFETY: a file that is open; a number.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a directory the root of the calling process.
pub(crate) fn change_root(root: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends with its zero.
    if unsafe { libc::chroot(root.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    match unsafe { libc::chdir(c"/".as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
