//! Whether two keepalived.conf files disagree in what an election needs both sides to agree on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::keepalived::{Auth, AuthHmac, Family, HmacMode, Instance, NoFiles, Options, parse};
use crate::state::resource::InstanceRef;

/// What the peers of one instance must have in common: what is really sent and asked for, whatever words say so.
#[derive(Debug, PartialEq)]
struct Election {
    version: u8,
    virtual_router_id: u8,
    advert_int: Duration,
    auth: Option<Auth>,
    auth_hmac: Signing,
    /// Sorted. Only the addresses travel in adverts; prefix, device and label do not. One that is written twice travels twice.
    vips: Vec<IpAddr>,
    unicast: bool,
}

impl From<&Instance> for Election {
    fn from(i: &Instance) -> Election {
        let mut vips: Vec<IpAddr> = i.vips.iter().map(|v| v.ip).collect();
        vips.sort_unstable();
        Election {
            version: i.version,
            virtual_router_id: i.vrid,
            advert_int: i.advert_int,
            auth: i.auth.clone(),
            auth_hmac: Signing(i.auth_hmac.clone()),
            vips,
            unicast: i.unicast,
        }
    }
}

/// `auth_hmac`, equal where each of two sides believes the other: then one host after the other can be changed, as for a new key
/// that is first added, then signed with, while the old one goes last.
#[derive(Debug)]
struct Signing(Option<AuthHmac>);

impl Signing {
    fn believes(&self, sender: &Signing) -> bool {
        let signed = sender.0.as_ref().filter(|s| s.mode != HmacMode::ReceiveOnly);
        match (&self.0, signed) {
            (None, signed) => signed.is_none(),
            (Some(ours), None) => ours.mode != HmacMode::Enforce,
            (Some(ours), Some(theirs)) => {
                let signs = theirs.keys.iter().find(|k| k.id == theirs.active_key);
                signs.is_some_and(|key| ours.keys.contains(key))
            }
        }
    }
}

impl PartialEq for Signing {
    fn eq(&self, other: &Signing) -> bool {
        self.believes(other) && other.believes(self)
    }
}

/// True when some instance that both texts hold has another version, `virtual_router_id`, `advert_int`, authentication,
/// VIP list, or changes between multicast and unicast: with one host changed, each would reject the other's adverts.
pub(crate) fn differs(old: &str, new: &str) -> bool {
    let (old, new) = (elections(old), elections(new));
    new.iter().any(|new| {
        old.iter()
            .any(|old| old.is_same_router(new) && old.election != new.election)
    })
}

/// The elections that a host with this configuration is in.
pub(crate) fn instances(text: &str) -> Vec<InstanceRef> {
    let (config, _) = parse(text, &OPTIONS);
    config.instances.iter().map(|i| reference(i)).collect()
}

/// What is told of an instance.
pub(crate) fn reference(i: &Instance) -> InstanceRef {
    InstanceRef {
        name: i.name.clone(),
        interface: i.interface.clone(),
        virtual_router_id: i.vrid,
        priority: i.priority,
        vips: i.vips.iter().map(|v| v.ip.to_string()).collect(),
    }
}

const OPTIONS: Options<'static> = Options {
    path: "keepalived.conf",
    config_id: "",
    instance: "",
    resolver: &NoFiles,
};

/// One instance of a text, and by what it is known in another one.
struct Known {
    name: String,
    /// Interface, `virtual_router_id`, family: the virtual router of the RFC.
    router: (String, u8, Family),
    election: Election,
}

impl Known {
    fn shares_a_vip(&self, other: &Known) -> bool {
        let theirs = &other.election.vips;
        self.election.vips.iter().any(|ip| theirs.binary_search(ip).is_ok())
    }

    /// They stand for the same virtual router. A name is only a label; a VIP can belong to one router only.
    fn is_same_router(&self, other: &Known) -> bool {
        self.name == other.name || self.router == other.router || self.shares_a_vip(other)
    }
}

/// In order. What is included from other files is nothing that hapair wrote.
fn elections(text: &str) -> Vec<Known> {
    let (config, _) = parse(text, &OPTIONS);
    let known = |i: &Arc<Instance>| Known {
        name: i.name.clone(),
        router: (i.interface.clone(), i.vrid, i.family),
        election: Election::from(&**i),
    };
    config.instances.iter().map(known).collect()
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

    #[test]
    fn what_counts_is_what_is_sent_and_not_the_words() {
        let change = |pairs: &[(&str, &str)]| {
            let new = pairs
                .iter()
                .fold(BASE.to_owned(), |text, (from, to)| text.replace(from, to));
            assert_ne!(new, BASE);
            new
        };
        let strict = ("router_id a", "router_id a\n vrrp_strict");
        let small = ("auth_type PASS", "auth_type pass");
        let open = ("authentication {\n auth_type PASS\n auth_pass 1111\n }", "");
        let version_3 = ("router_id a", "router_id a\n vrrp_version 3");
        // Without a password, whatever is written.
        for words in [&[strict][..], &[small], &[open]] {
            assert!(differs(BASE, &change(words)), "{words:?}");
        }
        for (one, other) in [
            (&[strict][..], &[open][..]),
            (&[small], &[open]),
            (&[strict], &[strict, ("auth_pass 1111", "auth_pass 2222")]),
            (&[version_3], &[version_3, open]),
            (
                &[("priority 101", "priority 101\n advert_int 1.4")],
                &[("priority 101", "priority 101\n advert_int 1")],
            ),
        ] {
            assert!(!differs(&change(one), &change(other)), "{one:?} {other:?}");
        }
        // Written twice, sent twice.
        assert!(differs(
            BASE,
            &change(&[("192.168.0.200", "192.168.0.200\n 192.168.0.200/24")])
        ));
    }

    #[test]
    fn a_key_is_rotated_without_a_critical_change() {
        const KEY: &str = "hex:00112233445566778899aabbccddeeff00112233445566778899aabbccddee";
        let signed = |lines: &str| {
            let open = BASE.replace("authentication {\n auth_type PASS\n auth_pass 1111\n }", "");
            open.replace("priority 101", &format!("priority 101\n auth_hmac {{\n{lines}\n }}"))
        };
        let (one, two) = (format!("key 1 {KEY}ff\n"), format!("key 2 {KEY}00\n"));
        let with = |keys: &[&String], rest: &str| {
            signed(&format!(
                "{}{rest}",
                keys.iter().map(|k| k.as_str()).collect::<String>()
            ))
        };
        let steps = [
            with(&[&one], "active_key 1"),
            with(&[&one, &two], "active_key 1"),
            with(&[&one, &two], "active_key 2\ntime_window 30"),
            with(&[&two], "active_key 2"),
        ];
        for pair in steps.windows(2) {
            assert!(!differs(&pair[0], &pair[1]) && !differs(&pair[1], &pair[0]));
        }
        // Two steps at once are too many.
        for (old, new) in [(0, 2), (1, 3), (0, 3)] {
            assert!(differs(&steps[old], &steps[new]), "{old} {new}");
        }
        let bare = BASE.replace("authentication {\n auth_type PASS\n auth_pass 1111\n }", "");
        let modes =
            ["receive-only", "permissive", "enforce"].map(|mode| with(&[&one], &format!("active_key 1\nmode {mode}")));
        for (old, new, critical) in [
            (&bare, &modes[0], false),
            (&modes[0], &modes[1], false),
            (&modes[1], &modes[2], false),
            (&modes[0], &modes[2], true),
            (&bare, &modes[1], true),
            (&bare, &modes[2], true),
            (&modes[2], &bare, true),
        ] {
            assert_eq!(differs(old, new), critical, "{old}{new}");
        }
        // A password goes at the same time.
        assert!(differs(BASE, &modes[0]));
        // The same id with another secret.
        assert!(differs(
            &steps[0],
            &with(&[&one.replace("00112233", "10112233")], "active_key 1")
        ));
    }

    #[test]
    fn a_name_is_only_a_label() {
        let renamed = BASE.replace("VI_1", "VI_web");
        assert!(!differs(BASE, &renamed));
        // The same virtual router with another password; the same VIP from another virtual router.
        for (from, to) in [
            ("auth_pass 1111", "auth_pass 2222"),
            ("192.168.0.200", "192.168.0.210"),
            ("virtual_router_id 51", "virtual_router_id 52"),
        ] {
            assert!(differs(BASE, &renamed.replace(from, to)), "{to}");
        }
        // One more beside it is another virtual router.
        let second = renamed
            .replace("virtual_router_id 51", "virtual_router_id 52")
            .replace("192.168.0.200", "192.168.0.210");
        assert!(!differs(BASE, &format!("{BASE}{second}")));
        let other_interface = renamed
            .replace("virtual_router_id 51", "virtual_router_id 51\n interface eth1")
            .replace("192.168.0.200", "192.168.0.210");
        assert!(!differs(BASE, &format!("{BASE}{other_interface}")));
    }
}
