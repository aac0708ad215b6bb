//! What of the surroundings is a finding. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::remedy;
use super::surroundings::{Listener, Surroundings};
use crate::host::observe::packet_filter::Dropper;
use crate::host::observe::speakers::{Namespace, Speaker};
use crate::host::observe::static_addresses::{Activation, StaticAddress};
use crate::host::os::disk::Room;
use crate::state::edit::Edit;
use crate::state::resource::Spec;
use crate::state::{Engine, Finding, FindingId, HostState, ListenNeed, Severity};

/// Below this nothing is begun: a transaction keeps what it replaces.
const FULL: u64 = 32 << 20;
/// Below this packages may not fit.
const LOW: u64 = 256 << 20;
/// Below so many files nothing is begun.
const FEW_FILES: u64 = 500;

/// Everything that the operator should know before this state is applied.
pub fn judge(state: &HostState, seen: &Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(seen.ports.iter().map(|(interface, master)| {
        let (name, kind) = (&master.name, master.kind);
        Finding::new(
            FindingId::InterfaceIsPort,
            Severity::Blocks,
            format!("{interface} is a port of the {kind} {name}: addresses belong on {name}"),
            format!("write `interface: {name}` in place of {interface} in the inventory"),
        )
    }));
    findings.extend(seen.missing_interfaces.iter().map(|interface| {
        Finding::new(
            FindingId::InterfaceMissing,
            Severity::Blocks,
            format!(
                "there is no interface {interface} on this host, only {}",
                seen.interfaces.join(", ")
            ),
            "correct `interface` in the inventory",
        )
    }));
    let static_vips: Vec<Finding> = seen.static_vips.iter().map(|found| static_vip(state, found)).collect();
    findings.extend(live_vips(state, seen));
    findings.extend(static_vips);
    findings.extend(seen.speakers.iter().filter_map(speaker));
    findings.extend(listeners(&state.needs.listens, &seen.listeners));
    findings.extend(state.needs.adverts.iter().filter_map(|need| {
        let (interface, from) = (&need.interface, need.from);
        let (program, remedy) = match seen.filter.dropper(need)? {
            Dropper::Iptables => (
                "iptables-save",
                format!("run `iptables -I INPUT -i {interface} -s {from} -p 112 -j ACCEPT`, and save the rules"),
            ),
            Dropper::Nft => (
                "nft list ruleset",
                format!("let it in where packets are dropped: `iifname {interface} ip saddr {from} ip protocol 112 accept`"),
            ),
        };
        let cause = format!(
            "the packet filter drops the adverts of {from} on {interface} (see `{program}`): both hosts would own the VIP"
        );
        Some(Finding::new(FindingId::VrrpFiltered, Severity::Blocks, cause, remedy))
    }));
    findings.extend(seen.missing_files.iter().map(|path| {
        Finding::new(
            FindingId::TlsFileMissing,
            Severity::Blocks,
            format!("{path} is not on this host, and nginx does not start without it"),
            "copy it there, or correct `certificate` and `certificate_key` in the inventory",
        )
    }));
    findings.extend(seen.room.iter().filter_map(room));
    findings
}

/// A VIP in the network configuration: this host would have it at all times, whoever owns it.
fn static_vip(state: &HostState, found: &StaticAddress) -> Finding {
    let StaticAddress {
        address,
        path,
        key,
        activation,
    } = found;
    let (place, remove) = match key.as_str() {
        "" => (path.clone(), format!("take it out of {path}")),
        key => (
            format!("{path} ({key})"),
            format!("take {key} out of {path}, or delete the file if it is for nothing else"),
        ),
    };
    let when = match activation {
        Activation::AtBoot => "at every boot",
        Activation::OnDemand => "whenever that profile is activated",
    };
    let cause = format!("{place} gives this host the VIP {address} {when}, whoever owns it");
    if is_corrected(state, found) {
        return Finding::new(
            FindingId::VipStatic,
            Severity::Notes,
            cause,
            "`hapair apply` removes it",
        );
    }
    let severity = match (activation, key.is_empty()) {
        (Activation::AtBoot, false) => Severity::Blocks,
        // A script may do something else with the address.
        _ => Severity::Warns,
    };
    Finding::new(FindingId::VipStatic, severity, cause, remove)
}

/// The plan gives this key another value, or none.
fn is_corrected(state: &HostState, found: &StaticAddress) -> bool {
    let edits = state.resources.iter().filter_map(|r| match &r.spec {
        Spec::Network(spec) if spec.path == found.path => Some(&spec.edits),
        _ => None,
    });
    edits.flatten().any(|edit| match edit {
        Edit::Assign { key, value } | Edit::Ini { key, value, .. } => {
            let names_it = value.as_ref().is_some_and(|v| v.contains(&found.address.to_string()));
            *key == found.key && !names_it
        }
        Edit::Hosts { .. } | Edit::Block { .. } => false,
    })
}

/// VIPs that are here now without an engine of ours.
fn live_vips(state: &HostState, seen: &Surroundings) -> Vec<Finding> {
    if seen.engine_runs {
        return Vec::new();
    }
    let explained = |vip: &IpAddr| seen.static_vips.iter().any(|found| found.address == *vip);
    let live = seen.live_vips.iter().filter(|(vip, _)| !explained(vip));
    live.map(|(vip, label)| {
        // `enp0s3:0` is a label on enp0s3.
        let interface = label.split(':').next().unwrap_or(label);
        let text = vip.to_string();
        let owns = |i: &&crate::state::resource::InstanceRef| i.vips.contains(&text);
        let home = state.instances.iter().find(owns).map(|i| i.interface.as_str());
        match home {
            Some(home) if home == interface => Finding::new(
                FindingId::VipLeft,
                Severity::Warns,
                format!("the VIP {vip} is on {interface} although no VRRP engine runs on this host"),
                "the engine takes it off when it starts; if something else put it there, stop that first",
            ),
            _ => Finding::new(
                FindingId::VipElsewhere,
                Severity::Blocks,
                format!("the VIP {vip} is on {interface} of this host, and no engine of hapair's put it there"),
                format!(
                    "find out what needs it there; `ip addr del {vip} dev {interface}` takes it off until the next boot"
                ),
            ),
        }
    })
    .collect()
}

/// A program that speaks VRRP on this host and is no engine of hapair's.
fn speaker(speaker: &Speaker) -> Option<Finding> {
    let Speaker { process, namespace } = speaker;
    let ours = [Engine::Agent, Engine::Keepalived]
        .iter()
        .any(|engine| process.is_of(engine.unit()));
    if ours && *namespace == Namespace::Host {
        return None;
    }
    let named = remedy::named(process);
    let stop = remedy::stop(process);
    Some(match (namespace, process.pid) {
        (Namespace::Host, 1..) => Finding::new(
            FindingId::VrrpSpeaker,
            Severity::Blocks,
            format!("{named} speaks VRRP on this host, beside the engine that hapair would run"),
            stop,
        ),
        // It may have ended meanwhile.
        (Namespace::Host, 0) => Finding::new(
            FindingId::VrrpSpeaker,
            Severity::Warns,
            format!("{named} speaks VRRP on this host"),
            stop,
        ),
        (Namespace::Other, _) => Finding::new(
            FindingId::VrrpSpeaker,
            Severity::Warns,
            format!("{named} speaks VRRP in another network namespace of this host"),
            format!("see whether that namespace is connected to the segment of the VIP; if so, {stop}"),
        ),
    })
}

/// Programs that listen on a port of the load balancer and do not belong to nginx's own unit.
fn listeners(needs: &[ListenNeed], listeners: &[Listener]) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let taken = listeners.iter().filter(|listener| {
        let needed = needs
            .iter()
            .any(|need| need.port == listener.port && in_the_way(need.address, listener.address));
        needed && !listener.process.is_of("nginx.service")
    });
    let finding = |Listener { process, port, .. }: &Listener| {
        let named = remedy::named(process);
        Finding::new(
            FindingId::PortTaken,
            Severity::Blocks,
            format!("port {port} is taken by {named}: nginx could not listen there"),
            format!("{}; or give the server another `listen`", remedy::stop(process)),
        )
    };
    taken
        .filter(|l| told.insert((l.process.pid, l.port)))
        .map(finding)
        .collect()
}

/// Whether a socket keeps nginx from listening on an address; `None`: on every one of IPv4.
fn in_the_way(wanted: Option<IpAddr>, taken: IpAddr) -> bool {
    // A socket on `::` takes IPv4 as well unless it was told not to, which /proc does not show.
    let everywhere = taken.is_unspecified();
    match wanted {
        Some(wanted) if !wanted.is_unspecified() => {
            taken == wanted || (everywhere && (taken.is_ipv6() || wanted.is_ipv4()))
        }
        _ => everywhere || taken.is_ipv4(),
    }
}

fn room(room: &Room) -> Option<Finding> {
    let Room { path, bytes, files } = room;
    let mebibytes = bytes >> 20;
    let remedy = format!("make room on {path}: `du -xh {path} | sort -h | tail` shows what takes it");
    let few = files.filter(|left| *left < FEW_FILES);
    let (id, severity, cause) = match (few, *bytes) {
        (Some(left), _) => (
            FindingId::DiskFull,
            Severity::Blocks,
            format!("only {left} more files fit on the file system of {path}"),
        ),
        (None, bytes) if bytes < FULL => (
            FindingId::DiskFull,
            Severity::Blocks,
            format!("only {mebibytes} MiB are free on the file system of {path}"),
        ),
        (None, bytes) if bytes < LOW => (
            FindingId::DiskLow,
            Severity::Warns,
            format!("only {mebibytes} MiB are free on the file system of {path}: packages may not fit"),
        ),
        _ => return None,
    };
    Some(Finding::new(id, severity, cause, remedy))
}

#[cfg(test)]
mod tests;
