//! Every finding of a host, from recorded surroundings.

use super::*;
use crate::host::observe::links::{Master, MasterKind};
use crate::host::observe::packet_filter::Rules;
use crate::host::observe::processes::Process;
use crate::state::resource::{InstanceRef, NetworkSpec, Resource, Stage};
use crate::state::{AdvertNeed, Needs, NetworkManagerKind};

const PROFILE: &str = "/etc/sysconfig/network-scripts/ifcfg-enp0s3";

fn state() -> HostState {
    let network = NetworkSpec {
        interface: "enp0s3".into(),
        path: PROFILE.into(),
        edits: vec![
            Edit::Assign {
                key: "IPADDR".into(),
                value: Some("192.168.0.201".into()),
            },
            Edit::Assign {
                key: "IPADDR1".into(),
                value: None,
            },
        ],
        create: String::new(),
        mode: 0o644,
        manager: NetworkManagerKind::NetworkService,
        addresses: vec!["192.168.0.201/24".into()],
        gateway: None,
    };
    HostState {
        host: "nginx-master".into(),
        resources: vec![Resource {
            id: "network enp0s3".into(),
            stage: Stage::Network,
            spec: Spec::Network(network),
            reactions: vec![],
            cuts_ssh: true,
            election_critical: false,
        }],
        instances: vec![InstanceRef {
            name: "VI_1".into(),
            interface: "enp0s3".into(),
            virtual_router_id: 51,
            priority: 101,
            vips: vec!["192.168.0.200".into()],
        }],
        needs: Needs {
            interfaces: vec!["enp0s3".into()],
            listens: vec![ListenNeed {
                address: None,
                port: 80,
            }],
            tls_files: vec!["/etc/pki/tls/certs/site.pem".into()],
            adverts: vec![AdvertNeed {
                interface: "enp0s3".into(),
                from: "192.168.0.202".parse().unwrap(),
                to: "224.0.0.18".parse().unwrap(),
            }],
        },
        ..HostState::default()
    }
}

fn process(name: &str, group: &str) -> Process {
    Process {
        pid: 812,
        name: name.into(),
        group: group.into(),
    }
}

/// Severity, id and cause.
fn judged(seen: Surroundings) -> Vec<(Severity, FindingId, String)> {
    let findings = judge(&state(), &seen);
    for finding in &findings {
        assert!(
            !finding.remedy.is_empty() && !finding.remedy.ends_with('.'),
            "{finding:?}"
        );
        assert!(!finding.cause.ends_with('.') && finding.host.is_none(), "{finding:?}");
    }
    findings.into_iter().map(|f| (f.severity, f.id, f.cause)).collect()
}

#[track_caller]
fn one(seen: Surroundings, severity: Severity, id: FindingId, cause: &str) {
    let found = judged(seen);
    let [(s, i, c)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((*s, *i), (severity, id), "{c}");
    assert!(c.contains(cause), "{c}");
}

#[test]
fn a_host_with_nothing_else_on_it_has_no_findings() {
    let own = |name: &str, unit: &str| process(name, &format!("/system.slice/{unit}"));
    let seen = Surroundings {
        engine_runs: true,
        live_vips: vec![("192.168.0.200".parse().unwrap(), "enp0s3".into())],
        speakers: vec![
            Speaker {
                process: own("hapair-agent", "hapair-agent.service"),
                namespace: Namespace::Host,
            },
            Speaker {
                process: own("keepalived", "keepalived.service"),
                namespace: Namespace::Host,
            },
        ],
        listeners: vec![Listener {
            process: own("nginx", "nginx.service"),
            address: "0.0.0.0".parse().unwrap(),
            port: 80,
        }],
        room: vec![Room {
            path: "/".into(),
            bytes: 10 << 30,
            files: Some(1_000_000),
        }],
        ..Surroundings::default()
    };
    assert_eq!(judged(seen), []);
    assert_eq!(judged(Surroundings::default()), []);
}

#[test]
fn a_vip_in_the_network_configuration() {
    let at = |path: &str, key: &str, activation| Surroundings {
        static_vips: vec![StaticAddress {
            address: "192.168.0.200".parse().unwrap(),
            path: path.into(),
            key: key.into(),
            activation,
        }],
        // It is there now, and why is known.
        live_vips: vec![("192.168.0.200".parse().unwrap(), "enp0s3:0".into())],
        ..Surroundings::default()
    };
    let alias = format!("{PROFILE}:0");
    one(
        at(&alias, "IPADDR", Activation::AtBoot),
        Severity::Blocks,
        FindingId::VipStatic,
        &alias,
    );
    one(
        at(&alias, "IPADDR", Activation::OnDemand),
        Severity::Warns,
        FindingId::VipStatic,
        "activated",
    );
    one(
        at("/etc/rc.d/rc.local", "", Activation::AtBoot),
        Severity::Warns,
        FindingId::VipStatic,
        "rc.local",
    );
    let keyfile = "/etc/NetworkManager/system-connections/other.nmconnection";
    one(
        at(keyfile, "address2", Activation::AtBoot),
        Severity::Blocks,
        FindingId::VipStatic,
        "address2",
    );
    // The main profile is edited anyway.
    one(
        at(PROFILE, "IPADDR1", Activation::AtBoot),
        Severity::Notes,
        FindingId::VipStatic,
        "IPADDR1",
    );
    one(
        at(PROFILE, "IPADDR", Activation::AtBoot),
        Severity::Notes,
        FindingId::VipStatic,
        "IPADDR",
    );
    one(
        at(PROFILE, "IPADDR7", Activation::AtBoot),
        Severity::Blocks,
        FindingId::VipStatic,
        "IPADDR7",
    );
}

#[test]
fn a_vip_that_is_there_without_an_engine() {
    let on = |interface: &str| Surroundings {
        live_vips: vec![("192.168.0.200".parse().unwrap(), interface.into())],
        ..Surroundings::default()
    };
    one(on("enp0s3"), Severity::Warns, FindingId::VipLeft, "enp0s3");
    one(on("enp0s3:0"), Severity::Warns, FindingId::VipLeft, "enp0s3");
    one(on("lo"), Severity::Blocks, FindingId::VipElsewhere, "on lo");
    let engine = Surroundings {
        engine_runs: true,
        ..on("vrrp.51")
    };
    assert_eq!(judged(engine), []);
}

#[test]
fn another_speaker_of_vrrp() {
    let speaks = |group: &str, namespace| Surroundings {
        speakers: vec![Speaker {
            process: process("keepalived", group),
            namespace,
        }],
        ..Surroundings::default()
    };
    use Namespace::{Host, Other};
    let id = FindingId::VrrpSpeaker;
    one(
        speaks("/system.slice/myha.service", Host),
        Severity::Blocks,
        id,
        "keepalived (process 812, myha.service)",
    );
    // A container that shares the network.
    let container = "/system.slice/docker-12ab.scope/system.slice/keepalived.service";
    one(speaks(container, Host), Severity::Blocks, id, "keepalived (process 812");
    one(
        speaks("/user.slice/user-0.slice/session-1.scope", Host),
        Severity::Blocks,
        id,
        "session-1.scope",
    );
    one(
        speaks("/machine.slice/libpod-77.scope", Other),
        Severity::Warns,
        id,
        "another network namespace",
    );
    let gone = Surroundings {
        speakers: vec![Speaker {
            process: Process::default(),
            namespace: Host,
        }],
        ..Surroundings::default()
    };
    one(gone, Severity::Warns, id, "does not show");
}

#[test]
fn a_port_of_the_load_balancer() {
    let listens = |address: &str, name: &str, group: &str| Surroundings {
        listeners: vec![Listener {
            process: process(name, group),
            address: address.parse().unwrap(),
            port: 80,
        }],
        ..Surroundings::default()
    };
    let httpd = "/system.slice/httpd.service";
    for address in ["0.0.0.0", "::", "127.0.0.1"] {
        let cause = "port 80 is taken by httpd (process 812, httpd.service)";
        one(
            listens(address, "httpd", httpd),
            Severity::Blocks,
            FindingId::PortTaken,
            cause,
        );
    }
    // It is not nginx's unit, so that nginx's unit could not start.
    let by_hand = "/user.slice/user-0.slice/session-1.scope";
    one(
        listens("0.0.0.0", "nginx", by_hand),
        Severity::Blocks,
        FindingId::PortTaken,
        "nginx (process 812",
    );
    // Once for a program that listens on both families.
    let mut both = listens("0.0.0.0", "httpd", httpd);
    both.listeners.extend(listens("::", "httpd", httpd).listeners);
    assert_eq!(judged(both).len(), 1);
    let other = Surroundings {
        listeners: vec![Listener {
            port: 8080,
            ..listens("0.0.0.0", "httpd", httpd).listeners[0].clone()
        }],
        ..Surroundings::default()
    };
    assert_eq!(judged(other), []);
}

#[test]
fn addresses_that_are_in_each_others_way() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    for (wanted, taken, conflict) in [
        (None, "0.0.0.0", true),
        (None, "10.0.0.1", true),
        (None, "::", true),
        (None, "::1", false),
        (Some("192.168.0.200"), "192.168.0.200", true),
        (Some("192.168.0.200"), "0.0.0.0", true),
        (Some("192.168.0.200"), "::", true),
        (Some("192.168.0.200"), "127.0.0.1", false),
        (Some("2001:db8::1"), "::", true),
        (Some("2001:db8::1"), "0.0.0.0", false),
    ] {
        assert_eq!(
            in_the_way(wanted.map(address), address(taken)),
            conflict,
            "{wanted:?} {taken}"
        );
    }
}

#[test]
fn interfaces_that_cannot_carry_the_address() {
    let port = |kind| Surroundings {
        ports: vec![(
            "enp0s3".into(),
            Master {
                name: "br0".into(),
                kind,
            },
        )],
        ..Surroundings::default()
    };
    let id = FindingId::InterfaceIsPort;
    one(
        port(MasterKind::Bridge),
        Severity::Blocks,
        id,
        "enp0s3 is a port of the bridge br0",
    );
    one(port(MasterKind::Bond), Severity::Blocks, id, "the bond br0");
    let remedy = judge(&state(), &port(MasterKind::Bridge)).remove(0).remedy;
    assert!(remedy.contains("`interface: br0`"), "{remedy}");
    let missing = Surroundings {
        missing_interfaces: vec!["enp0s9".into()],
        interfaces: vec!["enp0s3".into(), "enp0s8".into()],
        ..Surroundings::default()
    };
    one(
        missing,
        Severity::Blocks,
        FindingId::InterfaceMissing,
        "enp0s9 on this host, only enp0s3, enp0s8",
    );
}

#[test]
fn a_packet_filter_that_drops_adverts() {
    let rules =
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT\nCOMMIT\n";
    let iptables = Surroundings {
        filter: Rules {
            iptables: rules.into(),
            nft: String::new(),
        },
        ..Surroundings::default()
    };
    one(
        iptables,
        Severity::Blocks,
        FindingId::VrrpFiltered,
        "adverts of 192.168.0.202 on enp0s3 (see `iptables-save`)",
    );
    let nft = Surroundings {
        filter: Rules {
            iptables: String::new(),
            nft: "table ip f {\n\tchain i {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n".into(),
        },
        ..Surroundings::default()
    };
    one(
        nft,
        Severity::Blocks,
        FindingId::VrrpFiltered,
        "(see `nft list ruleset`)",
    );
}

#[test]
fn tls_files_that_are_not_there() {
    let seen = Surroundings {
        missing_files: vec!["/etc/pki/tls/certs/site.pem".into()],
        ..Surroundings::default()
    };
    one(
        seen,
        Severity::Blocks,
        FindingId::TlsFileMissing,
        "/etc/pki/tls/certs/site.pem",
    );
}

#[test]
fn file_systems_that_are_full() {
    let with = |bytes, files| Surroundings {
        room: vec![Room {
            path: "/var".into(),
            bytes,
            files,
        }],
        ..Surroundings::default()
    };
    one(
        with(5 << 20, None),
        Severity::Blocks,
        FindingId::DiskFull,
        "only 5 MiB are free",
    );
    one(
        with(100 << 20, Some(10_000)),
        Severity::Warns,
        FindingId::DiskLow,
        "only 100 MiB",
    );
    one(
        with(1 << 40, Some(3)),
        Severity::Blocks,
        FindingId::DiskFull,
        "only 3 more files",
    );
}
