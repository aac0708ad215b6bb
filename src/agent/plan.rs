//! From configuration and interfaces to routers.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::net::netlink::{Assigned, Links, NewAddress};
use crate::keepalived::{Address, Auth, Config, Family, HmacMode, Instance, SyncGroup};
use crate::vrrp::hmac::{AntiReplay, Key, Mode};
use crate::vrrp::packet::{GROUP4, GROUP6};
use crate::vrrp::{AuthHmac, Form, GarpTimes, Peer, Settings};

/// How long after a crash a host does not take over again from a living owner.
pub(crate) const CRASH_HOLD: Duration = Duration::from_secs(60);
/// Neighbours are told again every so often unless the configuration says otherwise.
pub(crate) const REFRESH: Duration = Duration::from_secs(60);

/// Every address that some instance gives away.
pub(crate) fn vips(config: &Config) -> BTreeSet<IpAddr> {
    config
        .instances
        .iter()
        .flat_map(|i| i.vips.iter().chain(&i.vips_excluded))
        .map(|v| v.ip)
        .collect()
}

/// What stays together: every sync group with its members, and every other instance alone.
pub(crate) fn units(config: &Config) -> Vec<(Option<SyncGroup>, Vec<Arc<Instance>>)> {
    let mut grouped = BTreeSet::new();
    let mut units = Vec::with_capacity(config.sync_groups.len() + config.instances.len());
    for sync in &config.sync_groups {
        let named = sync.members.iter().filter_map(|(m, _)| config.instance(m).cloned());
        let members: Vec<Arc<Instance>> = named.collect();
        grouped.extend(members.iter().map(|m| m.name.clone()));
        units.push((Some(sync.clone()), members));
    }
    let alone = config.instances.iter().filter(|i| !grouped.contains(&i.name));
    units.extend(alone.map(|i| (None, vec![i.clone()])));
    units
}

/// The source address of an instance's adverts, if it has one now: the written one if it is on the host, else the first of the
/// interface that no instance gives away.
pub(crate) fn source(vips: &BTreeSet<IpAddr>, instance: &Instance, links: &Links) -> Option<IpAddr> {
    let link = links.named(&instance.interface)?;
    if let Some(written) = instance.source {
        return links.addresses.iter().any(|a| a.ip == written).then_some(written);
    }
    let own = links
        .addresses
        .iter()
        .filter(|a| a.index == link.index && Family::of(a.ip) == instance.family && !vips.contains(&a.ip));
    match instance.family {
        Family::V4 => own.map(|a| a.ip).next(),
        // RFC 9568, 5.1.2.1: the link-local one, except to a peer elsewhere.
        Family::V6 if !instance.unicast => own.map(|a| a.ip).find(is_link_local),
        Family::V6 => own.map(|a| a.ip).find(|ip| !is_link_local(ip)),
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

/// The multicast group of an instance.
pub(crate) fn group(config: &Config, instance: &Instance) -> IpAddr {
    let (global, standard) = match instance.family {
        Family::V4 => (config.global.mcast_group4, IpAddr::V4(GROUP4)),
        Family::V6 => (config.global.mcast_group6, IpAddr::V6(GROUP6)),
    };
    instance.mcast_dst.or(global).unwrap_or(standard)
}

/// Where the adverts of an instance go.
pub(super) fn targets(config: &Config, instance: &Instance) -> impl Iterator<Item = IpAddr> {
    let group = (!instance.unicast).then(|| group(config, instance));
    let peers = if instance.unicast {
        &instance.unicast_peers[..]
    } else {
        &[]
    };
    group.into_iter().chain(peers.iter().map(|p| p.ip))
}

/// Time to live of an instance's adverts, or their hop limit.
pub(super) fn hops(instance: &Instance) -> u8 {
    // keepalived's defaults for unicast: 255 over IPv4, 64 over IPv6.
    match (instance.unicast, instance.unicast_ttl) {
        (true, Some(ttl)) => ttl,
        (true, None) if instance.family == Family::V6 => 64,
        _ => 255,
    }
}

/// What the state machine is told.
pub(crate) fn settings(instance: &Instance, source: IpAddr) -> Settings {
    let garp = &instance.garp;
    let delay = |d: Option<Duration>| d.unwrap_or(Duration::from_secs(5));
    Settings {
        version: instance.version,
        vrid: instance.vrid,
        priority: instance.priority,
        advert_int: instance.advert_int,
        source,
        vips: instance.vips.iter().map(|v| v.ip).collect(),
        auth_hmac: auth_hmac(instance),
        auth: match &instance.auth {
            Some(Auth::Pass(bytes)) if instance.version == 2 => {
                let mut padded = [0; 8];
                padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                Some(padded)
            }
            _ => None,
        },
        peers: instance.unicast.then(|| {
            instance
                .unicast_peers
                .iter()
                .map(|p| Peer {
                    ip: p.ip,
                    ttl: (p.min_ttl, p.max_ttl),
                })
                .collect()
        }),
        preempt: !instance.nopreempt,
        preempt_delay: instance.preempt_delay,
        crash_hold: CRASH_HOLD,
        down_adverts: instance.down_timer_adverts,
        lower_prio_no_advert: instance.lower_prio_no_advert,
        // After a healed split the owner hears of it only by this, and tells the neighbours again.
        higher_prio_send_advert: instance.higher_prio_send_advert.unwrap_or(true),
        skip_check_adv_addr: instance.skip_check_adv_addr,
        form: if instance.v3_checksum_as_v2 {
            Form::Plain
        } else {
            Form::Pseudo
        },
        garp: GarpTimes {
            repeat: garp.master_repeat.unwrap_or(5),
            delay: delay(garp.master_delay),
            lower_prio_repeat: garp.lower_prio_repeat.unwrap_or(5),
            lower_prio_delay: delay(garp.lower_prio_delay),
            refresh: garp.refresh.unwrap_or(REFRESH),
            refresh_repeat: garp.refresh_repeat.unwrap_or(1),
        },
    }
}

/// Every address of an instance that has an interface now. One that is advertised twice is on its interface once.
pub(crate) fn addresses(instance: &Instance, links: &Links) -> Vec<NewAddress> {
    let all = instance.vips.iter().chain(&instance.vips_excluded);
    let mut seen = HashSet::new();
    all.filter_map(|a| address(instance, a, links))
        .filter(|a| seen.insert((a.at.index, a.at.ip)))
        .collect()
}

/// Interfaces beside its own that an instance cannot give its addresses to while they are down, as far as there are such.
pub(super) fn other_interfaces<'a>(instance: &'a Instance, links: &'a Links) -> impl Iterator<Item = &'a str> {
    let all = instance.vips.iter().chain(&instance.vips_excluded);
    all.filter(|a| !a.no_track)
        .filter_map(|a| a.dev.as_deref())
        .filter(|dev| *dev != instance.interface && links.named(dev).is_some())
}

fn address(instance: &Instance, a: &Address, links: &Links) -> Option<NewAddress> {
    let link = links.named(a.dev.as_deref().unwrap_or(&instance.interface))?;
    let broadcast = match (a.ip, a.broadcast.as_deref()) {
        (_, None) => None,
        // As keepalived: all bits of the host part set or cleared, and none of this where there is no host part.
        (_, Some("+" | "-")) if a.prefix > 30 => None,
        (IpAddr::V4(ip), Some(sign @ ("+" | "-"))) => {
            let host = u32::MAX.checked_shr(a.prefix.into()).unwrap_or(0);
            let all = if sign == "+" {
                u32::from(ip) | host
            } else {
                u32::from(ip) & !host
            };
            Some(IpAddr::from(all.to_be_bytes()))
        }
        (_, Some(text)) => text.parse().ok(),
    };
    Some(NewAddress {
        at: Assigned {
            index: link.index,
            ip: a.ip,
            prefix: a.prefix,
        },
        broadcast,
        label: a.label.clone().filter(|_| a.ip.is_ipv4()),
        scope: a.scope.unwrap_or(if is_link_local(&a.ip) { 253 } else { 0 }),
        preferred: a.preferred_lft.filter(|_| a.ip.is_ipv6()),
        flags: flags(a),
    })
}

/// Flags of an address (linux/if_addr.h; libc has but the first eight).
fn flags(a: &Address) -> u32 {
    const HOMEADDRESS: u32 = 0x10;
    const MANAGETEMPADDR: u32 = 0x100;
    const NOPREFIXROUTE: u32 = 0x200;
    const MCAUTOJOIN: u32 = 0x400;
    let wanted = [
        // Another host had it until now: waiting for duplicate address detection would only delay.
        (a.ip.is_ipv6() && !a.dad, libc::IFA_F_NODAD),
        (a.home, HOMEADDRESS),
        (a.mngtmpaddr, MANAGETEMPADDR),
        (a.noprefixroute, NOPREFIXROUTE),
        (a.autojoin, MCAUTOJOIN),
    ];
    wanted.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum()
}

/// What the router of an instance signs and checks with.
pub(super) fn auth_hmac(instance: &Instance) -> Option<Arc<AuthHmac>> {
    let written = instance.auth_hmac.as_ref()?;
    Some(Arc::new(AuthHmac {
        // A key that is none is an error of the configuration, with which nothing runs.
        keys: written.keys.iter().filter_map(|k| Key::new(k.id, &k.secret)).collect(),
        active: written.active_key,
        mode: match written.mode {
            HmacMode::Enforce => Mode::Enforce,
            HmacMode::Permissive => Mode::Permissive,
            HmacMode::ReceiveOnly => Mode::ReceiveOnly,
        },
        anti_replay: match written.window {
            Some(window) => AntiReplay::Time { window },
            None => AntiReplay::Monotonic,
        },
    }))
}
