//! Which process has a socket, and which unit or container the process belongs to.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::os::root::Root;
use crate::state::control_group;

/// A process that was found by one of its sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// 0: nobody that this host shows has the socket.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub name: String,
    /// Its control group, below that of PID 1: `/system.slice/nginx.service`.
    pub group: String,
}

impl Process {
    /// The unit of the host itself that it belongs to, in whatever slice: `nginx.service`, `session-3.scope`. What a container
    /// runs belongs to the container's: `docker-….scope`.
    pub fn unit(&self) -> Option<&str> {
        control_group::unit(&self.group)
    }

    /// It belongs to this unit.
    pub fn is_of(&self, unit: &str) -> bool {
        self.unit() == Some(unit)
    }
}

/// Processes by the inodes of their sockets. Looks first at `likely`: to look at every process costs milliseconds.
pub fn owners(root: &Root, inodes: &[u64], likely: &[u32]) -> BTreeMap<u64, Process> {
    let mut found = BTreeMap::new();
    let mut missing = inodes.to_vec();
    let mut look = |pid: u32, missing: &mut Vec<u64>| {
        for inode in sockets_of(root, pid) {
            if let Some(at) = missing.iter().position(|wanted| *wanted == inode) {
                missing.swap_remove(at);
                found.insert(inode, process(root, pid));
            }
        }
    };
    for pid in likely.iter().filter(|pid| **pid > 0) {
        look(*pid, &mut missing);
    }
    for pid in pids(root) {
        if missing.is_empty() {
            break;
        }
        look(pid, &mut missing);
    }
    found.extend(missing.into_iter().map(|inode| (inode, Process::default())));
    found
}

/// Every process that `/proc` shows.
pub fn pids(root: &Root) -> Vec<u32> {
    let mut pids: Vec<u32> = root
        .names("/proc")
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

fn sockets_of(root: &Root, pid: u32) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(root.path(&format!("/proc/{pid}/fd"))) else {
        return Vec::new();
    };
    let targets = entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter_map(|target| socket_inode(&target)).collect()
}

/// `socket:[12345]`.
fn socket_inode(target: &Path) -> Option<u64> {
    target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn process(root: &Root, pid: u32) -> Process {
    let text = |pid: u32| root.read(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let (own, init) = (text(pid), text(1));
    let group = |text| control_group::path(text).unwrap_or_default();
    let (own, init) = (group(&own), group(&init));
    Process {
        pid,
        name: root.line(&format!("/proc/{pid}/comm")),
        group: control_group::below(own, init).unwrap_or(own).to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process on a host that is a directory.
    pub(crate) fn put(dir: &Path, pid: u32, name: &str, group: &str, sockets: &[u64]) {
        let proc = dir.join(format!("proc/{pid}"));
        std::fs::create_dir_all(proc.join("fd")).unwrap();
        std::fs::write(proc.join("comm"), format!("{name}\n")).unwrap();
        std::fs::write(proc.join("cgroup"), format!("0::{group}\n")).unwrap();
        for (n, inode) in sockets.iter().enumerate() {
            std::os::unix::fs::symlink(format!("socket:[{inode}]"), proc.join(format!("fd/{n}"))).unwrap();
        }
    }

    #[test]
    fn a_socket_leads_to_its_process_and_its_unit() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 1, "systemd", "/init.scope", &[1]);
        put(dir.path(), 700, "nginx", "/system.slice/nginx.service", &[70, 71]);
        put(
            dir.path(),
            812,
            "keepalived",
            "/system.slice/docker-12ab.scope/system.slice/keepalived.service",
            &[80],
        );
        let owners = owners(&Root::at(dir.path()), &[71, 80, 99], &[700]);
        assert!(owners[&71].is_of("nginx.service") && owners[&71].pid == 700);
        assert_eq!(owners[&80].name, "keepalived");
        // Called like ours, but a container's.
        assert!(!owners[&80].is_of("keepalived.service"));
        assert_eq!(owners[&80].unit(), Some("docker-12ab.scope"));
        assert_eq!(owners[&99], Process::default());
    }

    #[test]
    fn what_is_above_pid_1_is_not_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 1, "systemd", "/lab/web1/init.scope", &[]);
        put(dir.path(), 9, "nginx", "/lab/web1/system.slice/nginx.service", &[5]);
        put(
            dir.path(),
            10,
            "nginx",
            "/lab/web1/web.slice/web-front.slice/nginx.service",
            &[6],
        );
        let owners = owners(&Root::at(dir.path()), &[5, 6], &[]);
        assert!(owners[&5].is_of("nginx.service") && owners[&6].is_of("nginx.service"));
    }
}
