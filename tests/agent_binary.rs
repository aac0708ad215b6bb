//! The agent as it is installed: what `hapair agent-binary` writes is small, static, needs nothing around it, asks no name service,
//! and works with what Linux 3.10 has.
//!
//! What needs root, ip(8) or strace(1) says so where they are missing and does nothing else (in CI it fails).
#![cfg(all(feature = "cli", target_arch = "x86_64"))]

mod agent_limit;
#[path = "agent_binary/host.rs"]
mod host;
mod netns;
#[path = "agent_binary/seccomp.rs"]
mod seccomp;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use host::Alone;
use netns::{able, until_or};
use serde_json::Value;

const VIP: &str = "10.77.0.99";

/// The agent, written by the CLI as an operator would.
fn binary() -> &'static Path {
    static BINARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BINARY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hapair-agent");
        let out = Command::new(env!("CARGO_BIN_EXE_hapair"))
            .arg("agent-binary")
            .arg(&path)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        (dir, path)
    });
    path
}

/// A little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len]
        .iter()
        .rev()
        .fold(0, |n, b| n << 8 | usize::from(*b))
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for (args, said) in [
        (&["fly"][..], "usage"),
        (&["status", "--colour"], "unknown option"),
        (&["status", "--wait", "soon"], "--wait"),
        (&["run", "--config"], "needs a value"),
    ] {
        let out = Command::new(binary()).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
}

#[test]
fn it_is_small_and_static() {
    const PT_DYNAMIC: usize = 2;
    const PT_INTERP: usize = 3;
    const DT_NULL: usize = 0;
    const DT_NEEDED: usize = 1;
    let bytes = fs::read(binary()).unwrap();
    assert!(bytes.len() as u64 <= agent_limit::most_bytes(), "{} bytes", bytes.len());
    // ELF, 64 bits, little-endian, x86-64 (System V ABI, 4.1).
    assert_eq!(bytes[..6], *b"\x7fELF\x02\x01");
    assert_eq!(number(&bytes, 18, 2), 62);
    let (at, size, count) = (number(&bytes, 32, 8), number(&bytes, 54, 2), number(&bytes, 56, 2));
    let headers = (0..count).map(|n| &bytes[at + n * size..][..size]);
    let kinds: Vec<usize> = headers.clone().map(|h| number(h, 0, 4)).collect();
    assert!(kinds.contains(&1), "nothing to load: {kinds:?}");
    assert!(!kinds.contains(&PT_INTERP), "it wants a dynamic loader");
    for header in headers.filter(|h| number(h, 0, 4) == PT_DYNAMIC) {
        let (offset, len) = (number(header, 8, 8), number(header, 32, 8));
        let tags = bytes[offset..offset + len].chunks(16).map(|entry| number(entry, 0, 8));
        let tags: Vec<usize> = tags.take_while(|tag| *tag != DT_NULL).collect();
        assert!(!tags.contains(&DT_NEEDED), "it wants a shared library");
    }
}

/// What surrounds the agent.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kernel {
    AsIs,
    /// No system call newer than Linux 3.10.
    Old,
}

/// The agent in a network namespace, perhaps in a root of its own.
struct Agent<'n> {
    net: Option<&'n Alone>,
    root: Option<PathBuf>,
    kernel: Kernel,
}

impl Agent<'_> {
    fn command(&self) -> Command {
        let mut command = match &self.root {
            Some(_) => Command::new("/hapair-agent"),
            None => Command::new(binary()),
        };
        command.stdin(Stdio::null()).env_clear();
        let namespace = self.net.map(Alone::file);
        let root = self.root.as_ref().map(|root| {
            let text = root.as_os_str().as_encoded_bytes();
            std::ffi::CString::new(text).unwrap()
        });
        let old = self.kernel == Kernel::Old;
        let enter = move || {
            if let Some(file) = &namespace {
                host::enter(file)?;
            }
            if let Some(root) = &root {
                host::change_root(root)?;
            }
            if old { seccomp::only_linux_3_10() } else { Ok(()) }
        };
        // SAFETY: between fork and exec it makes system calls only, on what was allocated before.
        unsafe { command.pre_exec(enter) };
        command
    }

    fn run(&self, args: &[&str]) -> (bool, String) {
        let out = self.command().args(args).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn instance(&self, state_dir: &str) -> Value {
        let out = self
            .command()
            .args(["status", "--json", "--state-dir", state_dir])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_default()["instances"][0].clone()
    }
}

/// Killed and waited for whatever happens.
struct Daemon(Child);

impl Daemon {
    fn stop(&mut self) -> Option<i32> {
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        self.0.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn config(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n\
         {more}\n virtual_ipaddress {{\n {VIP}/24\n }}\n}}\n"
    )
}

/// Everything below a directory.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn it_runs_in_an_empty_root() {
    if !able(&[]) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::copy(binary(), root.path().join("hapair-agent")).unwrap();
    let net = Alone::new("10.77.0.1/24");
    let agent = Agent {
        net: Some(&net),
        root: Some(root.path().to_owned()),
        kernel: Kernel::AsIs,
    };
    let alone = tree(root.path());
    assert_eq!(alone.len(), 1);
    let (ok, text) = agent.run(&["--version"]);
    assert!(ok && text.starts_with("hapair-agent"), "{text}");
    let (ok, text) = agent.run(&["check-config", "/keepalived.conf"]);
    assert!(!ok && text.contains("keepalived.conf"), "{text}");
    assert_eq!(tree(root.path()), alone, "nothing is left behind");
    // All it is given is its configuration.
    fs::write(root.path().join("keepalived.conf"), config("")).unwrap();
    let (ok, text) = agent.run(&["check-config", "/keepalived.conf"]);
    assert!(ok, "{text}");
    let log = fs::File::create(root.path().join("log")).unwrap();
    let mut command = agent.command();
    command.args(["run", "--config", "/keepalived.conf", "--state-dir", "/state"]);
    let mut daemon = Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let said = || fs::read_to_string(root.path().join("log")).unwrap_or_default();
    until_or("it owns the VIP", said, || net.owns(VIP));
    until_or("it says so", said, || agent.instance("/state")["state"] == "MASTER");
    assert_eq!(daemon.stop(), Some(0), "{}", said());
    assert!(!net.owns(VIP));
}

/// No glibc name service by the back door: the files and sockets that one needs are never asked for.
#[test]
fn it_asks_no_name_service() {
    if !able(&["strace"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let net = Alone::new("10.77.0.1/24");
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Users by name everywhere; the scripts are the agent itself.
    let program = binary().display();
    let globals = format!(
        "global_defs {{\n script_user daemon daemon\n}}\nvrrp_script chk {{\n script \"{program} --version\"\n interval 1\n user root root\n}}\n"
    );
    let tracked = format!(" track_script {{\n chk\n }}\n notify_master \"{program} --version\" nobody");
    fs::write(path("keepalived.conf"), globals + &config(&tracked)).unwrap();
    let mut command = net.command("strace");
    command.args([
        "-f",
        "-qq",
        "-e",
        "trace=open,openat,connect,stat,execve",
        "-o",
        &path("trace"),
    ]);
    command.arg(binary()).args([
        "run",
        "--config",
        &path("keepalived.conf"),
        "--state-dir",
        &path("state"),
    ]);
    let log = fs::File::create(path("log")).unwrap();
    let mut strace = Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let said = || fs::read_to_string(path("log")).unwrap_or_default();
    until_or("it owns the VIP", said, || net.owns(VIP));
    let trace = || fs::read_to_string(path("trace")).unwrap_or_default();
    until_or("its script has run", trace, || trace().matches("execve(").count() >= 3);
    // The daemon is strace's child: the first process of the trace.
    let pid: i32 = trace().split_whitespace().next().unwrap().parse().unwrap();
    // SAFETY: a process that strace started for us and that it waits for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    assert!(strace.0.wait().unwrap().success(), "{}", said());
    let trace = trace();
    assert!(trace.contains("\"/etc/passwd\""), "it reads the users itself: {trace}");
    for forbidden in ["nsswitch.conf", "resolv.conf", "nscd", "/etc/hosts", "ld.so", "libnss"] {
        assert!(!trace.contains(forbidden), "{forbidden}: {trace}");
    }
}

/// A life of the daemon with all that it does, and what was seen of it.
fn life(kernel: Kernel) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let net = Alone::new("10.77.0.1/24");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let state_dir = path("state");
    let agent = Agent {
        net: Some(&net),
        root: None,
        kernel,
    };
    // Its own name, so that another test's is not counted.
    let name = format!(
        "hp{}{}",
        std::process::id(),
        if kernel == Kernel::Old { "o" } else { "n" }
    );
    fs::copy("/bin/sleep", path(&name)).unwrap();
    let sleeper = || {
        Daemon(
            Command::new(path(&name))
                .arg("300")
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        )
    };
    let mut tracked = Some(sleeper());
    fs::write(path("flag"), "").unwrap();
    fs::write(path("notify.sh"), format!("echo \"$*\" >>{}\n", path("seen"))).unwrap();
    let rules = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/usr/bin/test -e {}\"\n interval 0.1\n weight -5\n}}\n\
         vrrp_track_process p {{\n process {name}\n weight -20\n delay 0.1\n}}\n",
        path("flag")
    );
    let more = format!(
        " track_script {{\n chk\n }}\n track_process {{\n p\n }}\n notify \"/bin/sh {}\" root",
        path("notify.sh")
    );
    let text = rules + &config(&more);
    fs::write(path("keepalived.conf"), &text).unwrap();
    let log = fs::File::create(path("log")).unwrap();
    let mut command = agent.command();
    command.args(["run", "--config", &path("keepalived.conf"), "--state-dir", &state_dir]);
    let mut daemon = Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let said = || fs::read_to_string(path("log")).unwrap_or_default();
    let mut seen = Vec::new();
    let reach = |what: &str, seen: &mut Vec<String>, state: &str, priority: u64| {
        until_or(what, said, || {
            let i = agent.instance(&state_dir);
            i["state"] == state && i["priority"] == priority && net.owns(VIP) == (state == "MASTER")
        });
        seen.push(format!("{what}: {state} {priority}"));
    };
    reach("it starts", &mut seen, "MASTER", 200);
    fs::remove_file(path("flag")).unwrap();
    reach("its check fails", &mut seen, "MASTER", 195);
    fs::write(path("flag"), "").unwrap();
    reach("its check is good again", &mut seen, "MASTER", 200);
    drop(tracked.take());
    reach("the process is gone", &mut seen, "MASTER", 180);
    tracked = Some(sleeper());
    reach("the process is back", &mut seen, "MASTER", 200);
    let more_vips = text.replace(&format!("{VIP}/24"), &format!("{VIP}/24\n 10.77.0.98/24"));
    fs::write(path("keepalived.conf"), more_vips).unwrap();
    let (reloaded, answer) = agent.run(&["reload", "--state-dir", &state_dir]);
    assert!(reloaded, "{answer}");
    until_or("the new address", said, || net.owns("10.77.0.98"));
    reach("it was reloaded", &mut seen, "MASTER", 200);
    let (answered, metrics) = agent.run(&["metrics", "--state-dir", &state_dir]);
    assert!(answered, "{metrics}");
    seen.extend(metrics.lines().filter(|l| l.starts_with("# TYPE")).map(str::to_owned));
    seen.push(format!("it ends: {:?}", daemon.stop()));
    seen.push(format!("it owns: {}", net.owns(VIP) || net.owns("10.77.0.98")));
    seen.extend(fs::read_to_string(path("seen")).unwrap().lines().map(str::to_owned));
    drop(tracked);
    seen
}

#[test]
fn it_works_with_the_system_calls_of_linux_3_10() {
    if !able(&[]) {
        return;
    }
    seccomp::prove();
    let (now, then) = (life(Kernel::AsIs), life(Kernel::Old));
    assert!(now.contains(&"it ends: Some(0)".to_owned()), "{now:#?}");
    assert!(now.contains(&"it owns: false".to_owned()), "{now:#?}");
    assert!(now.contains(&"INSTANCE VI_1 MASTER 200".to_owned()), "{now:#?}");
    assert_eq!(then, now);
}
