//! The inventory after validation: what the rest of the program works with.

mod secret;
mod vrrp;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::state::SelinuxMode;

pub use secret::SecretSource;
pub use vrrp::*;

/// One pair, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory {
    /// Where it was read from, for messages.
    pub path: PathBuf,
    /// Name of the pair: letters, digits, `-`, at most 32.
    pub name: String,
    /// How to reach the hosts.
    pub ssh: Ssh,
    /// Exactly two.
    pub hosts: [Host; 2],
    /// Operating system settings.
    pub system: System,
    /// Package repositories.
    pub repositories: Repositories,
    /// nginx; `None`: kept as it is.
    pub nginx: Option<Nginx>,
    /// VRRP; `None`: kept as it is.
    pub vrrp: Option<Vrrp>,
}

impl Inventory {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| h.name == name)
    }

    /// The other host of the pair.
    pub fn peer(&self, name: &str) -> Option<&Host> {
        self.host(name)?;
        self.hosts.iter().find(|h| h.name != name)
    }

    /// Every VIP of every instance, in order of writing.
    pub fn vips(&self) -> impl Iterator<Item = &Vip> {
        self.vrrp
            .iter()
            .flat_map(|v| &v.instances)
            .flat_map(|i| &i.virtual_ipaddress)
    }

    /// What a client would ask through the VIPs: each VIP with each port that a server of nginx listens on there.
    pub fn vip_endpoints(&self) -> Vec<VipEndpoint> {
        let servers = self.nginx.iter().flat_map(|n| &n.servers);
        let mut ports: Vec<(Option<IpAddr>, u16, bool)> =
            servers.map(|s| (s.listen.address, s.listen.port, s.tls)).collect();
        ports.sort_unstable();
        ports.dedup();
        let listens_there = |at: &Option<IpAddr>, vip: IpAddr| at.is_none_or(|a| a == vip || a.is_unspecified());
        let mut endpoints = Vec::new();
        for vip in self.vips().map(|v| v.address.addr()) {
            let here = ports.iter().filter(|(at, _, _)| listens_there(at, vip));
            endpoints.extend(here.map(|(_, port, tls)| VipEndpoint {
                vip,
                port: *port,
                tls: *tls,
            }));
        }
        endpoints.dedup();
        endpoints
    }
}

/// Where a client reaches a server of nginx through a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipEndpoint {
    /// Without prefix.
    pub vip: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Speaks TLS.
    pub tls: bool,
}

/// How to reach the hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Ssh {
    /// Login; `None`: from `~/.ssh/config`, else root.
    pub user: Option<String>,
    /// `None`: from `~/.ssh/config`, else 22.
    pub port: Option<u16>,
    /// `~` is expanded.
    pub identity_file: Option<PathBuf>,
    /// Password login, tried after keys.
    pub password: Option<SecretSource>,
    /// Become root with sudo; `None`: log in as root.
    pub r#become: Option<Become>,
    /// Instead of `~/.ssh/known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// `user@host:port`, as OpenSSH's ProxyJump.
    pub proxy_jump: Option<String>,
}

/// Becoming root with sudo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Become {
    /// sudo's password, where it asks for one.
    pub password: Option<SecretSource>,
}

/// One host.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// Becomes the host name.
    pub name: String,
    /// Where SSH connects; a name or an address. `None`: the network address.
    pub address: Option<String>,
    /// `address` stays valid after the network change (NAT, management interface).
    pub address_is_stable: bool,
    /// Static network; `None`: kept as it is.
    pub network: Option<Network>,
    /// 7, 8, 9 or 10; `None`: found out.
    pub release: Option<u8>,
}

impl Host {
    /// Where SSH connects first.
    pub fn ssh_address(&self) -> String {
        match (&self.address, &self.network) {
            (Some(address), _) => address.clone(),
            (None, Some(network)) => network.address.addr().to_string(),
            (None, None) => self.name.clone(),
        }
    }
}

/// A static network profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// `enp0s3`.
    pub interface: String,
    /// With prefix.
    pub address: Ipv4Net,
    /// Inside the subnet.
    pub gateway: Option<Ipv4Addr>,
    /// In order of preference.
    pub dns: Vec<IpAddr>,
    /// Static IPv6.
    pub ipv6: Option<Ipv6>,
    /// Further static routes.
    pub routes: Vec<Route>,
    /// 576 to 9216.
    pub mtu: Option<u16>,
}

/// Static IPv6.
#[derive(Debug, Clone, PartialEq)]
pub struct Ipv6 {
    /// With prefix.
    pub address: Ipv6Net,
    /// Inside the subnet, or link-local.
    pub gateway: Option<std::net::Ipv6Addr>,
}

/// A static route.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Destination.
    pub to: IpNet,
    /// Next hop.
    pub via: IpAddr,
}

/// Operating system settings; `None` keeps what is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct System {
    /// SELinux mode.
    pub selinux: Option<SelinuxMode>,
    /// firewalld.
    pub firewalld: Option<Firewalld>,
    /// Install "Development Tools".
    pub development_tools: bool,
}

/// firewalld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewalld {
    /// Stopped and disabled, as in the seed.
    Disabled,
    /// Running, letting in HTTP and the peer's VRRP.
    Managed,
}

/// Package repositories.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Repositories {
    /// The distribution's packages.
    pub base: BaseRepository,
    /// nginx's packages; `None`: whatever the enabled repositories have.
    pub nginx: Option<NginxRepository>,
}

/// Where the distribution's packages come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum BaseRepository {
    /// As it is.
    #[default]
    Keep,
    /// mirrors.aliyun.com.
    Aliyun,
    /// vault.centos.org.
    Vault,
    /// An installation disc's content in a directory; the other `.repo` files are set aside.
    LocalMedia {
        /// `/mnt/CentOS7_ISO`.
        path: String,
        /// Copy the disc mounted here first.
        copy_from: Option<String>,
    },
}

/// Where nginx's packages come from.
#[derive(Debug, Clone, PartialEq)]
pub enum NginxRepository {
    /// nginx.org, stable branch.
    Stable,
    /// nginx.org, mainline branch.
    Mainline,
}

/// nginx as load balancer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nginx {
    /// By name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// In order of writing.
    pub servers: Vec<Server>,
    /// Files of the operator's, read from beside the inventory: base name and content; landed in `conf.d`.
    pub extra_files: Vec<ExtraFile>,
}

/// A file of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// `site.conf`.
    pub name: String,
    /// UTF-8.
    pub content: String,
}

/// Servers that share a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// `host:port` with nginx's own parameters after it: `10.0.0.11:8080 weight=2`.
    pub servers: Vec<String>,
    /// `round_robin` unless written.
    pub method: BalanceMethod,
    /// Idle connections kept to the upstream; `None`: nginx's default.
    pub keepalive: Option<u16>,
}

/// How nginx chooses a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BalanceMethod {
    /// In turn.
    #[default]
    RoundRobin,
    /// Fewest connections.
    LeastConn,
    /// By client address.
    IpHash,
}

/// A `server` block.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where it listens.
    pub listen: Listen,
    /// Empty: any.
    pub server_name: Vec<String>,
    /// Name of an upstream or a whole `http://` URL.
    pub proxy_pass: String,
    /// `listen … ssl`; certificate paths on the host.
    pub tls: bool,
    /// Path on the host.
    pub certificate: Option<String>,
    /// Path on the host.
    pub certificate_key: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// `None`: every address.
    pub address: Option<IpAddr>,
    /// 1 to 65535.
    pub port: u16,
}
