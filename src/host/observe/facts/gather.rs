//! What the host is, read from files, /proc, one `rpm` and one `systemctl`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::host::observe::facts::{net, system};
use crate::host::os::root::Root;
use crate::host::os::{exec, systemd};
use crate::host::record::txn;
use crate::state::{Facts, UnitState};

/// Units that facts tell of.
pub const UNITS: [&str; 10] = [
    "NetworkManager.service",
    "chronyd.service",
    "firewalld.service",
    "hapair-agent.service",
    "keepalived.service",
    "network.service",
    "nginx.service",
    "ntpd.service",
    "rhel-autorelabel.service",
    "sshd.service",
];

/// Packages that facts tell of: what hapair installs or whose presence changes what it renders.
pub const PACKAGES: [&str; 36] = [
    "NetworkManager",
    "autoconf",
    "automake",
    "binutils",
    "bison",
    "chrony",
    "cloud-init",
    "curl",
    "epel-release",
    "firewalld",
    "flex",
    "gcc",
    "gcc-c++",
    "gdb",
    "gettext",
    "glibc-devel",
    "initscripts",
    "iputils",
    "keepalived",
    "libtool",
    "make",
    "network-scripts",
    "nginx",
    "openssh-server",
    "patch",
    "pkgconf",
    "pkgconfig",
    "policycoreutils",
    "procps-ng",
    "psmisc",
    "redhat-rpm-config",
    "rpm-build",
    "rpm-sign",
    "selinux-policy-targeted",
    "strace",
    "sudo",
];

/// What `rpm` and `systemctl` said, and when: the plan that follows the hello within moments need not ask again.
#[derive(Debug, Default)]
pub struct Tools {
    packages: BTreeMap<String, Option<String>>,
    units: BTreeMap<String, UnitState>,
    asked: Option<Instant>,
}

/// How long an answer of [`Tools`] may be used.
const FRESH: Duration = Duration::from_secs(3);

impl Tools {
    /// Makes sure that these packages and units are known; asks both tools at once for what is not.
    pub fn ask(&mut self, root: &Root, packages: &[String], units: &[String]) {
        if self.asked.is_none_or(|at| at.elapsed() > FRESH) {
            *self = Tools::default();
        }
        if !root.is_live() {
            return;
        }
        let packages: Vec<String> = packages
            .iter()
            .filter(|p| !self.packages.contains_key(*p))
            .cloned()
            .collect();
        let units: Vec<String> = units.iter().filter(|u| !self.units.contains_key(*u)).cloned().collect();
        self.asked.get_or_insert_with(Instant::now);
        std::thread::scope(|scope| {
            let states = scope.spawn(|| systemd::show(&units));
            self.packages.extend(rpm(&packages));
            self.units.extend(states.join().unwrap_or_default());
        });
    }

    /// Version of an installed package among those asked for.
    pub fn package(&self, name: &str) -> Option<&str> {
        self.packages.get(name)?.as_deref()
    }

    /// A unit among those asked for.
    pub fn unit(&self, name: &str) -> UnitState {
        self.units.get(name).cloned().unwrap_or_default()
    }
}

/// `epoch:version-release` of each; `None` for what is not installed.
fn rpm(names: &[String]) -> BTreeMap<String, Option<String>> {
    let mut found: BTreeMap<String, Option<String>> = names.iter().map(|n| (n.clone(), None)).collect();
    if names.is_empty() {
        return found;
    }
    let mut args = vec!["-q", "--qf", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n", "--"];
    args.extend(names.iter().map(String::as_str));
    let Ok(output) = exec::run("rpm", &args, Duration::from_secs(60)) else {
        return found;
    };
    for line in output.stdout.lines() {
        // `package X is not installed` has more words.
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, version] = words[..]
            && let Some(slot) = found.get_mut(name)
        {
            *slot = Some(version.to_owned());
        }
    }
    found
}

/// Everything about the host; leaves what the tools said in `tools`.
pub fn gather(root: &Root, tools: &mut Tools) -> Facts {
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let (packages, units) = (own(&PACKAGES), own(&UNITS));
    // The files are read while rpm and systemctl run.
    let mut facts = std::thread::scope(|scope| {
        let asking = scope.spawn(|| tools.ask(root, &packages, &units));
        let facts = from_files(root);
        let _ = asking.join();
        facts
    });
    facts.packages = packages
        .iter()
        .filter_map(|name| Some((name.clone(), tools.package(name)?.to_owned())))
        .collect();
    facts.units = units.iter().map(|name| (name.clone(), tools.unit(name))).collect();
    net::managers(root, &mut facts);
    facts.keepalived_version = system::keepalived_version(&facts);
    facts
}

fn from_files(root: &Root) -> Facts {
    let uname = nix::sys::utsname::uname().ok();
    let text = |part: Option<&std::ffi::OsStr>| part.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Facts {
        hostname: root.line("/proc/sys/kernel/hostname"),
        machine_id: root.line("/etc/machine-id"),
        boot_id: root.line("/proc/sys/kernel/random/boot_id"),
        release: system::release(&root.read("/etc/os-release").unwrap_or_default()),
        architecture: text(uname.as_ref().map(|u| u.machine())),
        kernel: text(uname.as_ref().map(|u| u.release())),
        uid: nix::unistd::geteuid().as_raw(),
        interfaces: net::interfaces(root),
        default_routes: net::default_routes(root),
        nameservers: system::nameservers(&root.read("/etc/resolv.conf").unwrap_or_default()),
        selinux_config: system::selinux_config(root),
        selinux_runtime: Some(system::selinux_runtime(root)),
        nginx_layout: system::nginx_layout(root),
        auth_pass: system::auth_pass(root),
        auth_hmac: system::auth_hmac(root),
        cloud_init: system::cloud_init(root),
        repository_files: root
            .names("/etc/yum.repos.d")
            .into_iter()
            .filter(|n| n.ends_with(".repo"))
            .collect(),
        clock_ms: now_ms(),
        free_bytes: system::free_bytes(root),
        executor: system::executor_hash(),
        last_transaction: txn::last_finished(root),
        armed_transaction: txn::armed(root),
        ..Facts::default()
    }
}

/// ms since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
