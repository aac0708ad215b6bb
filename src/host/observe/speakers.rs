//! Who speaks VRRP on this host: raw sockets of its protocol, in every network namespace.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::host::observe::processes::{self, Process};
use crate::host::observe::sockets::{self, SocketLine};
use crate::host::os::root::Root;
use crate::vrrp::packet::PROTOCOL;

/// A program that speaks VRRP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The program's process.
    pub process: Process,
    /// The network namespace that it is in.
    pub namespace: Namespace,
}

/// A network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// That of the host.
    Host,
    /// Another one: a container's, say. It may share the host's segment or not.
    Other,
}

/// Every program with a raw socket of VRRP's protocol, once for each network namespace.
pub fn speakers(root: &Root, likely: &[u32]) -> Vec<Speaker> {
    let mut found = Vec::new();
    let mut add = |sockets: Vec<SocketLine>, namespace| {
        let inodes: Vec<u64> = sockets.iter().map(|s| s.inode).collect();
        let mut by_pid = BTreeMap::new();
        for process in processes::owners(root, &inodes, likely).into_values() {
            by_pid.insert(process.pid, process);
        }
        found.extend(by_pid.into_values().map(|process| Speaker { process, namespace }));
    };
    let host = raw(root, "/proc/net");
    if !host.is_empty() {
        add(host, Namespace::Host);
    }
    for pid in one_of_each_other_namespace(root) {
        let sockets = raw(root, &format!("/proc/{pid}/net"));
        if !sockets.is_empty() {
            add(sockets, Namespace::Other);
        }
    }
    found
}

fn raw(root: &Root, directory: &str) -> Vec<SocketLine> {
    let read = |leaf: &str| root.read(&format!("{directory}/{leaf}")).unwrap_or_default();
    let mut all = sockets::of_protocol(&read("raw"), PROTOCOL);
    all.extend(sockets::of_protocol(&read("raw6"), PROTOCOL));
    all
}

/// A process of every network namespace that is not ours.
fn one_of_each_other_namespace(root: &Root) -> Vec<u32> {
    let of = |pid: &str| std::fs::read_link(root.path(&format!("/proc/{pid}/ns/net"))).ok();
    let Some(own) = of("self") else { return Vec::new() };
    let mut others: BTreeMap<PathBuf, u32> = BTreeMap::new();
    for pid in processes::pids(root) {
        if let Some(namespace) = of(&pid.to_string()).filter(|namespace| *namespace != own) {
            others.entry(namespace).or_insert(pid);
        }
    }
    others.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::observe::processes::tests::put;

    #[test]
    fn a_speaker_is_found_in_whatever_namespace_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let raw = |inode: u32| {
            format!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n \
                 112: 00000000:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0\n"
            )
        };
        let net = |pid: &str, namespace: &str, text: &str| {
            let proc = dir.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(proc.join("ns")).unwrap();
            std::fs::create_dir_all(proc.join("net")).unwrap();
            std::os::unix::fs::symlink(namespace, proc.join("ns/net")).unwrap();
            std::fs::write(proc.join("net/raw"), text).unwrap();
        };
        put(dir.path(), 1, "systemd", "/init.scope", &[]);
        put(dir.path(), 40, "keepalived", "/system.slice/myha.service", &[400, 401]);
        put(dir.path(), 50, "vrrpd", "/machine.slice/libpod-77.scope", &[500]);
        net("self", "net:[1]", "");
        net("1", "net:[1]", "");
        net("40", "net:[1]", "");
        net("50", "net:[2]", &raw(500));
        std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        std::fs::write(dir.path().join("proc/net/raw"), raw(400)).unwrap();
        std::fs::write(dir.path().join("proc/net/raw6"), "").unwrap();
        let found = speakers(&Root::at(dir.path()), &[]);
        let seen: Vec<(u32, &str, Namespace)> = found
            .iter()
            .map(|s| (s.process.pid, s.process.name.as_str(), s.namespace))
            .collect();
        assert_eq!(
            seen,
            [(40, "keepalived", Namespace::Host), (50, "vrrpd", Namespace::Other)]
        );
    }
}
