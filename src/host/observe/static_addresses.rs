//! Every address that the host's network configuration gives it: in main and alias profiles, keyfiles, and start scripts.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use crate::host::observe::facts::net::{CONNECTIONS, SCRIPTS};
use crate::host::os::root::Root;

/// Where NetworkManager reads keyfiles.
const KEYFILES: [&str; 3] = [
    CONNECTIONS,
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
];
/// Scripts that run when the host or an interface starts.
const START_SCRIPTS: [&str; 2] = ["/etc/rc.d/rc.local", "/sbin/ifup-local"];

/// An address in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// Without prefix.
    pub address: IpAddr,
    /// The file.
    pub path: String,
    /// What names it there: `IPADDR2`, `address1`; a line of a script has none.
    pub key: String,
    /// When the host gets it.
    pub activation: Activation,
}

/// When the file's addresses become active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// At every boot.
    AtBoot,
    /// When somebody asks for it.
    OnDemand,
}

/// Those of these addresses that some file gives the host.
pub fn among(root: &Root, wanted: &[IpAddr]) -> Vec<StaticAddress> {
    let mut found = Vec::new();
    for name in root.names(SCRIPTS).iter().filter(|name| is_read(name)) {
        let path = format!("{SCRIPTS}/{name}");
        let text = root.read(&path).unwrap_or_default();
        found.extend(of_ifcfg(&path, &text, wanted));
    }
    for directory in KEYFILES {
        for name in root.names(directory).iter().filter(|n| n.ends_with(".nmconnection")) {
            let path = format!("{directory}/{name}");
            let text = root.read(&path).unwrap_or_default();
            found.extend(of_keyfile(&path, &text));
        }
    }
    for path in START_SCRIPTS.into_iter().filter(|path| is_executable(root, path)) {
        found.extend(of_script(path, &root.read(path).unwrap_or_default(), wanted));
    }
    found.retain(|a| wanted.contains(&a.address));
    found
}

/// Aliases (`ifcfg-eth0:1`), ranges (`ifcfg-eth0-range0`) and `lo` count; copies that neither network.service nor
/// NetworkManager reads do not.
fn is_read(name: &str) -> bool {
    const COPIES: [&str; 11] = [
        "~", ".bak", ".old", ".orig", ".rej", ".rpmnew", ".rpmorig", ".rpmsave", ".augnew", ".augtmp", ".swp",
    ];
    name.starts_with("ifcfg-") && !COPIES.iter().any(|suffix| name.ends_with(suffix))
}

/// systemd runs no rc.local, and ifup no ifup-local, that is not.
fn is_executable(root: &Root, path: &str) -> bool {
    std::fs::metadata(root.path(path)).is_ok_and(|m| m.permissions().mode() & 0o111 != 0)
}

/// A file that bash sources.
fn of_ifcfg(path: &str, text: &str, wanted: &[IpAddr]) -> Vec<StaticAddress> {
    let unquoted = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
    let assignments: Vec<(&str, String)> = text
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(key, _)| !key.starts_with('#'))
        .map(|(key, value)| (key, unquoted(value)))
        .collect();
    let value = |key: &str| {
        assignments
            .iter()
            .rev()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str())
    };
    let is_no = |key: &str| value(key).is_some_and(|v| v.eq_ignore_ascii_case("no"));
    // An alias starts with its parent, whatever its ONBOOT says.
    let switch = if path.contains(':') { "ONPARENT" } else { "ONBOOT" };
    let activation = match is_no(switch) {
        true => Activation::OnDemand,
        false => Activation::AtBoot,
    };
    let mut found = Vec::new();
    let mut add = |key: &str, address: IpAddr| {
        found.push(StaticAddress {
            address,
            path: path.to_owned(),
            key: key.to_owned(),
            activation,
        });
    };
    for (key, value) in &assignments {
        let number = key.strip_prefix("IPADDR");
        let is_address = number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if is_address || matches!(*key, "IPV6ADDR" | "IPV6ADDR_SECONDARIES") {
            for address in value.split_whitespace().filter_map(without_prefix) {
                add(key, address);
            }
        }
    }
    if let (Some(first), Some(last)) = (value("IPADDR_START"), value("IPADDR_END")) {
        let range = first.parse::<IpAddr>().ok().zip(last.parse::<IpAddr>().ok());
        let inside = |a: &&IpAddr| range.is_some_and(|(first, last)| first <= **a && **a <= last);
        for address in wanted.iter().filter(inside) {
            add("IPADDR_START", *address);
        }
    }
    found
}

fn of_keyfile(path: &str, text: &str) -> Vec<StaticAddress> {
    let mut section = "";
    let mut activation = Activation::AtBoot;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            continue;
        }
        let Some((key, value)) = line.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
            continue;
        };
        match (section, key) {
            ("connection", "autoconnect") if matches!(value, "false" | "no" | "0") => activation = Activation::OnDemand,
            ("ipv4" | "ipv6", key) if key.strip_prefix("address").is_some_and(|rest| !rest.contains('-')) => {
                // `192.168.0.200/24,192.168.0.1`: the second one is the gateway; `addresses` is a list with `;`.
                let addresses = value
                    .split(';')
                    .filter_map(|one| without_prefix(one.split(',').next()?));
                found.extend(addresses.map(|address| (key.to_owned(), address)));
            }
            _ => {}
        }
    }
    let of_file = |(key, address)| StaticAddress {
        address,
        path: path.to_owned(),
        key,
        activation,
    };
    found.into_iter().map(of_file).collect()
}

/// Lines of a script that name one of these addresses.
fn of_script(path: &str, text: &str, wanted: &[IpAddr]) -> Vec<StaticAddress> {
    let code = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    let words = code.flat_map(|l| l.split(|c: char| c.is_whitespace() || "\"'=;,()".contains(c)));
    let mut named: Vec<IpAddr> = words
        .filter_map(without_prefix)
        .filter(|a| wanted.contains(a))
        .collect();
    named.sort_unstable();
    named.dedup();
    let line = |address| StaticAddress {
        address,
        path: path.to_owned(),
        key: String::new(),
        activation: Activation::AtBoot,
    };
    named.into_iter().map(line).collect()
}

/// `192.168.0.200/24` and `192.168.0.200`.
fn without_prefix(text: &str) -> Option<IpAddr> {
    text.trim().split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn found(files: &[(&str, &str)], wanted: &str) -> Vec<(String, String, Activation)> {
        let (_dir, root) = host(files);
        let all = among(&root, &[wanted.parse().unwrap()]);
        all.into_iter()
            .map(|a| (a.path.rsplit('/').next().unwrap().to_owned(), a.key, a.activation))
            .collect()
    }

    #[test]
    fn a_vip_is_found_in_every_kind_of_file() {
        use Activation::{AtBoot, OnDemand};
        const IFCFG: &str = "etc/sysconfig/network-scripts/ifcfg-";
        const KEYFILE: &str = "etc/NetworkManager/system-connections/";
        let vip = "192.168.0.200";
        for (path, text, name, key, activation) in [
            (
                "enp0s3",
                "IPADDR=192.168.0.201\nIPADDR1=\"192.168.0.200\"\n",
                "ifcfg-enp0s3",
                "IPADDR1",
                AtBoot,
            ),
            (
                "enp0s3:0",
                "IPADDR=192.168.0.200\nNETMASK=255.255.255.0\n",
                "ifcfg-enp0s3:0",
                "IPADDR",
                AtBoot,
            ),
            (
                "lo:0",
                "DEVICE=lo:0\nIPADDR='192.168.0.200'\n",
                "ifcfg-lo:0",
                "IPADDR",
                AtBoot,
            ),
            (
                "enp0s3:0",
                "ONPARENT=no\nIPADDR=192.168.0.200\n",
                "ifcfg-enp0s3:0",
                "IPADDR",
                OnDemand,
            ),
            (
                "enp0s3-range0",
                "IPADDR_START=192.168.0.190\nIPADDR_END=192.168.0.210\nCLONENUM_START=0\n",
                "ifcfg-enp0s3-range0",
                "IPADDR_START",
                AtBoot,
            ),
        ] {
            let seen = found(&[(&format!("{IFCFG}{path}"), text)], vip);
            assert_eq!(seen, [(name.to_owned(), key.to_owned(), activation)], "{path}");
        }
        for (text, key, activation) in [
            (
                "[ipv4]\naddress1=192.168.0.201/24,192.168.0.1\naddress2=192.168.0.200/24\n",
                "address2",
                AtBoot,
            ),
            (
                "[ipv4]\naddresses=192.168.0.201/24;192.168.0.200/24;\n",
                "addresses",
                AtBoot,
            ),
            (
                "[connection]\nautoconnect=false\n[ipv4]\naddress1=192.168.0.200/32\n",
                "address1",
                OnDemand,
            ),
        ] {
            let seen = found(&[(&format!("{KEYFILE}a.nmconnection"), text)], vip);
            assert_eq!(
                seen,
                [("a.nmconnection".to_owned(), key.to_owned(), activation)],
                "{text}"
            );
        }
        let script = "#!/bin/bash\n# ip addr add 192.168.0.200\nip addr add 192.168.0.200/24 dev enp0s3\n";
        let seen = found(&[("etc/rc.d/rc.local", script)], vip);
        assert_eq!(seen, [("rc.local".to_owned(), String::new(), AtBoot)]);
    }

    #[test]
    fn what_nobody_reads_and_what_is_not_the_vip_is_not_found() {
        const IFCFG: &str = "etc/sysconfig/network-scripts/ifcfg-";
        for (path, text) in [
            ("enp0s3:0.bak", "IPADDR=192.168.0.200\n"),
            (
                "enp0s3",
                "IPADDR=192.168.0.201\n#IPADDR1=192.168.0.200\nGATEWAY=192.168.0.200\n",
            ),
            ("enp0s3", "IPADDR=192.168.0.20\n"),
            (
                "enp0s3-range0",
                "IPADDR_START=192.168.0.190\nIPADDR_END=192.168.0.199\n",
            ),
        ] {
            assert_eq!(
                found(&[(&format!("{IFCFG}{path}"), text)], "192.168.0.200"),
                [],
                "{path} {text}"
            );
        }
        let gateway = "[ipv4]\naddress1=192.168.0.201/24,192.168.0.200\n[ipv6]\naddr-gen-mode=default\n";
        assert_eq!(
            found(
                &[("etc/NetworkManager/system-connections/a.nmconnection", gateway)],
                "192.168.0.200"
            ),
            []
        );
        let script = "#!/bin/sh\n# 192.168.0.200\nping 192.168.0.20\n";
        assert_eq!(found(&[("etc/rc.d/rc.local", script)], "192.168.0.200"), []);
    }

    #[test]
    fn ipv6_counts_too() {
        let ifcfg = "IPV6ADDR=2001:db8::1/64\nIPV6ADDR_SECONDARIES=\"2001:db8::2/64 2001:db8:0::200/64\"\n";
        let seen = found(&[("etc/sysconfig/network-scripts/ifcfg-a", ifcfg)], "2001:db8::200");
        assert_eq!(seen[0].1, "IPV6ADDR_SECONDARIES");
        let keyfile = "[ipv6]\naddress1=2001:db8::200/64,fe80::1\n";
        let seen = found(
            &[("run/NetworkManager/system-connections/a.nmconnection", keyfile)],
            "2001:db8::200",
        );
        assert_eq!(seen[0].1, "address1");
    }
}
