//! What a lab is made of, taken from an inventory.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::inventory::{BaseRepository, Host, Inventory, SecretSource};
use crate::state::Secret;

use super::error::LabError;

/// A lab, as it will be or as it is. Written to the lab's state without its passwords.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabSpec {
    /// Name of the lab: the inventory's name, and a suffix where several labs of it exist at once.
    pub name: String,
    /// The twins, in the inventory's order.
    pub hosts: Vec<TwinSpec>,
    /// Who logs in.
    pub ssh_user: String,
    /// Where sshd listens on the twins.
    pub ssh_port: u16,
    /// How the login becomes root.
    pub sudo: Sudo,
    /// Password of the login, for tests of password login; `None`: keys only.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// The networks that the twins and the controller share.
    pub segments: Vec<Segment>,
    /// DNS addresses: the lab's resolver answers there.
    pub resolvers: Vec<IpAddr>,
    /// Where the load balancer's upstreams are: HTTP servers answer there.
    pub upstreams: Vec<(IpAddr, u16)>,
    /// Upstreams given by name, with their ports: the resolver knows them.
    pub upstream_names: Vec<(String, u16)>,
    /// Further addresses that the controller answers for (mail server, routers).
    pub others: Vec<IpAddr>,
    /// The VIPs: nobody has them at start, and the controller knows the way there.
    pub vips: Vec<IpAddr>,
    /// NetworkManager owns the twins' interface through a keyfile, and `network.service` is off.
    pub nm: bool,
    /// Where the installation disc is mounted in the twins; `None`: no disc.
    pub disc: Option<String>,
}

/// How the login becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sudo {
    /// Not at all: it is root, or there is no sudo for it.
    No,
    /// Without a password.
    Free,
    /// With its own password.
    WithPassword,
}

/// One twin as it is before hapair touches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinSpec {
    /// Its name in the inventory; its hostname at start is `localhost.localdomain`.
    pub name: String,
    /// Name of its network interface.
    pub interface: String,
    /// Address at start.
    pub address: Ipv4Addr,
    /// Prefix length at start.
    pub prefix: u8,
    /// Default gateway at start.
    pub gateway: Option<Ipv4Addr>,
    /// Resolvers at start.
    pub dns: Vec<IpAddr>,
    /// Address after provisioning, where the inventory names another one.
    pub target: Option<Ipv4Addr>,
    /// A second interface, `mgmt0`, with this address and prefix: what stays reachable when the inventory says
    /// `address_is_stable`.
    pub management: Option<(Ipv4Addr, u8)>,
}

/// A network that twins and controller share; there may be several on the one bridge, as before and after a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The controller's own address in it, in nobody's way.
    pub controller: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Gateways, which the controller plays.
    pub gateways: Vec<IpAddr>,
}

impl Segment {
    fn network(&self) -> IpNet {
        IpNet::new(self.controller, self.prefix)
            .expect("made from a network")
            .trunc()
    }
}

/// Name of the management interface.
pub(super) const MANAGEMENT: &str = "mgmt0";

impl LabSpec {
    /// A lab in which this inventory runs unchanged. `suffix` tells several labs of one inventory apart; `resolve`
    /// gives the value of a secret (only passwords of the login are asked for).
    ///
    /// # Errors
    /// When an address cannot be found for a host, when a secret cannot be had, or when a host's release has no twin.
    pub fn from_inventory(
        inventory: &Inventory,
        suffix: Option<&str>,
        resolve: &mut dyn FnMut(&SecretSource) -> Result<Secret, LabError>,
    ) -> Result<LabSpec, LabError> {
        let name = match suffix {
            Some(suffix) => format!("{}-{suffix}", inventory.name),
            None => inventory.name.clone(),
        };
        super::paths::Paths::new(&name)?;
        for host in &inventory.hosts {
            if let Some(release) = host.release.filter(|r| *r != 7) {
                return Err(
                    LabError::new(format!("{}: the lab has no twin for release {release}", host.name))
                        .hint("only CentOS 7 has a twin so far; leave `release` out to rehearse on that"),
                );
            }
        }
        let ssh_user = inventory.ssh.user.clone().unwrap_or_else(|| "root".into());
        let mut password = inventory.ssh.password.as_ref().map(&mut *resolve).transpose()?;
        let sudo = match &inventory.ssh.r#become {
            Some(with) if ssh_user != "root" => match &with.password {
                Some(source) => {
                    // sudo asks for the login's own password: there is only one.
                    password = Some(resolve(source)?);
                    Sudo::WithPassword
                }
                None => Sudo::Free,
            },
            _ => Sudo::No,
        };
        let mut spec = LabSpec {
            name,
            hosts: Vec::new(),
            ssh_user,
            ssh_port: inventory.ssh.port.unwrap_or(22),
            sudo,
            password,
            segments: Vec::new(),
            resolvers: Vec::new(),
            upstreams: Vec::new(),
            upstream_names: Vec::new(),
            others: Vec::new(),
            vips: inventory.vips().map(|v| v.address.addr()).collect(),
            nm: false,
            disc: match &inventory.repositories.base {
                BaseRepository::LocalMedia { path, copy_from } => {
                    Some(copy_from.clone().unwrap_or_else(|| path.clone()))
                }
                BaseRepository::Keep | BaseRepository::Aliyun | BaseRepository::Vault => None,
            },
        };
        for (index, host) in inventory.hosts.iter().enumerate() {
            spec.hosts.push(twin(host, index)?);
        }
        spec.collect_surroundings(inventory);
        spec.collect_segments(inventory)?;
        Ok(spec)
    }

    /// The twin of that name.
    ///
    /// # Errors
    /// When the lab has no such host; the hint names those it has.
    pub fn host(&self, name: &str) -> Result<&TwinSpec, LabError> {
        self.hosts.iter().find(|h| h.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.hosts.iter().map(|h| h.name.as_str()).collect();
            LabError::new(format!("lab {} has no host `{name}`", self.name))
                .hint(format!("it has {}", names.join(" and ")))
        })
    }

    /// Addresses that belong to the twins, now or later.
    fn taken(&self) -> BTreeSet<IpAddr> {
        let mut taken: BTreeSet<IpAddr> = self.vips.iter().copied().collect();
        for host in &self.hosts {
            taken.insert(host.address.into());
            taken.extend(host.target.map(IpAddr::from));
            taken.extend(host.management.map(|(address, _)| IpAddr::from(address)));
        }
        taken
    }

    /// Resolvers, upstreams and whatever else the hosts will talk to.
    fn collect_surroundings(&mut self, inventory: &Inventory) {
        let taken = self.taken();
        let foreign =
            |address: &IpAddr| !taken.contains(address) && !address.is_loopback() && !address.is_unspecified();
        let networks = || inventory.hosts.iter().filter_map(|h| h.network.as_ref());
        let resolvers: BTreeSet<IpAddr> = networks().flat_map(|n| n.dns.iter().copied()).filter(foreign).collect();
        let mut others: BTreeSet<IpAddr> = networks()
            .flat_map(|n| &n.routes)
            .map(|r| r.via)
            .filter(foreign)
            .collect();
        let mut addresses = BTreeSet::new();
        let mut names = BTreeSet::new();
        if let Some(nginx) = &inventory.nginx {
            let servers = nginx
                .upstreams
                .values()
                .flat_map(|u| u.servers.iter().map(String::as_str));
            let passes = nginx.servers.iter().filter_map(|s| {
                let rest = s.proxy_pass.strip_prefix("http://")?;
                let authority = rest.split('/').next().unwrap_or(rest);
                (!nginx.upstreams.contains_key(authority)).then_some(authority)
            });
            for endpoint in servers.chain(passes).filter_map(endpoint) {
                match endpoint {
                    Endpoint::Address(address, port) if foreign(&address) => drop(addresses.insert((address, port))),
                    Endpoint::Name(name, port) => drop(names.insert((name, port))),
                    Endpoint::Address(..) => {}
                }
            }
        }
        let mail = inventory
            .vrrp
            .as_ref()
            .and_then(|v| v.global_defs.smtp_server.as_deref());
        if let Some(Endpoint::Address(address, _)) = mail.and_then(endpoint) {
            others.extend(Some(address).filter(foreign));
        }
        self.resolvers = resolvers.into_iter().collect();
        self.upstreams = addresses.into_iter().collect();
        self.upstream_names = names.into_iter().collect();
        self.others = others.into_iter().collect();
    }

    /// Every subnet a twin is in, before and after, with a free address for the controller.
    fn collect_segments(&mut self, inventory: &Inventory) -> Result<(), LabError> {
        let mut wanted: Vec<(IpNet, Option<IpAddr>)> = Vec::new();
        for (host, twin) in inventory.hosts.iter().zip(&self.hosts) {
            if let Some(network) = &host.network {
                wanted.push((IpNet::V4(network.address.trunc()), network.gateway.map(IpAddr::V4)));
                if let Some(v6) = &network.ipv6 {
                    // A link-local gateway is the controller's own interface address; fe80::1 is added for it.
                    wanted.push((IpNet::V6(v6.address.trunc()), v6.gateway.map(IpAddr::V6)));
                }
            }
            let now = net(twin.address, twin.prefix)?;
            wanted.push((now, twin.gateway.map(IpAddr::V4)));
            if let Some((address, prefix)) = twin.management {
                wanted.push((net(address, prefix)?, None));
            }
        }
        for vip in inventory.vips() {
            // A VIP of another family or subnet with its own prefix needs an address of the controller in there.
            let network = vip.address.trunc();
            if vip.prefix_written && network.prefix_len() < network.max_prefix_len() {
                wanted.push((network, None));
            }
        }
        let mut avoid = self.taken();
        avoid.extend(self.resolvers.iter().chain(&self.others).copied());
        avoid.extend(self.upstreams.iter().map(|(address, _)| *address));
        avoid.extend(wanted.iter().filter_map(|(_, gateway)| *gateway));
        for (network, gateway) in wanted {
            let known = self.segments.iter_mut().find(|s| s.network() == network);
            let segment = match known {
                Some(segment) => segment,
                None => {
                    let controller = free_address(network, &avoid).ok_or_else(|| {
                        LabError::new(format!("no free address for the lab's controller in {network}"))
                    })?;
                    avoid.insert(controller);
                    self.segments.push(Segment {
                        controller,
                        prefix: network.prefix_len(),
                        gateways: Vec::new(),
                    });
                    self.segments.last_mut().expect("just pushed")
                }
            };
            segment
                .gateways
                .extend(gateway.filter(|g| !segment.gateways.contains(g)));
        }
        Ok(())
    }

    /// The address that the mirrors' names resolve to: one that both twins reach before and after provisioning.
    pub(super) fn service_address(&self) -> Ipv4Addr {
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        let gateway = self.segments.iter().flat_map(|s| &s.gateways).find_map(v4);
        gateway
            .or_else(|| self.segments.iter().map(|s| &s.controller).find_map(v4))
            .unwrap_or(Ipv4Addr::LOCALHOST)
    }
}

fn net(address: Ipv4Addr, prefix: u8) -> Result<IpNet, LabError> {
    let net =
        IpNet::new(address.into(), prefix).map_err(|e| LabError::new(format!("{address}/{prefix}")).because(e))?;
    Ok(net.trunc())
}

/// The last usable address that nobody needs: high addresses are the least likely to mean something.
fn free_address(network: IpNet, avoid: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    match network {
        IpNet::V4(network) => {
            let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
            let (first, last) = if network.prefix_len() >= 31 {
                (first, last)
            } else {
                (first + 1, last - 1)
            };
            (first..=last)
                .rev()
                .take(4096)
                .map(|a| IpAddr::V4(a.into()))
                .find(|a| !avoid.contains(a))
        }
        IpNet::V6(network) => {
            let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
            let last = if network.prefix_len() < 112 {
                first + 0xffff
            } else {
                last
            };
            (first..=last)
                .rev()
                .take(4096)
                .map(|a| IpAddr::V6(Ipv6Addr::from(a)))
                .find(|a| !avoid.contains(a))
        }
    }
}

/// What the host is like before provisioning.
fn twin(host: &Host, index: usize) -> Result<TwinSpec, LabError> {
    let now: Option<Ipv4Addr> = host.address.as_deref().and_then(|a| a.parse().ok());
    // Names cannot be looked up without leaving the lab: a documentation address (RFC 5737) takes their place.
    let documentation = Ipv4Addr::new(198, 51, 100, 11 + index as u8);
    let mut twin = TwinSpec {
        name: host.name.clone(),
        interface: "eth0".into(),
        address: now.unwrap_or(documentation),
        prefix: 24,
        gateway: None,
        dns: Vec::new(),
        target: None,
        management: None,
    };
    let Some(network) = &host.network else {
        let address = u32::from(twin.address) & !0xff;
        let gateway = if twin.address.octets()[3] == 1 {
            address + 254
        } else {
            address + 1
        };
        twin.gateway = Some(gateway.into());
        twin.dns = vec![IpAddr::V4(gateway.into())];
        return Ok(twin);
    };
    let target = network.address.addr();
    twin.interface = network.interface.clone();
    twin.dns = network.dns.clone();
    if host.address_is_stable && now.is_some_and(|now| now != target) {
        twin.management = now.map(|now| (now, 24));
        twin.address = target;
    } else {
        twin.address = now.unwrap_or(target);
    }
    if network.address.trunc().contains(&twin.address) {
        twin.prefix = network.address.prefix_len();
        twin.gateway = network.gateway;
    } else {
        let base = u32::from(twin.address) & !0xff;
        let gateway = if twin.address.octets()[3] == 1 {
            base + 254
        } else {
            base + 1
        };
        twin.gateway = Some(gateway.into());
    }
    twin.target = (twin.address != target).then_some(target);
    if twin.interface.len() > 15 || twin.interface.contains(['/', ' ']) || twin.interface == MANAGEMENT {
        return Err(LabError::new(format!(
            "{}: `{}` cannot be the name of an interface",
            host.name, twin.interface
        )));
    }
    Ok(twin)
}

/// Where an upstream is.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    Address(IpAddr, u16),
    Name(String, u16),
}

/// `10.0.0.11:8080 weight=2`, `[fd00::1]:80`, `app.example`; a socket path is nowhere on the network.
fn endpoint(text: &str) -> Option<Endpoint> {
    let word = text.split_whitespace().next()?;
    if word.starts_with("unix:") {
        return None;
    }
    if let Ok(address) = word.parse::<std::net::SocketAddr>() {
        return Some(Endpoint::Address(address.ip(), address.port()));
    }
    if let Ok(address) = word.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Endpoint::Address(address, 80));
    }
    let (name, port) = match word.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => (word, 80),
    };
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_');
    (plain && name != "localhost").then(|| Endpoint::Name(name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_as_nginx_reads_them() {
        let address = |a: &str, p| Some(Endpoint::Address(a.parse().unwrap(), p));
        assert_eq!(endpoint("10.0.0.11:8080 weight=2"), address("10.0.0.11", 8080));
        assert_eq!(endpoint("10.0.0.11"), address("10.0.0.11", 80));
        assert_eq!(endpoint("[fd00::1]:81"), address("fd00::1", 81));
        assert_eq!(
            endpoint("app.example:9000"),
            Some(Endpoint::Name("app.example".into(), 9000))
        );
        assert_eq!(endpoint("unix:/run/app.sock"), None);
        assert_eq!(endpoint("localhost:80"), None);
        assert_eq!(endpoint("$backend"), None);
    }

    #[test]
    fn the_controller_takes_an_address_that_nobody_needs() {
        let avoid = BTreeSet::from(["192.168.0.254".parse().unwrap()]);
        assert_eq!(
            free_address("192.168.0.0/24".parse().unwrap(), &avoid),
            Some("192.168.0.253".parse().unwrap())
        );
        let narrow = BTreeSet::from(["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
        assert_eq!(free_address("10.0.0.0/30".parse().unwrap(), &narrow), None);
        assert_eq!(
            free_address("fd00::/64".parse().unwrap(), &avoid),
            Some("fd00::ffff".parse().unwrap())
        );
    }
}
