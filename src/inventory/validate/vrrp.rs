//! `vrrp`: engine, `global_defs`, and what the instances share.

use std::net::SocketAddr;

use super::hosts::RawHost;
use super::names::by_host;
use super::raw_instance::RawInstance;
use super::{address, election, instance, script};
use crate::inventory::context::quote;
use crate::inventory::grammar::{EMAIL, ROUTER_ID, SMTP_SERVER, USER_AND_GROUP};
use crate::inventory::model::{GlobalDefs, Vrrp};
use crate::inventory::table::Table;
use crate::state::Engine;

const KEYS: &[&str] = &[
    "engine",
    "metrics_listen",
    "global_defs",
    "scripts",
    "track_processes",
    "instances",
];
const GLOBAL_KEYS: &[&str] = &[
    "router_id",
    "notification_email",
    "notification_email_from",
    "smtp_server",
    "smtp_connect_timeout",
    "vrrp_garp_interval",
    "vrrp_gna_interval",
    "vrrp_skip_check_adv_addr",
    "enable_script_security",
    "script_user",
];

/// `vrrp`; `None` keeps it as it is.
pub(super) fn read(inventory: &Table<'_>, hosts: &[RawHost]) -> Option<Vrrp> {
    let context = inventory.context;
    let table = inventory.table("vrrp", KEYS)?;
    let engines = [("agent", Engine::Agent), ("keepalived", Engine::Keepalived)];
    let engine = table.choice("engine", &engines).map_or(Engine::Agent, |e| e.value);
    let metrics_listen = metrics_listen(&table, engine);
    let global_defs = global_defs(&table, hosts);
    let scripts = script::scripts(&table);
    let processes = script::processes(&table);
    table.need("instances", "at least one, as in inventory.example.yaml");
    let mut instances = Vec::new();
    if let Some(items) = table.list("instances") {
        if items.value.is_empty() {
            context.error_hint(items.span, "vrrp without an instance", "write one, or take vrrp out");
        }
        for node in items.value {
            if let Some(mut instance) = instance::read(context, node, hosts) {
                let weights = election::weights(context, &instance, &scripts, &processes);
                election::decide(context, &mut instance, hosts, &weights);
                address::check_instance(context, &instance, hosts);
                instances.push(instance);
            }
        }
    }
    instance::together(context, &instances, hosts);
    address::check_together(context, &instances);
    Some(Vrrp {
        engine,
        metrics_listen,
        global_defs,
        scripts: scripts.into_iter().map(|s| s.value).collect(),
        track_processes: processes.into_iter().map(|p| p.value).collect(),
        instances: instances.into_iter().map(RawInstance::finish).collect(),
    })
}

/// `metrics_listen`: an address and a port of the hosts.
fn metrics_listen(vrrp: &Table<'_>, engine: Engine) -> Option<SocketAddr> {
    let context = vrrp.context;
    let text = context.text(vrrp.get("metrics_listen")?, "metrics_listen")?;
    let address = text.value.parse::<SocketAddr>().ok().filter(|a| a.port() > 0);
    if address.is_none() {
        let message = format!(
            "metrics_listen must be an address and a port, not {}",
            quote(text.value)
        );
        context.error_hint(text.span, message, "as in 127.0.0.1:9112, 0.0.0.0:9112 or [::1]:9112");
    } else if engine != Engine::Agent {
        context.error_hint(
            text.span,
            "metrics_listen with engine keepalived",
            "keepalived serves no metrics: take it out, or write engine: agent",
        );
    }
    address
}

fn global_defs(vrrp: &Table<'_>, hosts: &[RawHost]) -> GlobalDefs {
    let Some(table) = vrrp.table("global_defs", GLOBAL_KEYS) else {
        return GlobalDefs::default();
    };
    let context = vrrp.context;
    let router_id = by_host(&table, "router_id", hosts, |context, node| {
        context.word(node, "router_id", &ROUTER_ID).map(|id| id.value)
    });
    let mail = table
        .words("notification_email", &EMAIL)
        .map(|m| m.value)
        .unwrap_or_default();
    let server = table.word("smtp_server", &SMTP_SERVER);
    if let (Some(first), None) = (mail.first(), &server)
        && table.get("smtp_server").is_none()
    {
        context.error_hint(
            first.span,
            "notification_email without smtp_server",
            "keepalived sends nothing without it",
        );
    }
    let flag = |key: &'static str| table.flag(key).is_some_and(|f| f.value);
    GlobalDefs {
        router_id: router_id.into_iter().map(|(host, id)| (host, id.value)).collect(),
        notification_email: mail.into_iter().map(|m| m.value).collect(),
        notification_email_from: table.word("notification_email_from", &EMAIL).map(|m| m.value),
        smtp_server: server.map(|s| s.value),
        smtp_connect_timeout: table
            .integer("smtp_connect_timeout", 1..=3600)
            .and_then(|t| u16::try_from(t.value).ok()),
        vrrp_garp_interval: table.real("vrrp_garp_interval", 0.0..=3600.0).map(|i| i.value),
        vrrp_gna_interval: table.real("vrrp_gna_interval", 0.0..=3600.0).map(|i| i.value),
        vrrp_skip_check_adv_addr: flag("vrrp_skip_check_adv_addr"),
        enable_script_security: flag("enable_script_security"),
        script_user: table.word("script_user", &USER_AND_GROUP).map(|u| u.value),
    }
}
