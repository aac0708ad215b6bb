//! Whether two keepalived.conf files disagree in what an election needs both sides to agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::keepalived::{Auth, Instance, NoFiles, Options, parse};
use crate::state::resource::InstanceRef;

/// What the peers of one instance must have in common.
#[derive(Debug, PartialEq)]
struct Election {
    version: u8,
    virtual_router_id: u8,
    advert_int: Duration,
    auth: Option<Auth>,
    /// Only the addresses travel in adverts; prefix, device and label do not.
    vips: BTreeSet<IpAddr>,
    unicast: bool,
}

impl From<&Instance> for Election {
    fn from(i: &Instance) -> Election {
        Election {
            version: i.version,
            virtual_router_id: i.vrid,
            advert_int: i.advert_int,
            auth: i.auth.clone(),
            vips: i.vips.iter().map(|v| v.ip).collect(),
            unicast: i.unicast,
        }
    }
}

/// True when some instance that both texts hold has another version, `virtual_router_id`, `advert_int`, authentication,
/// VIP list, or changes between multicast and unicast: with one host changed, each would reject the other's adverts.
pub(super) fn differs(old: &str, new: &str) -> bool {
    let (old, new) = (elections(old), elections(new));
    new.iter()
        .any(|(name, election)| old.get(name).is_some_and(|before| before != election))
}

/// What a host that runs this configuration takes part in.
pub(super) fn instances(text: &str) -> Vec<InstanceRef> {
    let (config, _) = parse(text, &OPTIONS);
    let instance = |i: &Arc<Instance>| InstanceRef {
        name: i.name.clone(),
        interface: i.interface.clone(),
        virtual_router_id: i.vrid,
        priority: i.priority,
        vips: i.vips.iter().map(|v| v.ip.to_string()).collect(),
    };
    config.instances.iter().map(instance).collect()
}

const OPTIONS: Options<'static> = Options {
    path: "keepalived.conf",
    config_id: "",
    instance: "",
    resolver: &NoFiles,
};

/// By instance name. What is included from other files is nothing that hapair wrote.
fn elections(text: &str) -> BTreeMap<String, Election> {
    let (config, _) = parse(text, &OPTIONS);
    let instances = config.instances.iter();
    instances.map(|i| (i.name.clone(), Election::from(&**i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "global_defs {\n router_id a\n}\nvrrp_instance VI_1 {\n state MASTER # x\n virtual_router_id 51\n priority 101\n \
        authentication {\n auth_type PASS\n auth_pass 1111\n }\n virtual_ipaddress {\n 192.168.0.200\n }\n}\n";

    #[test]
    fn what_travels_in_adverts_is_critical() {
        for (from, to) in [
            ("auth_pass 1111", "auth_pass 2222"),
            ("virtual_router_id 51", "virtual_router_id 52"),
            ("priority 101", "priority 101\n advert_int 2"),
            ("192.168.0.200", "192.168.0.200\n 192.168.0.210"),
            ("priority 101", "priority 101\n unicast_peer {\n 10.0.0.2\n }"),
            ("router_id a", "router_id a\n vrrp_version 3"),
        ] {
            assert!(differs(BASE, &BASE.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        for (from, to) in [
            ("priority 101", "priority 150"),
            ("state MASTER # x", "state BACKUP"),
            ("priority 101", "priority 101\n advert_int 1"),
            ("192.168.0.200", "192.168.0.200/24 dev eth0"),
            ("virtual_ipaddress {\n 192", "virtual_ipaddress {\n# 192.168.0.9\n 192"),
            ("router_id a", "router_id b"),
        ] {
            assert!(!differs(BASE, &BASE.replace(from, to)), "{to}");
        }
        assert!(!differs("", BASE) && !differs(BASE, ""));
    }
}
