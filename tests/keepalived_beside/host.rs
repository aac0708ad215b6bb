//! A host of its own for one run of one engine, and the wire it hangs on.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::case::{Case, Turn};
use crate::netns::{Net, Tap, keepalived_options, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Agent,
    Keepalived,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Agent => "agent",
            Engine::Keepalived => "keepalived",
        }
    }
}

/// Of `eth0`, so that frames of two runs are the same byte by byte.
pub(crate) const MAC: &str = "02:77:00:00:00:01";
/// Of the other router.
pub(crate) const PEER_MAC: [u8; 6] = [2, 0x77, 0, 0, 0, 2];

/// Who calls it, and with what. `$HERE` is the directory of the run.
const SAY: &str = "#!/bin/sh\necho \"$(id -un) $(id -Gn | tr ' ' ,): ${0##*/} $*\" >>$HERE/said\n";
/// Succeeds while the file in its first argument is there.
const CHECK: &str =
    "#!/bin/sh\necho \"$(id -un) $(id -Gn | tr ' ' ,): ${0##*/} $*\" >>$HERE/checked\n[ -e \"$HERE/flag-$1\" ]\n";

pub(crate) struct Host {
    pub(crate) net: Net,
    pub(crate) tap: Tap,
    dir: tempfile::TempDir,
    wire: Net,
    daemon: Option<Child>,
    fifos: Vec<fs::File>,
    process: Option<Child>,
    name: String,
}

impl Host {
    /// Makes both, and puts the files of the case there.
    pub(crate) fn new(case: &Case, engine: Engine, number: usize) -> Host {
        let (net, wire) = (Net::new(), Net::new());
        connect(&net, &wire);
        let tap = Tap::on(&wire, "wire0");
        let dir = tempfile::Builder::new().prefix("beside-").tempdir().unwrap();
        // Scripts of other users must get there.
        mode(dir.path(), 0o755);
        let name = format!("hb{number}{}", &engine.name()[..1]);
        let place = Place {
            dir: dir.path(),
            name: &name,
        };
        place.write("say", 0o755, SAY);
        place.write("check", 0o755, CHECK);
        for list in ["said", "checked"] {
            place.write(list, 0o666, "");
        }
        for file in &case.files {
            place.write(&file.name, file.mode, &file.text);
        }
        place.write("keepalived.conf", 0o644, &case.config);
        let fifos = case.fifos.iter().map(|f| open_fifo(&dir.path().join(f))).collect();
        Host {
            net,
            tap,
            dir,
            wire,
            daemon: None,
            fifos,
            process: None,
            name,
        }
    }

    /// Its lines go to the file.
    pub(crate) fn start(&mut self, engine: Engine, log: &Path) {
        let log = fs::File::create(log).unwrap();
        self.daemon = Some(launch(&self.net, engine, self.dir.path(), log));
    }

    /// Whether the daemon runs no more, or not yet.
    pub(crate) fn ended(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(|d| d.try_wait().unwrap().is_some())
    }

    pub(crate) fn signal(&mut self, signal: i32) {
        if self.ended() {
            return;
        }
        let pid = self.daemon.as_ref().map_or(0, Child::id);
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(pid as i32, signal) };
    }

    /// How it ended, once it has.
    pub(crate) fn result(&mut self) -> String {
        match self.daemon.as_mut().unwrap().wait().unwrap().code() {
            Some(0) => "well".to_owned(),
            Some(_) => "with an error".to_owned(),
            None => "by a signal".to_owned(),
        }
    }

    pub(crate) fn kill(&mut self) {
        drop(self.daemon.as_mut().map(Child::kill));
    }

    pub(crate) fn flag(&self, name: &str, turn: Turn) {
        let path = self.dir.path().join(format!("flag-{name}"));
        match turn {
            Turn::On => drop(fs::File::create(path).unwrap()),
            Turn::Off => fs::remove_file(path).unwrap(),
        }
    }

    pub(crate) fn link(&self, interface: &str, turn: Turn) {
        let other = interface.replace("eth", "wire");
        let way = if turn == Turn::On { "up" } else { "down" };
        self.wire.ip(&format!("link set dev {other} {way}"));
    }

    pub(crate) fn process(&mut self, turn: Turn) {
        if turn == Turn::Off {
            self.end_process();
            return;
        }
        let program = self.dir.path().join(&self.name);
        fs::copy("/bin/sleep", &program).unwrap();
        let child = self.net.command(program.to_str().unwrap()).arg("300").spawn();
        let child = self.process.insert(child.unwrap());
        // nsenter(1) becomes the program; until then it has another name.
        let comm = format!("/proc/{}/comm", child.id());
        until("the process has its name", || {
            fs::read_to_string(&comm).is_ok_and(|name| self.name.starts_with(name.trim()))
        });
    }

    /// Whether a script that the daemon has left behind still runs.
    pub(crate) fn scripts_run(&self) -> bool {
        let process = self.process.as_ref().map(Child::id);
        self.net.processes().into_iter().any(|pid| Some(pid) != process)
    }

    fn end_process(&mut self) {
        if let Some(mut child) = self.process.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub(crate) fn reload(&mut self, name: &str) {
        let from = self.dir.path().join(name);
        fs::copy(from, self.dir.path().join("keepalived.conf")).unwrap();
        self.signal(libc::SIGHUP);
    }

    /// The lines that a list of scripts has written, with the names of directory and process replaced by fixed words.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap();
        text.lines().map(|l| self.same(l)).collect()
    }

    /// What waits in the FIFOs.
    pub(crate) fn fifo_lines(&mut self) -> Vec<String> {
        let mut text = String::new();
        for fifo in &mut self.fifos {
            let mut buffer = [0u8; 4096];
            while let Ok(got @ 1..) = fifo.read(&mut buffer) {
                text.push_str(&String::from_utf8_lossy(&buffer[..got]));
            }
        }
        text.lines().map(|l| self.same(l)).collect()
    }

    /// Without what differs from run to run.
    pub(crate) fn same(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "@DIR@")
            .replace(&self.name, "@NAME@")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.ended() {
            // keepalived's child ends with its parent.
            self.kill();
            drop(self.daemon.as_mut().map(Child::wait));
        }
        self.end_process();
    }
}

struct Place<'a> {
    dir: &'a Path,
    name: &'a str,
}

impl Place<'_> {
    fn write(&self, name: &str, bits: u32, text: &str) {
        let dir = self.dir.to_str().unwrap();
        let text = text
            .replace("@DIR@", dir)
            .replace("$HERE", dir)
            .replace("@NAME@", self.name);
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        mode(&path, bits);
    }
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

/// Two links; the peer's addresses answer to nobody, but are known to the host.
fn connect(net: &Net, wire: &Net) {
    let id = net.id();
    let links = format!(
        "link add wire0 address 02:77:00:00:00:02 type veth peer name eth0 address {MAC} netns {id}\n\
         link add wire1 address 02:77:00:00:01:02 type veth peer name eth1 address 02:77:00:00:01:01 netns {id}\n\
         link set wire0 addrgenmode none up\nlink set wire1 addrgenmode none up\n"
    );
    batch(wire, &links);
    let addresses = "link set lo up\n\
        link set eth0 addrgenmode none up\nlink set eth1 addrgenmode none up\n\
        addr add 10.77.0.1/24 dev eth0\naddr add fe80::77:1/64 dev eth0 nodad\naddr add fd00:77::1/64 dev eth0 nodad\n\
        addr add 10.78.0.1/24 dev eth1\n\
        neigh add 10.77.0.2 lladdr 02:77:00:00:00:02 dev eth0 nud permanent\n\
        neigh add 10.77.0.3 lladdr 02:77:00:00:00:02 dev eth0 nud permanent\n\
        neigh add fe80::77:2 lladdr 02:77:00:00:00:02 dev eth0 nud permanent\n\
        neigh add fd00:77::2 lladdr 02:77:00:00:00:02 dev eth0 nud permanent\n";
    batch(net, addresses);
    // IPv6 addresses get their routes a little later.
    until("routes of IPv6", || {
        let routes = net.ip("-6 route show table local");
        routes.contains("fd00:77::1 ") && routes.contains("fe80::77:1 ")
    });
}

fn batch(net: &Net, lines: &str) {
    let mut child = net
        .command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// Opened for both directions: it neither waits for a writer nor ends without one.
fn open_fifo(path: &Path) -> fs::File {
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a name that ends with its zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    options.open(path).unwrap()
}

fn launch(net: &Net, engine: Engine, dir: &Path, log: fs::File) -> Child {
    let at = |name: &str| -> PathBuf { dir.join(name) };
    let mut command = match engine {
        Engine::Agent => {
            let mut c = net.command(env!("CARGO_BIN_EXE_hapair-agent"));
            c.arg("run").arg("--config").arg(at("keepalived.conf"));
            c.arg("--state-dir").arg(at("state"));
            c
        }
        Engine::Keepalived => {
            let mut c = net.command("keepalived");
            c.args(keepalived_options());
            c.args(["-n", "-l", "-D", "-f"]).arg(at("keepalived.conf"));
            c.arg("-p").arg(at("pid")).arg("-r").arg(at("vrrp.pid"));
            c
        }
    };
    let log = command.stdout(log.try_clone().unwrap()).stderr(log);
    // What a service manager gives it: no terminal, the root directory.
    log.current_dir("/").spawn().unwrap()
}
