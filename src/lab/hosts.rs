//! A twin's life: power on, wait, power off, run something inside.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::{Doing, LabError};
use super::image::Image;
use super::paths::{self, Paths};
use super::spec::{LabSpec, TwinSpec};
use super::{cgroup, guest, network, process};

const SCRIPT: &str = include_str!("files/host.sh");

/// Starts the host's supervisor, which boots it and boots it again whenever it reboots.
pub(super) fn power_on(paths: &Paths, spec: &LabSpec, index: usize, image: &Image) -> Result<(), LabError> {
    let twin = &spec.hosts[index];
    if !cgroup::processes(&paths.name, Some(&twin.name))?.is_empty() {
        return Ok(());
    }
    let dir = paths.host(&twin.name);
    let script = dir.join("host.sh");
    paths::write(&script, 0o755, SCRIPT)?;
    let mut command = process::supervisor(&script, &dir, &image.lower());
    command.env("LAB_BRIDGE", paths.bridge_ns());
    command.env("LAB_MACHINE", format!("lab-{index}"));
    for (number, (interface, mac, port)) in guest::interfaces(twin, index).into_iter().enumerate() {
        command
            .env(format!("LAB_IF{number}"), interface)
            .env(format!("LAB_MAC{number}"), mac);
        command.env(format!("LAB_PORT{number}"), port);
    }
    if let Some(at) = &spec.disc {
        command
            .env("LAB_DISC", image.extras().join("disc"))
            .env("LAB_DISC_AT", at.replace(':', "\\:"));
    }
    process::Place::new()
        .part(&paths.name, &twin.name)?
        .own_session()
        .apply(&mut command);
    process::detach(command, &dir.join("console.log"))
}

/// Pulls the plug: every process of the host ends at once, its disk stays.
pub(super) fn power_off(paths: &Paths, twin: &TwinSpec) -> Result<(), LabError> {
    for part in [inside(twin), twin.name.clone()] {
        cgroup::kill(&paths.name, Some(&part))?;
        cgroup::remove(&paths.name, Some(&part))?;
    }
    Ok(())
}

/// The part of the lab that commands run inside a twin belong to; its own cgroups are systemd's.
fn inside(twin: &TwinSpec) -> String {
    format!("{}.exec", twin.name)
}

/// The twin's PID 1 as this process numbers it; `None`: it is off or between two boots.
pub(super) fn leader(paths: &Paths, twin: &TwinSpec) -> Result<Option<i32>, LabError> {
    let pids = cgroup::processes(&paths.name, Some(&twin.name))?;
    Ok(pids.into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // Its number here, in the supervisor's pid namespace, and 1 in its own.
        let numbers = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        numbers.len() == 3 && numbers[2] == "1" && comm.trim() == "systemd"
    }))
}

/// A command inside a twin, as root, needing neither its network nor its sshd.
pub(super) fn command(paths: &Paths, twin: &TwinSpec, argv: &[&str]) -> Result<Command, LabError> {
    let Some(leader) = leader(paths, twin)? else {
        return Err(LabError::new(format!("{} is not running", twin.name))
            .hint(format!("`hapair lab status` shows the lab {}", paths.name)));
    };
    let mut command = process::command("nsenter");
    command.args(["--target", &leader.to_string()]);
    command
        .args([
            "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--",
        ])
        .args(argv);
    command
        .env_clear()
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LANG", "C.UTF-8");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin");
    if let Some(term) = std::env::var_os("TERM") {
        command.env("TERM", term);
    }
    process::Place::new()
        .part(&paths.name, &inside(twin))?
        .apply(&mut command);
    Ok(command)
}

/// Waits until sshd answers from the controller's side.
pub(super) fn wait_for_ssh(paths: &Paths, spec: &LabSpec, twin: &TwinSpec, patience: Duration) -> Result<(), LabError> {
    let start = Instant::now();
    let namespace = paths.controller_ns();
    loop {
        let addresses: Vec<SocketAddr> = login_addresses(twin)
            .map(|a| SocketAddr::new(a.into(), spec.ssh_port))
            .collect();
        let answers = network::in_namespace(&namespace, || Ok(addresses.iter().any(banner)))?;
        if answers {
            return Ok(());
        }
        // A supervisor that ended will not boot anything any more.
        let dead =
            start.elapsed() > Duration::from_secs(2) && cgroup::processes(&paths.name, Some(&twin.name))?.is_empty();
        if dead || start.elapsed() > patience {
            let why = if dead {
                "its supervisor ended".into()
            } else {
                format!("no SSH within {} s", patience.as_secs())
            };
            let log = fs::read_to_string(paths.host(&twin.name).join("console.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            return Err(LabError::new(format!("{}: the twin did not come up: {why}", twin.name))
                .hint(format!("its console said last:\n{}", tail.join("\n"))));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Addresses under which sshd may answer, the first one the likeliest.
pub(super) fn login_addresses(twin: &TwinSpec) -> impl Iterator<Item = std::net::Ipv4Addr> + '_ {
    twin.management
        .map(|(a, _)| a)
        .into_iter()
        .chain([twin.address])
        .chain(twin.target)
}

fn banner(address: &SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(address, Duration::from_millis(300)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut start = [0; 4];
    stream.read_exact(&mut start).is_ok() && &start == b"SSH-"
}

/// Waits until the boot is over; failed units are named.
pub(super) fn wait_for_boot(paths: &Paths, twin: &TwinSpec) -> Result<(), LabError> {
    let mut wait = command(
        paths,
        twin,
        &["timeout", "60", "systemctl", "is-system-running", "--wait"],
    )?;
    let output = wait
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("wait for the boot of {}", twin.name))?;
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if state == "running" {
        return Ok(());
    }
    let mut list = command(paths, twin, &["systemctl", "--failed", "--no-legend", "--plain"])?;
    let output = list
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("list failed units of {}", twin.name))?;
    let failed = String::from_utf8_lossy(&output.stdout);
    let names: Vec<&str> = failed.lines().filter_map(|l| l.split_whitespace().next()).collect();
    Err(LabError::new(format!(
        "{}: the twin booted to state `{state}`; failed units: {}",
        twin.name,
        names.join(", ")
    )))
}

/// Whether the twin holds an address now, on any interface.
pub(super) fn holds(leader: i32, address: std::net::Ipv4Addr) -> bool {
    let text = fs::read_to_string(format!("/proc/{leader}/net/fib_trie")).unwrap_or_default();
    let wanted = format!("|-- {address}");
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if line == wanted && lines.peek().is_some_and(|next| next.contains("host LOCAL")) {
            return true;
        }
    }
    false
}
