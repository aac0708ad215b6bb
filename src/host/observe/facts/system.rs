//! Release, SELinux, nginx's layout, disks, cloud-init.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::keepalived;
use crate::state::facts::{HmacDemand, HmacInPlace};
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{Facts, NginxLayout, Release, Secret, SelinuxMode};

/// Reads `/etc/os-release` (os-release(5): shell assignments, values may be quoted).
pub(crate) fn release(text: &str) -> Release {
    let value = |key: &str| {
        text.lines()
            .filter_map(|l| l.trim().split_once('='))
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.trim().trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    let major = value("VERSION_ID")
        .split('.')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    Release {
        id: value("ID"),
        major,
        pretty: value("PRETTY_NAME"),
    }
}

/// Mode in `/etc/selinux/config`; `None` without such a file.
pub fn selinux_config(root: &Root) -> Option<SelinuxMode> {
    parse_selinux(&root.read("/etc/selinux/config")?)
}

/// As libselinux's selinux_config.c reads it: the first line that starts exactly with `SELINUX=` counts; blanks after
/// `=` are skipped; the value is compared by prefix, without regard to case. Without such a line SELinux is disabled.
pub fn parse_selinux(text: &str) -> Option<SelinuxMode> {
    let Some(value) = text.lines().find_map(|l| l.strip_prefix("SELINUX=")) else {
        return Some(SelinuxMode::Disabled);
    };
    let value = value.trim_start().to_ascii_lowercase();
    [SelinuxMode::Enforcing, SelinuxMode::Permissive, SelinuxMode::Disabled]
        .into_iter()
        .find(|mode| value.starts_with(&mode.to_string()))
}

/// SELinux in the running kernel; disabled where selinuxfs is not mounted.
pub fn selinux_runtime(root: &Root) -> SelinuxMode {
    match root.line("/sys/fs/selinux/enforce").as_str() {
        "1" => SelinuxMode::Enforcing,
        "0" => SelinuxMode::Permissive,
        _ => SelinuxMode::Disabled,
    }
}

/// Whether a file's content was written since this boot; false where that cannot be told.
pub fn written_since_boot(root: &Root, absolute: &str) -> bool {
    let written = std::fs::metadata(root.path(absolute)).and_then(|m| m.modified());
    booted_at(root).is_some_and(|boot| written.is_ok_and(|at| at > boot))
}

/// When PID 1 started, on the wall clock as it is now: counted back, because the clock may have been set since (and
/// `btime` of /proc/stat is the machine's boot, which for a container is another).
fn booted_at(root: &Root) -> Option<SystemTime> {
    // starttime, the 22nd field of proc(5)'s stat; the second one is in brackets and may hold blanks.
    let stat = root.read("/proc/1/stat")?;
    let ticks: f64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = root.line("/proc/uptime").split_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(up - ticks / USER_HZ).ok()?;
    SystemTime::now().checked_sub(age)
}

/// Ticks a second in /proc, on every architecture that CentOS runs on.
const USER_HZ: f64 = 100.0;

/// Told by what `nginx.conf` itself holds: only the distribution's has a server in it.
pub(crate) fn nginx_layout(root: &Root) -> Option<NginxLayout> {
    let text = root.read("/etc/nginx/nginx.conf")?;
    let code: Vec<&str> = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim())
        .collect();
    let has_server = code.iter().any(|l| {
        l.contains("default.d/")
            || l.strip_prefix("server")
                .is_some_and(|rest| rest.trim_start().starts_with('{'))
    });
    Some(if has_server {
        NginxLayout::Distribution
    } else {
        NginxLayout::NginxOrg
    })
}

/// Passwords of the instances in keepalived.conf.
pub(crate) fn auth_pass(root: &Root) -> BTreeMap<String, Secret> {
    let Some(text) = root.read(KEEPALIVED_CONF) else {
        return BTreeMap::new();
    };
    let (config, _) = keepalived::parse(&text, &keepalived::Options::default());
    let password = |instance: &Arc<keepalived::Instance>| match &instance.auth {
        Some(keepalived::Auth::Pass(bytes)) => Some((
            instance.name.clone(),
            Secret::new(String::from_utf8_lossy(bytes).into_owned()),
        )),
        _ => None,
    };
    config.instances.iter().filter_map(password).collect()
}

/// `auth_hmac` of the instances in keepalived.conf.
pub(crate) fn auth_hmac(root: &Root) -> BTreeMap<String, HmacInPlace> {
    let Some(text) = root.read(KEEPALIVED_CONF) else {
        return BTreeMap::new();
    };
    let (config, _) = keepalived::parse(&text, &keepalived::Options::default());
    let in_place = |auth: &keepalived::AuthHmac| HmacInPlace {
        // A path means something on this host alone.
        keys: auth
            .keys
            .iter()
            .filter(|key| !key.written.starts_with("file:"))
            .map(|key| (key.id, Secret::new(key.written.as_str())))
            .collect(),
        mode: match auth.mode {
            keepalived::HmacMode::ReceiveOnly => HmacDemand::ReceiveOnly,
            keepalived::HmacMode::Permissive => HmacDemand::Permissive,
            keepalived::HmacMode::Enforce => HmacDemand::Enforce,
        },
        window: auth.window,
    };
    let instances = config.instances.iter();
    instances
        .filter_map(|i| Some((i.name.clone(), in_place(i.auth_hmac.as_ref()?))))
        .collect()
}

/// cloud-init is installed and not switched off (its file or the kernel's command line).
pub(crate) fn cloud_init(root: &Root) -> bool {
    root.path("/etc/cloud").is_dir()
        && !root.path("/etc/cloud/cloud-init.disabled").exists()
        && !root.line("/proc/cmdline").contains("cloud-init=disabled")
}

/// The version from the package; a keepalived that no package knows is asked itself.
pub(crate) fn keepalived_version(facts: &Facts) -> Option<String> {
    if let Some(full) = facts.packages.get("keepalived") {
        let version = full.split_once(':').map_or(full.as_str(), |(_, rest)| rest);
        return Some(version.split('-').next().unwrap_or(version).to_owned());
    }
    let program = exec::which(&["keepalived"])?;
    let output = exec::run(&program, &["-v"], Duration::from_secs(5)).ok()?;
    // `Keepalived v2.2.7 (01/16,2022)` on standard error.
    let text = format!("{}{}", output.stderr, output.stdout);
    let word = text.split_whitespace().find_map(|w| {
        w.strip_prefix('v')
            .filter(|v| v.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release() {
        let text = "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\nVERSION_ID=\"7\"\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n";
        let found = release(text);
        assert_eq!(
            (found.id.as_str(), found.major, found.pretty.as_str()),
            ("centos", 7, "CentOS Linux 7 (Core)")
        );
        assert_eq!(release("ID=rocky\nVERSION_ID='9.4'\n").major, 9);
    }

    #[test]
    fn a_file_is_of_this_boot_or_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        for path in ["proc/1", "etc"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let write = |path: &str, text: &str| std::fs::write(dir.path().join(path), text).unwrap();
        write("etc/config", "");
        assert!(!written_since_boot(&root, "/etc/config"), "nobody knows when that was");
        // PID 1 started 500 s after the machine, in a container that is up for 100 s.
        write(
            "proc/1/stat",
            &format!("1 (systemd) x) S {} 50000 0 0", "0 ".repeat(18).trim()),
        );
        write("proc/uptime", "600.00 1000.00\n");
        assert!(written_since_boot(&root, "/etc/config"));
        let file = std::fs::File::options()
            .write(true)
            .open(dir.path().join("etc/config"))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(101)).unwrap();
        assert!(!written_since_boot(&root, "/etc/config"));
        file.set_modified(SystemTime::now() - Duration::from_secs(99)).unwrap();
        assert!(written_since_boot(&root, "/etc/config"));
        assert!(!written_since_boot(&root, "/etc/none"));
    }

    #[test]
    fn selinux_reads_like_libselinux() {
        assert_eq!(
            parse_selinux("# SELINUX=enforcing\nSELINUX= Permissive # x\nSELINUX=enforcing\n"),
            Some(SelinuxMode::Permissive)
        );
        assert_eq!(parse_selinux(" SELINUX=enforcing\n"), Some(SelinuxMode::Disabled));
    }
}
