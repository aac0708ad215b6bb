//! Step 2: SELinux.

use std::collections::BTreeMap;

use super::build::Build;
use crate::inventory::ScriptKind;
use crate::state::{Engine, SelinuxMode, Spec, Stage};

/// TCP ports that the targeted policy lets nginx listen on (`http_port_t`, and `http_cache_port_t` for 8080 and its
/// neighbours).
const SELINUX_HTTP_PORTS: [u16; 14] = [
    80, 81, 443, 488, 8008, 8009, 8443, 9000, 8080, 8118, 8123, 10001, 10002, 10003,
];

pub(super) fn add(build: &mut Build) {
    let wanted = build.inventory.system.selinux;
    if let Some(mode) = wanted {
        build.push(Stage::Selinux, "selinux mode", Spec::Selinux { mode });
        if mode == SelinuxMode::Disabled && build.release() >= 9 {
            build.note(
                "from release 9 on SELINUX=disabled leaves SELinux running without a policy after the next boot; to \
                 switch it off in the kernel: grubby --update-kernel ALL --args selinux=0",
            );
        }
    }
    let mode = wanted.or(build.facts.selinux_config).unwrap_or(SelinuxMode::Disabled);
    if mode == SelinuxMode::Disabled {
        return;
    }
    let mut values = BTreeMap::new();
    if let Some(nginx) = &build.inventory.nginx {
        if !nginx.servers.is_empty() || !nginx.extra_files.is_empty() {
            values.insert("httpd_can_network_connect".to_owned(), true);
        }
        let mut odd: Vec<u16> = nginx
            .servers
            .iter()
            .map(|s| s.listen.port)
            .filter(|p| !SELINUX_HTTP_PORTS.contains(p))
            .collect();
        odd.sort_unstable();
        odd.dedup();
        for port in odd {
            build.note(format!(
                "SELinux does not let nginx listen on port {port} unless it is labelled: semanage port -a -t \
                 http_port_t -p tcp {port}"
            ));
        }
    }
    if let Some(vrrp) = &build.inventory.vrrp {
        let connects = vrrp.scripts.iter().any(|s| matches!(s.kind, ScriptKind::Http { .. }));
        if vrrp.engine == Engine::Keepalived && connects {
            values.insert("keepalived_connect_any".to_owned(), true);
        }
    }
    if !values.is_empty() {
        build.push(Stage::Selinux, "selinux booleans", Spec::SelinuxBooleans { values });
    }
}
