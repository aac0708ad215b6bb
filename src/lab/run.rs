//! A lab as a whole: up, down, status, and ways in.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Doing, LabError};
use super::image::{self, Image};
use super::network::Cable;
use super::paths::{self, DirLock, Paths, STATE};
use super::spec::{LabSpec, TwinSpec};
use super::{cgroup, guest, hosts, keys, network, process, requirements, services};

/// How long a twin may take until SSH answers; a boot takes two seconds on an idle machine.
const BOOT_PATIENCE: Duration = Duration::from_secs(90);

/// One thing that is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The twin it concerns.
    pub host: Option<String>,
    /// What it is: lower case, no final period.
    pub text: String,
}

/// How a lab comes up.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpOptions {
    /// Keep a lab of this name that is up already, instead of taking it down first.
    pub keep_running: bool,
}

/// A lab that is up. Dropping it leaves it up; [`down`] takes it down.
#[derive(Debug)]
pub struct Lab {
    paths: Paths,
    spec: LabSpec,
    image: Image,
}

/// What the lab's state says of it.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    spec: LabSpec,
    image: Image,
}

/// A lab at one moment.
#[derive(Debug, Clone)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Everything is there: its state, its network, its services.
    pub complete: bool,
    /// Its twins.
    pub hosts: Vec<HostStatus>,
}

/// A twin at one moment.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// Its name in the inventory.
    pub name: String,
    /// Its PID 1 runs.
    pub running: bool,
    /// Where SSH reaches it.
    pub address: Ipv4Addr,
    /// Name of its interface.
    pub interface: String,
}

impl Lab {
    /// Builds the image if it is not in the cache, and boots both twins until SSH answers and their boot is over. What
    /// is left of a lab of this name is taken down first.
    ///
    /// # Errors
    /// Without root, when a program is missing ([`requirements`]), and whenever a step fails; the lab is taken down
    /// again then, but for the hosts' consoles, which the error quotes.
    pub fn up(spec: LabSpec, options: UpOptions, progress: &mut dyn FnMut(Progress)) -> Result<Lab, LabError> {
        requirements::check()?;
        let paths = Paths::new(&spec.name)?;
        if options.keep_running
            && let Ok(lab) = Lab::open(&spec.name)
            && lab.status()?.is_whole()
        {
            return Ok(lab);
        }
        let mut say = |text: String| progress(Progress { host: None, text });
        let image = image::ensure(&mut say)?;
        let _lock = lock(&paths, &mut say)?;
        tear_down(&paths)?;
        let lab = Lab { paths, spec, image };
        match lab.build(progress) {
            Ok(()) => Ok(lab),
            Err(error) => {
                let _ = tear_down(&lab.paths).and_then(|()| forget(&lab.paths));
                Err(error)
            }
        }
    }

    fn build(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), LabError> {
        let mut say = |host: Option<&str>, text: &str| {
            progress(Progress {
                host: host.map(str::to_owned),
                text: text.to_owned(),
            });
        };
        let state = self.paths.state();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).at("set the mode of", &state)?;
        let saved = Saved {
            spec: self.spec.clone(),
            image: self.image.clone(),
        };
        let text =
            serde_json::to_string_pretty(&saved).map_err(|e| LabError::new("cannot write the lab").because(e))?;
        paths::write(&self.paths.spec(), 0o600, text)?;
        say(None, "making the network");
        network::create(&self.paths, &self.spec)?;
        let client_key = keys::client(&self.paths)?;
        let (host_keys, services) = std::thread::scope(|scope| {
            let services = scope.spawn(|| services::start(&self.paths, &self.spec, &self.image));
            let threads: Vec<_> = (0..self.spec.hosts.len())
                .map(|index| {
                    let key = &client_key;
                    scope.spawn(move || {
                        let keys = guest::prepare(&self.paths, &self.spec, index, &self.image, key)?;
                        hosts::power_on(&self.paths, &self.spec, index, &self.image)?;
                        Ok(keys)
                    })
                })
                .collect();
            let keys: Result<Vec<_>, LabError> = threads.into_iter().map(join).collect();
            (keys, join(services))
        });
        keys::write_known_hosts(&self.paths, &self.spec, &host_keys?)?;
        services?;
        say(None, "mirror, resolver and upstreams answer");
        for twin in &self.spec.hosts {
            say(Some(&twin.name), "booting");
        }
        for twin in &self.spec.hosts {
            hosts::wait_for_ssh(&self.paths, &self.spec, twin, BOOT_PATIENCE)?;
            hosts::wait_for_boot(&self.paths, twin)?;
            say(Some(&twin.name), "answers SSH");
        }
        Ok(())
    }

    /// A lab that is up, by name.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn open(name: &str) -> Result<Lab, LabError> {
        let paths = Paths::new(name)?;
        let file = paths.spec();
        let text = fs::read_to_string(&file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                LabError::new(format!("no lab `{name}` is up")).hint("bring it up with `hapair lab up`")
            }
            _ => LabError::new(format!("cannot read {}", file.display())).because(e),
        })?;
        let saved: Saved = serde_json::from_str(&text).map_err(|e| {
            LabError::new(format!("{}", file.display()))
                .because(e)
                .hint("take the lab down with `hapair lab down`")
        })?;
        Ok(Lab {
            paths,
            spec: saved.spec,
            image: saved.image,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.paths.name
    }

    /// What it is made of; without passwords if it was opened.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// The private key that logs in to every twin, as root and as the inventory's user.
    pub fn identity_file(&self) -> PathBuf {
        self.paths.key()
    }

    /// The twins' host keys under every name and address that leads to them; nobody else's.
    pub fn known_hosts(&self) -> PathBuf {
        self.paths.known_hosts()
    }

    /// Moves the calling thread into the controller's network namespace; threads it starts from now on follow.
    /// Connections, listening sockets and raw sockets made there see the lab and nothing else.
    ///
    /// # Errors
    /// When the lab is not up, or without root.
    pub fn enter(&self) -> Result<(), LabError> {
        process::enter_namespace(&self.paths.controller_ns())
    }

    /// Name of the controller's network namespace, as in `ip netns`.
    pub fn controller_namespace(&self) -> String {
        self.paths.controller_ns()
    }

    /// Name of the bridge's network namespace.
    pub fn bridge_namespace(&self) -> String {
        self.paths.bridge_ns()
    }

    /// Where SSH reaches a twin now: the address of the inventory once it has it, until then the one it started with.
    /// `None`: the lab has no such host.
    pub fn ssh_address(&self, host: &str) -> Option<String> {
        self.spec.host(host).ok().map(|twin| self.address_now(twin).to_string())
    }

    fn address_now(&self, twin: &TwinSpec) -> Ipv4Addr {
        let leader = hosts::leader(&self.paths, twin).ok().flatten();
        let held = |address: &Ipv4Addr| leader.is_some_and(|leader| hosts::holds(leader, *address));
        hosts::login_addresses(twin).find(held).unwrap_or(twin.address)
    }

    /// A command inside a twin, as root: by way of its namespaces, needing neither its network nor its sshd.
    ///
    /// # Errors
    /// When the lab has no such host, or when it is off.
    pub fn command(&self, host: &str, argv: &[&str]) -> Result<Command, LabError> {
        hosts::command(&self.paths, self.spec.host(host)?, argv)
    }

    /// Runs a command inside a twin to its end, whatever its exit status.
    ///
    /// # Errors
    /// As [`Lab::command`]; and when the command cannot be started.
    pub fn exec(&self, host: &str, argv: &[&str]) -> Result<Output, LabError> {
        let mut command = self.command(host, argv)?;
        command.stdin(std::process::Stdio::null());
        command.output().doing(|| format!("run a command in {host}"))
    }

    /// Runs a shell script inside a twin; returns what it printed.
    ///
    /// # Errors
    /// As [`Lab::exec`]; and when the script's exit status is not 0, with what it said.
    pub fn sh(&self, host: &str, script: &str) -> Result<String, LabError> {
        let output = self.exec(host, &["/bin/sh", "-c", script])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(LabError::new(format!(
            "{host}: `{script}` failed ({}): {}{}",
            output.status,
            said,
            errors.trim()
        )))
    }

    /// OpenSSH's client, inside the controller's namespace, with the lab's key and host keys only; the operator's
    /// configuration, keys and agent are not used. `args` follow the destination.
    ///
    /// # Errors
    /// When the lab has no such host, or is not up.
    pub fn ssh(&self, host: &str, args: &[&str]) -> Result<Command, LabError> {
        let address = self.address_now(self.spec.host(host)?);
        let mut command = process::command("ssh");
        command.args(["-F", "/dev/null", "-i"]).arg(self.identity_file());
        for option in [
            format!("UserKnownHostsFile={}", self.known_hosts().display()),
            "GlobalKnownHostsFile=/dev/null".into(),
            "StrictHostKeyChecking=yes".into(),
            "IdentitiesOnly=yes".into(),
            "IdentityAgent=none".into(),
            "PreferredAuthentications=publickey".into(),
            "ConnectTimeout=10".into(),
            "LogLevel=ERROR".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
            .args([
                "-p",
                &self.spec.ssh_port.to_string(),
                "-l",
                &self.spec.ssh_user,
                &address.to_string(),
            ])
            .args(args);
        process::Place::new()
            .namespace(&self.paths.controller_ns())?
            .apply(&mut command);
        Ok(command)
    }

    /// Pulls a twin's plug: all its processes end at once, its disk stays. A twin that is off is fine.
    ///
    /// # Errors
    /// When the lab has no such host, or when a process does not die.
    pub fn power_off(&self, host: &str) -> Result<(), LabError> {
        hosts::power_off(&self.paths, self.spec.host(host)?)
    }

    /// Starts a twin that is off and waits until SSH answers.
    ///
    /// # Errors
    /// When the lab has no such host, or when it does not come up.
    pub fn power_on(&self, host: &str) -> Result<(), LabError> {
        let twin = self.spec.host(host)?;
        hosts::power_on(&self.paths, &self.spec, self.index(host)?, &self.image)?;
        hosts::wait_for_ssh(&self.paths, &self.spec, twin, BOOT_PATIENCE)
    }

    /// Waits until SSH answers on a twin, as after a reboot.
    ///
    /// # Errors
    /// When the lab has no such host, or when it does not come up in 90 s.
    pub fn wait_for_ssh(&self, host: &str) -> Result<(), LabError> {
        hosts::wait_for_ssh(&self.paths, &self.spec, self.spec.host(host)?, BOOT_PATIENCE)
    }

    /// Pulls a twin's network cable out of the bridge; it stays out over a reboot.
    ///
    /// # Errors
    /// When the lab has no such host, or when it is off.
    pub fn cut_link(&self, host: &str) -> Result<(), LabError> {
        network::set_cable(&self.paths, self.index(host)?, self.spec.host(host)?, Cable::Cut)
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// When the lab has no such host, or when it is off.
    pub fn join_link(&self, host: &str) -> Result<(), LabError> {
        network::set_cable(&self.paths, self.index(host)?, self.spec.host(host)?, Cable::Joined)
    }

    /// What a twin's console and supervisor said.
    ///
    /// # Errors
    /// When the lab has no such host, or the log cannot be read.
    pub fn console(&self, host: &str) -> Result<String, LabError> {
        let path = self.paths.host(&self.spec.host(host)?.name).join("console.log");
        fs::read_to_string(&path).at("read", &path)
    }

    /// How it is.
    ///
    /// # Errors
    /// When the cgroups cannot be read.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        let mut list = Vec::new();
        for twin in &self.spec.hosts {
            list.push(HostStatus {
                name: twin.name.clone(),
                running: hosts::leader(&self.paths, twin)?.is_some(),
                address: self.address_now(twin),
                interface: twin.interface.clone(),
            });
        }
        let named = |name: String| Path::new("/run/netns").join(name).exists();
        let complete = named(self.paths.bridge_ns())
            && named(self.paths.controller_ns())
            && !cgroup::processes(&self.paths.name, Some(services::PART))?.is_empty();
        Ok(LabStatus {
            name: self.paths.name.clone(),
            complete,
            hosts: list,
        })
    }

    /// Takes it down; see [`down`].
    ///
    /// # Errors
    /// As [`down`].
    pub fn down(self) -> Result<(), LabError> {
        down(&self.paths.name)
    }

    fn index(&self, host: &str) -> Result<usize, LabError> {
        self.spec.host(host)?;
        Ok(self.spec.hosts.iter().position(|h| h.name == host).expect("just found"))
    }
}

impl LabStatus {
    /// Complete, and every twin runs.
    pub fn is_whole(&self) -> bool {
        self.complete && self.hosts.iter().all(|h| h.running)
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn lock(paths: &Paths, say: &mut dyn FnMut(String)) -> Result<DirLock, LabError> {
    DirLock::take(&paths.state(), Duration::from_secs(60), &mut || {
        say(format!("waiting for another hapair that works on lab {}", paths.name));
    })
}

/// Takes a lab down by name: processes, namespaces, cgroups, files. Works on whatever a killed `up` left, also on
/// nothing at all. The image stays in the cache ([`purge`] removes it).
///
/// # Errors
/// Without root, or when something cannot be removed.
pub fn down(name: &str) -> Result<(), LabError> {
    let paths = Paths::new(name)?;
    let _lock = lock(&paths, &mut |_| {})?;
    tear_down(&paths)?;
    image::sweep_if_idle()?;
    forget(&paths)
}

/// Everything but the (locked) state directory itself.
fn tear_down(paths: &Paths) -> Result<(), LabError> {
    cgroup::kill(&paths.name, None)?;
    cgroup::remove(&paths.name, None)?;
    network::remove(paths)?;
    let state = paths.state();
    for entry in fs::read_dir(&state).at("read", &state)? {
        let path = entry.at("read", &state)?.path();
        if path.is_dir() && !path.is_symlink() {
            paths::remove_tree(&path)?;
        } else {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// The state directory, and its parents if they are empty; the caller holds the lock.
fn forget(paths: &Paths) -> Result<(), LabError> {
    let state = paths.state();
    fs::remove_dir(&state).at("remove", &state)?;
    for parent in [Path::new(STATE), Path::new(STATE).parent().expect("has one")] {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

/// Removes all cached images.
///
/// # Errors
/// When a lab is up, or an image is being built.
pub fn purge() -> Result<(), LabError> {
    if let Some(name) = list().first() {
        return Err(LabError::new(format!("lab {name} uses the image")).hint("take it down first"));
    }
    image::purge()
}

/// Names of the labs of which anything exists, complete or not.
pub fn list() -> Vec<String> {
    let mut names = cgroup::labs();
    if let Ok(entries) = fs::read_dir(STATE) {
        names.extend(entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()));
    }
    names.sort();
    names.dedup();
    names
}
