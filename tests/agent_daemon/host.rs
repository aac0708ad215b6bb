//! A host alone, and the daemon on it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const VIP: &str = "10.77.0.99";

pub(crate) fn able() -> bool {
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]
        .iter()
        .any(|p| PathBuf::from(p).exists());
    if root && ip {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "needs root and ip(8), and CI must not leave it out"
    );
    eprintln!("SKIPPED: needs root and ip(8)");
    false
}

pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host alone: `eth0` with 10.77.0.1, whose other end `wire0` is in the same namespace.
pub(crate) struct Host {
    net: Child,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    pub(crate) fn new() -> Host {
        let net = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Host {
            net,
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", || {
            fs::read_link(host.namespace()).is_ok_and(|n| n != ours)
        });
        host.ip("link set lo up");
        host.ip("link add name wire0 type veth peer name eth0");
        host.ip("link set wire0 up");
        host.ip("link set eth0 up");
        host.ip("addr add 10.77.0.1/24 dev eth0");
        host
    }

    pub(crate) fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.net.id())
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.net.id().to_string(), "-n", program])
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn ip(&self, args: &str) -> String {
        let out = self.command("ip").args(args.split_whitespace()).output().unwrap();
        assert!(
            out.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs in a thread that is in the namespace.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let namespace = fs::File::open(self.namespace()).unwrap();
        std::thread::spawn(move || {
            use std::os::fd::AsRawFd;
            // SAFETY: plain system call on an open descriptor; it concerns this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            work()
        })
    }

    pub(crate) fn listen(&self) -> TcpListener {
        self.inside(|| TcpListener::bind("127.0.0.1:0").unwrap())
            .join()
            .unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn write(&self, config: &str) {
        fs::write(self.path("keepalived.conf"), config).unwrap();
    }

    pub(crate) fn start(&mut self, config: &str, options: &[&str]) {
        self.spawn(config, &[], options);
        until("the daemon answers", || !self.status().is_null());
    }

    /// Does not wait until it answers. `before`: a command that executes the daemon in its own place.
    pub(crate) fn spawn(&mut self, config: &str, before: &[&str], options: &[&str]) {
        self.write(config);
        let log = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.path("log"))
                .unwrap()
        };
        let mut words = before.iter().copied().chain([env!("CARGO_BIN_EXE_hapair-agent")]);
        let mut command = self.command(words.next().unwrap());
        command
            .args(words)
            .arg("run")
            .arg("--config")
            .arg(self.path("keepalived.conf"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(options)
            .stdout(log())
            .stderr(log());
        // nsenter executes the daemon in its own place.
        self.daemon = Some(command.spawn().unwrap());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub(crate) fn agent(&self, args: &[&str]) -> (String, bool) {
        let mut command = self.command(env!("CARGO_BIN_EXE_hapair-agent"));
        let out = command
            .args(args)
            .arg("--state-dir")
            .arg(self.path("state"))
            .output()
            .unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.success())
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.agent(&["status", "--json"]).0).unwrap_or_default()
    }

    pub(crate) fn instance(&self) -> Value {
        self.status()["instances"][0].clone()
    }

    pub(crate) fn owns(&self) -> bool {
        self.ip("-o addr show dev eth0").contains(&format!(" {VIP}/"))
    }

    pub(crate) fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(daemon.id() as i32, libc::SIGTERM) };
        assert!(daemon.wait().unwrap().success(), "{}", self.read("log"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in self.daemon.iter_mut().chain([&mut self.net]) {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.read("log"));
        }
    }
}

/// An instance that becomes owner after a third of a second.
pub(crate) fn instance(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n version 3\n advert_int 0.1\n priority 200\n\
         {more}\n virtual_ipaddress {{\n {VIP}/24\n }}\n}}\n"
    )
}
