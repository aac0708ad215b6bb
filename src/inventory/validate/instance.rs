//! `vrrp.instances`: one virtual router each.

use std::net::IpAddr;

use super::hosts::{RawHost, usable};
use super::names::by_host;
use super::raw_instance::RawInstance;
use super::{address, hmac};
use crate::inventory::context::{At, Context};
use crate::inventory::grammar::{INTERFACE, PATH, WORD};
use crate::inventory::model::{InitialState, Notify, SecretSource, Vip};
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::secret::check_auth_pass;
use crate::inventory::table::Table;

const KEYS: &[&str] = &[
    "name",
    "virtual_router_id",
    "priorities",
    "version",
    "advert_int",
    "auth_pass",
    "auth_hmac",
    "interface",
    "state",
    "unicast",
    "mcast_src_ip",
    "nopreempt",
    "preempt_delay",
    "garp_master_refresh",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "track_script",
    "track_interface",
    "track_process",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
];

/// A day: longer than any delay that means something.
const DAY: i64 = 86_400;

/// One instance; `None` when not even its name could be read.
pub(super) fn read(context: &Context, node: &YamlNode, hosts: &[RawHost]) -> Option<RawInstance> {
    let table = Table::new(context, node, "an instance", KEYS)?;
    table.need("name", "as in name: VI_1");
    table.need(
        "virtual_router_id",
        "1 to 255, the same on both hosts and used by nobody else in the subnet",
    );
    table.need(
        "virtual_ipaddress",
        "the addresses that move, as in virtual_ipaddress: [192.168.0.200/24]",
    );
    let vips = address::vips(&table, "virtual_ipaddress");
    if let Some(items) = table.get("virtual_ipaddress")
        && matches!(&items.value, Value::List(list) if list.is_empty())
    {
        context.error(items.span, "virtual_ipaddress needs at least one address");
    }
    let version = version(&table, &vips);
    let (state, nopreempt, preempt_delay) = preemption(&table);
    let seconds = |key: &'static str| table.integer(key, 0..=DAY).and_then(|s| u32::try_from(s.value).ok());
    let name = table.word("name", &WORD);
    let path = |key: &'static str| table.word(key, &PATH).map(|p| p.value);
    let instance = RawInstance {
        virtual_router_id: byte(&table, "virtual_router_id", 255),
        priorities: by_host(&table, "priorities", hosts, |context, node| {
            context
                .integer(node, "priority", 1..=254)
                .and_then(|p| u8::try_from(p.value).ok())
        }),
        priorities_written: table.get("priorities").is_some(),
        version,
        advert_int: advert_int(&table, version),
        auth_pass: auth_pass(&table, version),
        auth_hmac: hmac::read(&table),
        interface: table.word("interface", &INTERFACE),
        state,
        unicast: table.flag("unicast").is_some_and(|u| u.value),
        mcast_src_ip: by_host(&table, "mcast_src_ip", hosts, |context, node| {
            let ip = super::hosts::parsed::<IpAddr>(context, node, "mcast_src_ip", "an IP address")?;
            usable(context, ip, "mcast_src_ip").then_some(ip.value)
        }),
        nopreempt,
        preempt_delay,
        garp_master_refresh: seconds("garp_master_refresh").unwrap_or(60),
        vips,
        excluded: address::vips(&table, "virtual_ipaddress_excluded"),
        track_script: names(&table, "track_script"),
        track_interface: track_interface(&table),
        track_process: names(&table, "track_process"),
        notify: Notify {
            notify: path("notify"),
            notify_master: path("notify_master"),
            notify_backup: path("notify_backup"),
            notify_fault: path("notify_fault"),
            notify_stop: path("notify_stop"),
        },
        span: table.key_span("name"),
        name: name?,
    };
    if let Some(both) = table.get("priorities")
        && matches!(both.value, Value::Map(_))
    {
        for host in hosts.iter().filter_map(|h| h.name.as_ref()) {
            let written = table.free("priorities").unwrap_or_default();
            if !written.iter().any(|(name, _)| name.value == host.value) {
                let message = format!("priorities lack {}", host.value);
                context.error_hint(
                    table.key_span("priorities"),
                    message,
                    "give both hosts one, or leave it out",
                );
            }
        }
    }
    Some(instance)
}

fn byte(table: &Table<'_>, key: &'static str, high: i64) -> Option<At<u8>> {
    let number = table.integer(key, 1..=high)?;
    Some(At {
        value: u8::try_from(number.value).ok()?,
        span: number.span,
    })
}

/// 2 unless written, as keepalived's; IPv6 has no version 2.
fn version(table: &Table<'_>, vips: &[At<Vip>]) -> u8 {
    let ipv6 = vips.first().is_some_and(|v| v.value.address.addr().is_ipv6());
    let Some(version) = table.integer("version", 2..=3) else {
        return if ipv6 { 3 } else { 2 };
    };
    if ipv6 && version.value == 2 {
        table
            .context
            .error_hint(version.span, "VRRP version 2 supports IPv4 only", "write version: 3");
    }
    if version.value == 3 { 3 } else { 2 }
}

/// RFC 3768 §5.3.7: whole seconds in one byte; RFC 9568 §5.2.7: 12 bits of centiseconds.
fn advert_int(table: &Table<'_>, version: u8) -> f64 {
    let Some(interval) = table.real("advert_int", 0.01..=255.0) else {
        return 1.0;
    };
    let (seconds, centiseconds) = (interval.value, interval.value * 100.0);
    let (message, hint) = if version == 2 && (seconds.fract() != 0.0 || seconds < 1.0) {
        (
            format!("advert_int of version 2 must be whole seconds from 1 to 255, not {seconds}"),
            "version 3 allows shorter intervals",
        )
    } else if version == 3 && seconds > 40.95 {
        (
            format!("advert_int of version 3 must be at most 40.95 seconds, not {seconds}"),
            "12 bits of centiseconds",
        )
    } else if version == 3 && (centiseconds - centiseconds.round()).abs() > 1e-6 {
        (
            format!("advert_int must be a multiple of 0.01 seconds, not {seconds}"),
            "VRRP counts centiseconds",
        )
    } else {
        return seconds;
    };
    table.context.error_hint(interval.span, message, hint);
    1.0
}

/// What is written in the inventory is checked here; what comes from elsewhere, when it is resolved.
fn auth_pass(table: &Table<'_>, version: u8) -> Option<SecretSource> {
    let secret = table.secret("auth_pass")?;
    if version == 3 {
        let hint = "leave it out: it would protect nothing, and keepalived ignores it";
        table
            .context
            .error_hint(table.key_span("auth_pass"), "VRRP version 3 has no auth_pass", hint);
    }
    if let SecretSource::Literal(text) = &secret.value
        && let Err(why) = check_auth_pass(text)
    {
        let hint = "1 to 8 letters, digits or - _ . : , + = / % ^ * ?, or leave it out: then one is generated and kept";
        table.context.error_hint(secret.span, format!("auth_pass {why}"), hint);
    }
    Some(secret.value)
}

fn preemption(table: &Table<'_>) -> (Option<InitialState>, bool, Option<u32>) {
    let context = table.context;
    let state = table.choice(
        "state",
        &[("MASTER", InitialState::Master), ("BACKUP", InitialState::Backup)],
    );
    let nopreempt = table.flag("nopreempt");
    let delay = table.integer("preempt_delay", 0..=1000);
    if nopreempt.is_some_and(|n| n.value) {
        if let Some(state) = state.filter(|s| s.value == InitialState::Master) {
            let hint =
                "keepalived honours nopreempt only where both start as BACKUP: write state: BACKUP, or leave it out";
            context.error_hint(state.span, "nopreempt does not go with state MASTER", hint);
        }
        if let Some(delay) = &delay {
            context.error_hint(
                delay.span,
                "preempt_delay does not go with nopreempt",
                "take one of them out",
            );
        }
    }
    let delay = delay.and_then(|d| u32::try_from(d.value).ok());
    (state.map(|s| s.value), nopreempt.is_some_and(|n| n.value), delay)
}

/// A list of names, none of them twice.
fn names(table: &Table<'_>, key: &'static str) -> Vec<At<String>> {
    let names = table.words(key, &WORD).map(|n| n.value).unwrap_or_default();
    for (n, name) in names.iter().enumerate() {
        if names[..n].iter().any(|earlier| earlier.value == name.value) {
            table
                .context
                .error(name.span, format!("{key} names {} twice", name.value));
        }
    }
    names
}

/// `eth1`, or `{interface: eth1, weight: -20}`.
fn track_interface(table: &Table<'_>) -> Vec<(At<String>, Option<At<i16>>)> {
    let context = table.context;
    let Some(items) = table.list("track_interface") else {
        return Vec::new();
    };
    let mut found: Vec<(At<String>, Option<At<i16>>)> = Vec::new();
    for node in items.value {
        let (name, weight) = if matches!(node.value, Value::Map(_)) {
            let Some(item) = Table::new(context, node, "a tracked interface", &["interface", "weight"]) else {
                continue;
            };
            item.need("interface", "as in {interface: eth1, weight: -20}");
            let weight = item.integer("weight", -253..=253);
            let weight = weight.and_then(|w| {
                Some(At {
                    value: i16::try_from(w.value).ok()?,
                    span: w.span,
                })
            });
            (item.word("interface", &INTERFACE), weight)
        } else {
            (context.word(node, "an item of track_interface", &INTERFACE), None)
        };
        let Some(name) = name else { continue };
        if found.iter().any(|(earlier, _)| earlier.value == name.value) {
            context.error(name.span, format!("track_interface names {} twice", name.value));
        }
        found.push((name, weight));
    }
    found
}

/// What instances must not share.
pub(super) fn together(context: &Context, instances: &[RawInstance], hosts: &[RawHost]) {
    for (n, later) in instances.iter().enumerate() {
        for earlier in &instances[..n] {
            if earlier.name.value == later.name.value {
                context.error(
                    later.name.span,
                    format!("two instances are called {}", later.name.value),
                );
            }
            let (Some(a), Some(b)) = (&earlier.virtual_router_id, &later.virtual_router_id) else {
                continue;
            };
            let shared = hosts.iter().find_map(|h| {
                let interface = later.interface_on(h)?;
                (earlier.interface_on(h) == Some(interface)).then_some(interface)
            });
            if let Some(interface) = shared.filter(|_| a.value == b.value) {
                let message = format!("virtual_router_id {} is already taken on {interface}", b.value);
                context.error_hint(b.span, message, format!("{} has it", earlier.name.value));
            }
        }
    }
}
