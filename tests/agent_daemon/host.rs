//! A host alone, and the daemon on it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::netns::{Net, Tap};
pub(crate) use crate::netns::{able, until};

pub(crate) const VIP: &str = "10.77.0.99";

/// A host alone: `eth0` with 10.77.0.1, whose other end `wire0` is in the same namespace.
pub(crate) struct Host {
    net: Net,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    pub(crate) fn new() -> Host {
        let host = Host {
            net: Net::new(),
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        host.ip("link set lo up");
        host.ip("link add name wire0 type veth peer name eth0");
        host.ip("link set wire0 up");
        host.ip("link set eth0 up");
        host.ip("addr add 10.77.0.1/24 dev eth0");
        host
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        self.net.command(program)
    }

    pub(crate) fn ip(&self, args: &str) -> String {
        self.net.ip(args)
    }

    pub(crate) fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        self.net.inside(work)
    }

    pub(crate) fn tap(&self, interface: &str) -> Tap {
        Tap::on(&self.net, interface)
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

    /// The daemon dies without a word.
    pub(crate) fn crash(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        drop(daemon.wait());
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
        if let Some(child) = &mut self.daemon {
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
