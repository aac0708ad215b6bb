//! firewalld's permanent configuration, read from its files: asking `firewall-cmd` costs more than the connection.

use serde::{Deserialize, Serialize};

use crate::host::os::root::Root;
use crate::state::UnitState;
use crate::state::resource::FirewallSpec;

/// What firewalld is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// firewalld is installed.
    pub installed: bool,
    /// The daemon runs.
    pub running: bool,
    /// It starts at boot.
    pub enabled: bool,
    /// Zone of the interface.
    pub zone: String,
    /// What that zone does not let through yet, as `firewall-cmd` options: `--add-service=http`.
    pub missing: Vec<String>,
}

/// Compares a zone's file with what is wanted.
pub fn observe(root: &Root, spec: &FirewallSpec, unit: &UnitState) -> Observed {
    let zone = zone_of(root, &spec.interface);
    let text = zone_text(root, &zone).unwrap_or_default();
    Observed {
        installed: unit.exists(),
        running: unit.is_active(),
        enabled: unit.is_enabled(),
        missing: missing(&text, spec),
        zone,
    }
}

/// The zone of an interface: the one whose file names it, the profile's `ZONE`, else the default zone.
fn zone_of(root: &Root, interface: &str) -> String {
    for name in root.names("/etc/firewalld/zones") {
        let Some(zone) = name.strip_suffix(".xml") else {
            continue;
        };
        let text = root.read(&format!("/etc/firewalld/zones/{name}")).unwrap_or_default();
        if tags(&text)
            .iter()
            .any(|t| t.name == "interface" && t.get("name") == Some(interface))
        {
            return zone.to_owned();
        }
    }
    let profile = root
        .read(&format!("/etc/sysconfig/network-scripts/ifcfg-{interface}"))
        .unwrap_or_default();
    let written = profile
        .lines()
        .find_map(|l| l.strip_prefix("ZONE="))
        .map(|v| v.trim().trim_matches(['"', '\'']));
    if let Some(zone) = written.filter(|z| !z.is_empty()) {
        return zone.to_owned();
    }
    let config = root.read("/etc/firewalld/firewalld.conf").unwrap_or_default();
    let default = config
        .lines()
        .find_map(|l| l.trim().strip_prefix("DefaultZone="))
        .map(str::trim);
    default.filter(|z| !z.is_empty()).unwrap_or("public").to_owned()
}

/// A zone's file: the operator's, else the package's.
fn zone_text(root: &Root, zone: &str) -> Option<String> {
    ["/etc/firewalld/zones", "/usr/lib/firewalld/zones"]
        .iter()
        .find_map(|dir| root.read(&format!("{dir}/{zone}.xml")))
}

/// The rich rule that lets VRRP in from one peer (firewalld.richlanguage(5): a source needs its family).
pub fn peer_rule(peer: &str) -> String {
    let family = if peer.contains(':') { "ipv6" } else { "ipv4" };
    format!(
        "rule family=\"{family}\" source address=\"{}\" protocol value=\"112\" accept",
        with_prefix(peer)
    )
}

/// A peer is one address, or a network written with its prefix (IPv6 adverts come from link-local addresses).
fn with_prefix(peer: &str) -> String {
    match (peer.contains('/'), peer.contains(':')) {
        (true, _) => peer.to_owned(),
        (false, true) => format!("{peer}/128"),
        (false, false) => format!("{peer}/32"),
    }
}

fn missing(zone: &str, spec: &FirewallSpec) -> Vec<String> {
    let tags = tags(zone);
    let mut out = Vec::new();
    let top = |name: &str, key: &str, value: &str| {
        tags.iter()
            .any(|t| t.depth == 1 && t.name == name && t.get(key) == Some(value))
    };
    for service in &spec.services {
        if !top("service", "name", service) {
            out.push(format!("--add-service={service}"));
        }
    }
    for port in &spec.ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let there = tags.iter().any(|t| {
            t.depth == 1 && t.name == "port" && t.get("port") == Some(number) && t.get("protocol") == Some(protocol)
        });
        if !there {
            out.push(format!("--add-port={number}/{protocol}"));
        }
    }
    for peer in &spec.vrrp_peers {
        if !rules(&tags).iter().any(|rule| admits_vrrp_from(rule, peer)) {
            out.push(format!("--add-rich-rule={}", peer_rule(peer)));
        }
    }
    out
}

/// The elements inside each top-level `<rule>`.
fn rules<'a>(tags: &'a [Tag<'a>]) -> Vec<&'a [Tag<'a>]> {
    let starts = tags
        .iter()
        .enumerate()
        .filter(|(_, t)| t.depth == 1 && t.name == "rule")
        .map(|(i, _)| i);
    starts
        .map(|i| {
            let end = tags[i + 1..]
                .iter()
                .position(|t| t.depth <= 1)
                .map_or(tags.len(), |n| i + 1 + n);
            &tags[i + 1..end]
        })
        .collect()
}

fn admits_vrrp_from(rule: &[Tag<'_>], peer: &str) -> bool {
    let source = rule.iter().find(|t| t.name == "source").and_then(|t| t.get("address"));
    let bare = source.map(|s| s.trim_end_matches("/32").trim_end_matches("/128"));
    let protocol = rule.iter().find(|t| t.name == "protocol").and_then(|t| t.get("value"));
    bare == Some(peer) && matches!(protocol, Some("112" | "vrrp")) && rule.iter().any(|t| t.name == "accept")
}

/// One start tag of an XML file.
struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    /// 0 for the root element.
    depth: usize,
}

impl<'a> Tag<'a> {
    /// An attribute's raw value; firewalld's values hold no entities that matter here.
    fn get(&self, key: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        loop {
            let (name, tail) = rest.split_once('=')?;
            let tail = tail.trim_start();
            let quote = tail.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, after) = tail[1..].split_once(quote)?;
            if name.trim() == key {
                return Some(value);
            }
            rest = after;
        }
    }
}

/// Start tags of the small XML that firewalld writes: no CDATA, no entities in what we compare.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut out = Vec::new();
    let mut depth = 0;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(tail) = rest.strip_prefix("!--") {
            rest = tail.find("-->").map_or("", |end| &tail[end + 3..]);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        let (inside, tail) = (&rest[..end], &rest[end + 1..]);
        rest = tail;
        if inside.starts_with(['?', '!']) {
            continue;
        }
        if inside.starts_with('/') {
            depth = usize::saturating_sub(depth, 1);
            continue;
        }
        let closed = inside.ends_with('/');
        let body = inside.trim_end_matches('/').trim();
        let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        out.push(Tag {
            name,
            attributes,
            depth,
        });
        if !closed {
            depth += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<zone>
  <short>Public</short>
  <!-- <service name="http"/> -->
  <service name="ssh"/>
  <port protocol="tcp" port="8080"/>
  <rule family="ipv4">
    <source address="10.0.0.2/32"/>
    <protocol value="112"/>
    <accept/>
  </rule>
  <rule family="ipv4"><source address="10.0.0.3"/><service name="http"/><accept/></rule>
</zone>
"#;

    #[test]
    fn only_what_is_missing() {
        let spec = FirewallSpec {
            interface: "eth0".into(),
            services: vec!["ssh".into(), "http".into()],
            ports: vec!["8080/tcp".into(), "8080/udp".into()],
            vrrp_peers: vec!["10.0.0.2".into(), "10.0.0.3".into()],
        };
        let wanted = [
            "--add-service=http".to_owned(),
            "--add-port=8080/udp".to_owned(),
            format!("--add-rich-rule={}", peer_rule("10.0.0.3")),
        ];
        assert_eq!(missing(ZONE, &spec), wanted);
    }

    #[test]
    fn the_zone_that_names_the_interface_wins() {
        let dir = tempfile::tempdir().unwrap();
        let zones = dir.path().join("etc/firewalld/zones");
        std::fs::create_dir_all(&zones).unwrap();
        std::fs::write(
            dir.path().join("etc/firewalld/firewalld.conf"),
            "# x\nDefaultZone=work\n",
        )
        .unwrap();
        let root = Root::at(dir.path());
        assert_eq!(zone_of(&root, "eth0"), "work");
        std::fs::write(zones.join("dmz.xml"), "<zone><interface name=\"eth0\"/></zone>").unwrap();
        assert_eq!(zone_of(&root, "eth0"), "dmz");
    }
}
