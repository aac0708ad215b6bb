//! Steps 2 to 4: SELinux, firewalld, host name and hosts file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Build;
use super::error::DesiredError;
use super::escape::Place;
use crate::inventory::{Firewalld, Host, ScriptKind};
use crate::state::edit::Edit;
use crate::state::resource::FirewallSpec;
use crate::state::{Engine, SelinuxMode, Spec, Stage};

const HOSTS: &str = "etc/hosts.tera";
const FIREWALLD: &str = "firewalld.service";

/// TCP ports that the targeted policy lets nginx listen on (`http_port_t`, and `http_cache_port_t` for 8080 and its
/// neighbours).
const SELINUX_HTTP_PORTS: [u16; 14] = [
    80, 81, 443, 488, 8008, 8009, 8443, 9000, 8080, 8118, 8123, 10001, 10002, 10003,
];

pub(super) fn add_selinux(build: &mut Build) {
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

pub(super) fn add_firewall(build: &mut Build) -> Result<(), DesiredError> {
    match build.inventory.system.firewalld {
        None => {}
        Some(Firewalld::Disabled) => {
            build.push_service(Stage::Firewall, FIREWALLD, false, true);
        }
        Some(Firewalld::Managed) => add_managed_firewall(build)?,
    }
    Ok(())
}

fn add_managed_firewall(build: &mut Build) -> Result<(), DesiredError> {
    // A cloud image may come without firewalld; then everything about it waits for the repositories.
    let installed =
        build.facts.packages.contains_key("firewalld") || build.facts.units.get(FIREWALLD).is_some_and(|u| u.exists());
    let stage = if installed { Stage::Firewall } else { Stage::Packages };
    if !installed {
        let names = vec!["firewalld".to_owned()];
        let repositories = super::repositories::base_ids(build);
        build.push(stage, "package firewalld", Spec::Packages { names, repositories });
    }

    let Some(interface) = build.interface() else {
        return Err(build.impossible(
            "no interface for the firewall's zone is known",
            "write `network` for this host, or give it a default route",
        ));
    };
    let mut services = vec!["ssh".to_owned()];
    let mut ports = Vec::new();
    if let Some(port) = build.inventory.ssh.port.filter(|p| *p != 22) {
        ports.push(format!("{port}/tcp"));
    }
    let mut listening: Vec<u16> = build
        .inventory
        .nginx
        .iter()
        .flat_map(|n| &n.servers)
        .map(|s| s.listen.port)
        .collect();
    listening.sort_unstable();
    listening.dedup();
    for port in listening {
        match port {
            80 => services.push("http".to_owned()),
            443 => services.push("https".to_owned()),
            other => ports.push(format!("{other}/tcp")),
        }
    }
    let mut vrrp_peers = Vec::new();
    if let Some(vrrp) = &build.inventory.vrrp {
        let peer = build.peer;
        for instance in &vrrp.instances {
            let v4 = instance.virtual_ipaddress.iter().any(|v| v.address.addr().is_ipv4());
            let source = match instance.mcast_src_ip.get(&peer.name) {
                Some(written) => *written,
                // Multicast adverts of IPv6 come from the link-local address, which nobody writes down.
                None if !v4 && !instance.unicast => {
                    vrrp_peers.push("fe80::/10".to_owned());
                    continue;
                }
                None => address_of(build, peer, v4)?,
            };
            vrrp_peers.push(source.to_string());
        }
    }
    vrrp_peers.sort();
    vrrp_peers.dedup();
    if build
        .inventory
        .nginx
        .as_ref()
        .is_some_and(|n| !n.extra_files.is_empty())
    {
        build.note("firewalld lets in the ports of `nginx.servers`; ports of `extra_files` are not opened");
    }
    let spec = FirewallSpec {
        interface,
        services,
        ports,
        vrrp_peers,
    };
    build.push(stage, "firewall rules", Spec::Firewall(spec)).cuts_ssh = true;
    Ok(())
}

/// A host's own address: of its network, else where SSH connects, if that is an address.
pub(super) fn address_of(build: &Build, host: &Host, v4: bool) -> Result<IpAddr, DesiredError> {
    let written = match (&host.network, v4) {
        (Some(network), true) => Some(IpAddr::V4(network.address.addr())),
        (Some(network), false) => network.ipv6.as_ref().map(|v6| IpAddr::V6(v6.address.addr())),
        (None, _) => None,
    };
    let connected = || {
        host.address
            .as_ref()?
            .parse::<IpAddr>()
            .ok()
            .filter(|a| a.is_ipv4() == v4)
    };
    written.or_else(connected).ok_or_else(|| {
        let family = if v4 { "IPv4" } else { "IPv6" };
        build.impossible(
            format!("no {family} address of {} is known", host.name),
            "write it under `network` of that host, or under `mcast_src_ip` of the instance",
        )
    })
}

pub(super) fn add_hostname(build: &mut Build) -> Result<(), DesiredError> {
    let name = build.host.name.clone();
    build.guard(Place::ShellWord, "hosts.name", &name)?;
    build.guard(Place::ShellWord, "hosts.name", &build.peer.name)?;
    build.push(Stage::Hostname, "hostname", Spec::Hostname { name });

    let former = &build.facts.hostname;
    let keeps = former.is_empty() || former.starts_with("localhost") || *former == build.peer.name;
    let remove = if keeps || *former == build.host.name {
        Vec::new()
    } else {
        names(former)
    };
    let mut edits: Vec<Edit> = ["127.0.0.1", "::1"]
        .into_iter()
        .map(|address| Edit::Hosts {
            address: address.to_owned(),
            names: names(&build.host.name),
            remove: remove.clone(),
        })
        .collect();
    let peer = build.peer;
    for v4 in [true, false] {
        if let Ok(address) = address_of(build, peer, v4) {
            edits.push(Edit::Hosts {
                address: address.to_string(),
                names: names(&peer.name),
                remove: Vec::new(),
            });
        }
    }
    let mut create = build.render(HOSTS, &serde_json::json!({}))?;
    for edit in &edits {
        let Edit::Hosts { address, names, .. } = edit else {
            continue;
        };
        create = with_names(&create, address, names);
    }
    let path = "/etc/hosts".to_owned();
    let spec = Spec::Edit {
        path: path.clone(),
        edits,
        create: Some(create),
        mode: 0o644,
        validator: None,
    };
    build.push(Stage::Hostname, format!("file {path}"), spec);
    Ok(())
}

/// A host name, and its first label where it has several.
fn names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let Some((short, _)) = name.split_once('.') {
        names.push(short.to_owned());
    }
    names
}

/// A fresh hosts file with names appended to an address's line.
fn with_names(text: &str, address: &str, names: &[String]) -> String {
    let mut out = String::new();
    let mut found = false;
    for line in text.lines() {
        out.push_str(line);
        if !found && line.split_whitespace().next() == Some(address) {
            found = true;
            for name in names {
                out.push(' ');
                out.push_str(name);
            }
        }
        out.push('\n');
    }
    if !found {
        out.push_str(&format!("{address} {}\n", names.join(" ")));
    }
    out
}
