//! What the host is, read from files, /proc, one `rpm` and one `systemctl`.

use crate::host::observe::facts::{net, system};
use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::record::history;
use crate::state::Facts;

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
        interfaces: net::interfaces(root),
        default_routes: net::default_routes(root),
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
        armed_transaction: history::armed(root),
        ..Facts::default()
    }
}
