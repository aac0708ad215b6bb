//! Who is heard and what is wrong, in JSON and in words.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::auth_hmac;
use super::report::{Report, Row};
use crate::vrrp::hmac::Refusal;
use crate::vrrp::{Ignored, Neighbour, PacketError, Time, Verdict};

/// How long after its last refused advert a neighbour is worth a warning.
const RECENT: Time = Time::from_secs(60);

/// Neighbours of an instance, for `status --json`.
pub(crate) fn neighbours(row: &Row, at: Time) -> Vec<Value> {
    let one = |n: &Neighbour| {
        json!({
            "address": n.src, "version": n.said.map(|s| s.version), "priority": n.said.map(|s| s.priority),
            "accepted": !matches!(n.verdict, Verdict::Refused(_)), "verdict": code(n.verdict), "why": why(n),
            "vips": (!n.vips.is_empty()).then_some(&n.vips), "packets": n.packets,
            "seconds_since_first": at.saturating_sub(n.since).as_secs_f64(),
            "seconds_since_last": at.saturating_sub(n.heard).as_secs_f64(),
        })
    };
    row.neighbours.iter().map(one).collect()
}

/// Routers that announce our VIPs under other ids, for `status --json`.
pub(crate) fn other_routers(report: &Report) -> Vec<Value> {
    let since = |time| report.at.saturating_sub(time).as_secs_f64();
    let all = report.other_routers.iter();
    all.map(|r| {
        json!({
            "address": r.src, "interface": r.interface, "virtual_router_id": r.vrid, "vip": r.vip, "packets": r.packets,
            "seconds_since_first": since(r.since), "seconds_since_last": since(r.heard),
        })
    })
    .collect()
}

/// A word for programs. Two rows of one sender have different ones, or Prometheus would be given the same series twice.
fn code(verdict: Verdict) -> &'static str {
    let Verdict::Refused(reason) = verdict else {
        return if verdict == Verdict::Accepted {
            "accepted"
        } else {
            "list_differs"
        };
    };
    match reason {
        Ignored::Packet(error) => match error {
            PacketError::TooShort { .. } => "too_short",
            PacketError::TooLong { .. } => "too_long",
            PacketError::Version(_) => "unknown_version",
            PacketError::Type(_) => "unknown_type",
            PacketError::Interval => "interval_0",
            PacketError::Checksum => "checksum",
            PacketError::Ip => "ip_header",
        },
        Ignored::Own => "own_address",
        Ignored::Ttl(_) => "ttl",
        Ignored::Foreign => "foreign",
        Ignored::Version(_) => "version",
        Ignored::Vrid(_) => "virtual_router_id",
        Ignored::AuthType(_) => "auth_type",
        Ignored::Password => "password",
        Ignored::Interval(_) => "interval",
        Ignored::Destination(_) => "destination",
        Ignored::Hmac(refusal) => match refusal {
            Refusal::Missing => "hmac_missing",
            Refusal::Unwanted => "hmac_unwanted",
            Refusal::Malformed => "hmac_malformed",
            Refusal::UnknownKey(_) => "hmac_unknown_key",
            Refusal::WrongKey => "hmac_wrong_key",
            Refusal::Stale { .. } => "hmac_stale",
            Refusal::Replay => "hmac_replayed",
        },
        Ignored::Stranger => "not_a_peer",
    }
}

/// Why a neighbour does not count, or counts only with an alarm.
fn why(n: &Neighbour) -> Option<String> {
    match n.verdict {
        Verdict::Accepted => None,
        Verdict::ListDiffers => Some(format!("its VIP list differs from ours: {}", list(&n.vips))),
        Verdict::Refused(Ignored::Foreign) => Some(format!("another cluster: it announces {}", list(&n.vips))),
        Verdict::Refused(Ignored::Own) => {
            Some("it sends from our own address, or a switch sends our packets back".to_owned())
        }
        Verdict::Refused(reason) => Some(reason.to_string()),
    }
}

fn list(vips: &[IpAddr]) -> String {
    if vips.is_empty() {
        return "no address".to_owned();
    }
    let texts: Vec<String> = vips.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Everything that somebody should look at, a line each, the worst first.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &report.rows {
        if let Some(other) = row.second_owner {
            let name = &row.instance.name;
            lines.push(format!(
                "{name}: two owners suspected: {other} announces a VIP of ours, and its adverts are refused here"
            ));
        }
    }
    lines.extend(report.other_routers.iter().map(ToString::to_string));
    lines.extend(report.duplicates.iter().map(ToString::to_string));
    for (vip, interface) in &report.uninvited {
        lines.push(format!(
            "the VIP {vip} is on {interface}, where no instance of this host put it"
        ));
    }
    lines.extend(report.rows.iter().flat_map(auth_hmac::warnings));
    for row in &report.rows {
        let name = &row.instance.name;
        let recent = |n: &&Neighbour| report.at <= n.heard + RECENT;
        for n in row.neighbours.iter().filter(recent) {
            let Some(why) = why(n) else { continue };
            let count = match n.packets {
                1 => "once".to_owned(),
                packets => format!("{packets} times"),
            };
            let what = match n.verdict {
                Verdict::Refused(Ignored::Foreign) => {
                    format!("virtual_router_id {} is in use by {}", row.instance.vrid, n.src)
                }
                Verdict::Refused(_) => format!("adverts of {} are refused", n.src),
                Verdict::Accepted | Verdict::ListDiffers => format!("adverts of {} count", n.src),
            };
            lines.push(format!("{name}: {what}: {why} ({count})"));
        }
    }
    lines
}

/// Lines below an instance, from its part of the status: how it came to its state, and whom it hears.
pub(crate) fn lines(instance: &Value) -> String {
    let owner = match (
        instance["owner"]["address"].as_str(),
        instance["owner"]["priority"].as_u64(),
    ) {
        (Some(address), Some(priority)) => format!(", owner {address} with priority {priority}"),
        _ => String::new(),
    };
    let mut text = format!(
        "  for {:.1} s ({}), configured priority {}{owner}\n",
        instance["seconds_in_state"].as_f64().unwrap_or_default(),
        instance["cause"].as_str().unwrap_or_default(),
        instance["base_priority"],
    );
    for n in instance["neighbours"].as_array().into_iter().flatten() {
        let said = match (n["priority"].as_u64(), n["version"].as_u64()) {
            (Some(priority), Some(version)) => format!(", priority {priority}, version {version}"),
            _ => String::new(),
        };
        let verdict = match (n["accepted"] == true, n["why"].as_str()) {
            (true, None) => "accepted".to_owned(),
            (true, Some(why)) => format!("accepted, but {why}"),
            (false, why) => format!("refused: {}", why.unwrap_or_default()),
        };
        text += &format!(
            "  neighbour {}{said}, {} packets, the last {:.1} s ago: {verdict}\n",
            n["address"].as_str().unwrap_or_default(),
            n["packets"],
            n["seconds_since_last"].as_f64().unwrap_or_default(),
        );
    }
    text
}
