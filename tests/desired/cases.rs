//! The golden cases: an inventory, a host of it, and what the host said.

use super::*;

/// One golden case: an inventory, a host of it, what the host said.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    pub(super) host: &'static str,
    pub(super) facts: fn(&Inventory, &str) -> Facts,
}

/// An `ifcfg` file with every trap in it, and keys hapair has no opinion on.
const TRAPPED_IFCFG: &str = "TYPE=Ethernet
BOOTPROTO=\"dhcp\"
DEFROUTE=no
PEERDNS=no
NAME=\"System enp0s3\"
UUID=d776619b-ac07-4367-b44c-40bd05aaea58
DEVICE=enp0s3
ONBOOT=\"yes\"
HWADDR=08:00:27:00:00:01
MTU=1450
ZONE=public
VLAN=no
IPADDR0=10.0.2.15
NETMASK0=255.255.255.0
NETMASK=255.255.255.0
IPADDR1=192.168.0.200
PREFIX1=24
IPADDR2=192.168.0.77
PREFIX2=24
DNS1=10.0.2.3
DNS2=10.0.2.4
PERSISTENT_DHCLIENT=1
";

/// A keyfile as an installer leaves it, with routes of somebody else's.
const INSTALLER_KEYFILE: &str = "[connection]
id=ens192
uuid=03da7500-2101-c722-2438-d0d006c28c73
type=ethernet
autoconnect=false
interface-name=ens192
zone=trusted

[ethernet]
cloned-mac-address=permanent

[ipv4]
address1=198.51.100.11/24
dns=198.51.100.53
gateway=198.51.100.1
method=manual
never-default=true
route1=172.16.0.0/12,198.51.100.253
route2=192.168.0.0/16,198.51.100.253

[ipv6]
addr-gen-mode=eui64
method=auto
";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "example-el7",
        file: "master.txt",
        host: "nginx-master",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "example-el7",
        file: "backup-adopted.txt",
        host: "nginx-backup",
        facts: |i, h| {
            let mut facts = with_profile(
                fresh(i, h, 7),
                "08:00:27:aa:bb:cc",
                "/etc/sysconfig/network-scripts/ifcfg-enp0s3",
                ProfileFormat::Ifcfg,
                TRAPPED_IFCFG,
            );
            facts.interfaces[0].manager = NetworkManagerKind::NetworkManager;
            facts.hostname = "old-name.example.com".to_owned();
            facts.cloud_init = true;
            facts.nginx_layout = Some(NginxLayout::NginxOrg);
            facts.keepalived_version = Some("1.2.13".to_owned());
            facts
        },
    },
    Case {
        name: "dual-active-el7",
        file: "a.txt",
        host: "web-a.example.com",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "dual-active-el7",
        file: "b.txt",
        host: "web-b.example.com",
        facts: |i, h| fresh(i, h, 8),
    },
    Case {
        name: "keyfile-el9",
        file: "lb1-adopted.txt",
        host: "lb1",
        facts: |i, h| {
            let mut facts = with_profile(
                fresh(i, h, 9),
                "00:50:56:00:00:01",
                "/etc/NetworkManager/system-connections/Wired.nmconnection",
                ProfileFormat::Keyfile,
                INSTALLER_KEYFILE,
            );
            facts.nginx_layout = Some(NginxLayout::Distribution);
            facts
        },
    },
    Case {
        name: "keyfile-el9",
        file: "lb1-fresh.txt",
        host: "lb1",
        facts: |i, h| fresh(i, h, 9),
    },
    Case {
        name: "keyfile-el9",
        file: "lb2-fresh.txt",
        host: "lb2",
        facts: |i, h| fresh(i, h, 10),
    },
    Case {
        name: "local-media-el7",
        file: "master.txt",
        host: "nginx-master",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "managed-el9",
        file: "lb1.txt",
        host: "lb1",
        facts: |i, h| fresh(i, h, 9),
    },
    Case {
        name: "managed-el9",
        file: "lb2-cloud.txt",
        host: "lb2",
        facts: |i, h| {
            // A cloud image: no firewalld, cloud-init, SELinux off.
            let mut facts = fresh(i, h, 9);
            facts.packages.clear();
            facts.cloud_init = true;
            facts.selinux_config = None;
            facts.selinux_runtime = None;
            facts
        },
    },
    Case {
        name: "source-build-el7",
        file: "one.txt",
        host: "one",
        facts: |i, h| {
            let mut facts = fresh(i, h, 7);
            facts.interfaces = vec![Interface {
                name: "eth7".to_owned(),
                ..Interface::default()
            }];
            facts.default_routes = vec![hapair::state::facts::DefaultRoute {
                gateway: "192.0.2.254".to_owned(),
                interface: "eth7".to_owned(),
                metric: 100,
            }];
            facts
        },
    },
];
