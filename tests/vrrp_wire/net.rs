//! Two hosts on a bridge, each a network namespace, and a daemon on each.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

pub(crate) use crate::netns::{Net, Tap, able, able_with_keepalived, keepalived_options, until};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Engine {
    Agent,
    Keepalived,
}

/// A host of the pair.
pub(crate) struct Host {
    pub(crate) net: Net,
    pub(crate) dir: PathBuf,
    pub(crate) daemon: Option<(Engine, Child)>,
}

impl Host {
    pub(crate) fn start(&mut self, engine: Engine) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        self.start_with(engine, log.into());
    }

    /// Starts an engine whose lines go there.
    pub(crate) fn start_with(&mut self, engine: Engine, output: OwnedFd) {
        assert!(self.daemon.is_none());
        let (config, state) = (self.dir.join("keepalived.conf"), self.dir.join("state"));
        let mut command = match engine {
            Engine::Agent => {
                let mut c = self.net.command(env!("CARGO_BIN_EXE_hapair-agent"));
                c.arg("run").arg("--config").arg(&config).arg("--state-dir").arg(&state);
                c
            }
            Engine::Keepalived => {
                let mut c = self.net.command("keepalived");
                c.args(keepalived_options());
                c.args(["-n", "-l", "-f"]).arg(&config);
                c.arg("-p")
                    .arg(self.dir.join("pid"))
                    .arg("-r")
                    .arg(self.dir.join("vrrp.pid"));
                c
            }
        };
        // nsenter executes the daemon in its own place, so this is the daemon's process.
        let child = command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        self.daemon = Some((engine, child));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().1.id()
    }

    /// How many addresses of 10.77.1.0/24 it has.
    pub(crate) fn owned(&self) -> usize {
        self.net.ip("-o -4 addr show dev eth0").matches(" 10.77.1.").count()
    }

    /// The counter of the first instance.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.instance()["statistics"][name].as_u64().unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let child = &self.daemon.as_ref().unwrap().1;
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }

    /// Ends the daemon with a signal and waits for its end.
    pub(crate) fn end(&mut self, signal: i32) {
        self.signal(signal);
        let (engine, mut child) = self.daemon.take().unwrap();
        drop(child.wait());
        if engine == Engine::Agent && signal == libc::SIGKILL {
            // What the unit's ExecStopPost does.
            assert!(
                self.agent(&[
                    "release",
                    "--config",
                    self.dir.join("keepalived.conf").to_str().unwrap()
                ])
                .1
            );
        }
    }

    pub(crate) fn agent(&self, args: &[&str]) -> (String, bool) {
        let mut command = self.net.command(env!("CARGO_BIN_EXE_hapair-agent"));
        let out = command
            .args(args)
            .arg("--state-dir")
            .arg(self.dir.join("state"))
            .output()
            .unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.success())
    }

    pub(crate) fn owns(&self, vip: &str) -> bool {
        self.net.ip("-o addr show dev eth0").contains(&format!(" {vip}/"))
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.agent(&["status", "--json"]).0).unwrap_or_default()
    }

    pub(crate) fn instance(&self) -> Value {
        self.status()["instances"][0].clone()
    }

    pub(crate) fn write(&self, config: &str) {
        fs::write(self.dir.join("keepalived.conf"), config).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((_, child)) = &mut self.daemon {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.dir.display(), self.log());
        }
    }
}

/// Whether packets get through between the hosts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Split {
    Apart,
    Healed,
}

/// Two hosts on a bridge in a third namespace.
pub(crate) struct Pair {
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) wire: Net,
    dir: tempfile::TempDir,
}

impl Pair {
    /// `a` owns the VIP, by the agent; `b` has no daemon.
    pub(crate) fn owned_by_a() -> Pair {
        let mut pair = Pair::new();
        pair.a.write(&config(201, VIP, PASS));
        pair.a.start(Engine::Agent);
        until("a owns the VIP", || pair.a.owns(VIP));
        pair
    }

    pub(crate) fn new() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let wire = Net::new();
        wire.ip("link add br0 type bridge mcast_snooping 0");
        wire.ip("link set br0 up");
        let (a, b) = (plug(&wire, dir.path(), 1), plug(&wire, dir.path(), 2));
        Pair { a, b, wire, dir }
    }

    /// A third host on the same bridge, 10.77.0.3.
    pub(crate) fn stranger(&self) -> Host {
        plug(&self.wire, self.dir.path(), 3)
    }

    /// No packet gets from one host to the other, though both have their carrier; or again.
    pub(crate) fn split(&self, apart: Split) {
        let word = if apart == Split::Apart { "on" } else { "off" };
        for port in ["port1", "port2"] {
            self.wire
                .ip(&format!("link set dev {port} type bridge_slave isolated {word}"));
        }
    }

    /// Exactly `a` (or exactly `b`) owns the VIP.
    pub(crate) fn settle(&self, owner_is_a: bool, vip: &str) {
        let who = if owner_is_a { "a" } else { "b" };
        until(&format!("{who} alone owns {vip}"), || {
            (self.a.owns(vip), self.b.owns(vip)) == (owner_is_a, !owner_is_a)
        });
    }
}

/// A host on the bridge, 10.77.0.N.
fn plug(wire: &Net, dir: &Path, number: u8) -> Host {
    let net = Net::new();
    wire.ip(&format!(
        "link add name port{number} type veth peer name eth0 netns {}",
        net.id()
    ));
    wire.ip(&format!("link set dev port{number} master br0 up"));
    net.ip("link set lo up");
    net.ip("link set eth0 up");
    net.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
    net.ip(&format!("addr add fd00:77::{number}/64 dev eth0 nodad"));
    net.ip(&format!("addr add fe80::77:{number}/64 dev eth0 nodad"));
    // What is sent before is lost, and some tests send a packet once.
    let port = format!("-d link show port{number}");
    until("the wire carries packets", || {
        wire.ip(&port).contains("state forwarding") && net.ip("link show eth0").contains("state UP")
    });
    let own = dir.join(["a", "b", "c"][usize::from(number) - 1]);
    fs::create_dir(&own).unwrap();
    Host {
        net,
        dir: own,
        daemon: None,
    }
}

pub(crate) fn config(priority: u8, vip: &str, more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n\
         {more}\n virtual_ipaddress {{\n {vip}/24\n }}\n}}\n"
    )
}

pub(crate) const PASS: &str = " advert_int 1\n authentication {\n auth_type PASS\n auth_pass secret12\n }";
pub(crate) const VIP: &str = "10.77.0.99";

/// Fast adverts of version 3.
pub(crate) const FAST: &str = " version 3\n advert_int 0.2";

/// A configuration with a script that is good while a file exists.
pub(crate) fn checked(host: &Host, priority: u8, weight: i8, more: &str) -> String {
    let flag = host.dir.join("good");
    fs::write(&flag, "").unwrap();
    format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/usr/bin/test -e {}\"\n interval 0.1\n \
         weight {weight}\n fall 1\n rise 1\n}}\n",
        flag.display()
    ) + &config(priority, VIP, &format!("{more}\n track_script {{\n chk\n }}"))
}

/// Makes the check of [`checked`] fail.
pub(crate) fn fail(host: &Host) {
    fs::remove_file(host.dir.join("good")).unwrap();
}

/// strace(1) on a running daemon.
pub(crate) struct Trace(Child, PathBuf);

impl Trace {
    pub(crate) fn attach(host: &Host, calls: &str) -> Trace {
        Trace::with(host, &["-s", "40", "-e", &format!("trace={calls}")])
    }

    /// Every such call fails with that error, for as long as this is attached.
    pub(crate) fn failing(host: &Host, call: &str, error: &str) -> Trace {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
        Trace::with(host, &["-e", &trace, "-e", &inject])
    }

    fn with(host: &Host, options: &[&str]) -> Trace {
        let path = host.dir.join("trace");
        // In the namespace: only there it can find out that a socket is one for routes and addresses.
        let child = host
            .net
            .command("strace")
            .arg("-f")
            .args(options)
            .arg("-o")
            .arg(&path)
            .args(["-p", &host.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", host.pid());
        until("strace", || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            text.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0"))
        });
        Trace(child, path)
    }

    /// Lets go of the daemon; the calls, one a line.
    pub(crate) fn end(mut self) -> String {
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
        drop(self.0.wait());
        fs::read_to_string(&self.1).unwrap_or_default()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
