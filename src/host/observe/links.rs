//! Interfaces that are ports of something else.

use crate::host::os::root::Root;

/// What an interface is a port of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Name of that interface: `br0`.
    pub name: String,
    /// Bridge, bond or something else.
    pub kind: MasterKind,
}

/// What an interface can be a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterKind {
    /// A bridge of Linux (ip-link(8)).
    Bridge,
    /// A bond of Linux.
    Bond,
    /// A team, a switch of Open vSwitch, or a VRF, whose ports have addresses of their own.
    Other,
}

impl std::fmt::Display for MasterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MasterKind::Bridge => "bridge",
            MasterKind::Bond => "bond",
            MasterKind::Other => "device",
        })
    }
}

/// What an interface is a port of; `None`: of nothing, or there is no such interface.
pub fn master(root: &Root, interface: &str) -> Option<Master> {
    let target = std::fs::read_link(root.path(&format!("/sys/class/net/{interface}/master"))).ok()?;
    let name = target.file_name()?.to_string_lossy().into_owned();
    let has = |leaf: &str| root.path(&format!("/sys/class/net/{name}/{leaf}")).is_dir();
    let kind = match (has("bridge"), has("bonding")) {
        (true, _) => MasterKind::Bridge,
        (_, true) => MasterKind::Bond,
        _ => MasterKind::Other,
    };
    Some(Master { name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_bridge_and_of_a_bond() {
        let dir = tempfile::tempdir().unwrap();
        let net = dir.path().join("sys/class/net");
        for (master, kind) in [("br0", "bridge"), ("bond0", "bonding"), ("team0", "statistics")] {
            std::fs::create_dir_all(net.join(master).join(kind)).unwrap();
            let port = net.join(format!("port-of-{master}"));
            std::fs::create_dir_all(&port).unwrap();
            std::os::unix::fs::symlink(format!("../{master}"), port.join("master")).unwrap();
        }
        let root = Root::at(dir.path());
        let of = |interface: &str| master(&root, interface).map(|m| (m.name, m.kind));
        assert_eq!(of("port-of-br0"), Some(("br0".to_owned(), MasterKind::Bridge)));
        assert_eq!(of("port-of-bond0"), Some(("bond0".to_owned(), MasterKind::Bond)));
        assert_eq!(of("port-of-team0"), Some(("team0".to_owned(), MasterKind::Other)));
        assert_eq!((of("br0"), of("nothing")), (None, None));
    }
}
