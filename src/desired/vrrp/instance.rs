//! A `vrrp_instance` as the template sees it.

use serde::Serialize;

use crate::desired::build::{Build, source_of};
use crate::desired::error::DesiredError;
use crate::desired::escape::Syntax;
use crate::inventory::{InitialState, Instance, Vip, Vrrp};

#[derive(Debug, Serialize)]
pub(super) struct InstanceView {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) interface: String,
    pub(super) version: u8,
    pub(super) mcast_src_ip: Option<String>,
    pub(super) unicast_src_ip: Option<String>,
    pub(super) unicast_peer: Option<String>,
    pub(super) virtual_router_id: u8,
    pub(super) priority: u8,
    pub(super) advert_int: String,
    pub(super) nopreempt: bool,
    pub(super) preempt_delay: Option<String>,
    pub(super) garp_master_refresh: Option<u32>,
    pub(super) auth_pass: Option<String>,
    pub(super) auth_hmac: Option<HmacView>,
    pub(super) virtual_ipaddress: Vec<String>,
    pub(super) virtual_ipaddress_excluded: Vec<String>,
    pub(super) track_interface: Vec<String>,
    pub(super) track_script: Vec<String>,
    pub(super) track_process: Vec<String>,
    pub(super) notify: Vec<NotifyView>,
    pub(super) smtp_alert: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct HmacView {
    pub(super) keys: Vec<HmacKeyView>,
    pub(super) active_key: u8,
    pub(super) mode: &'static str,
    pub(super) time_window: u16,
}

#[derive(Debug, Serialize)]
pub(super) struct HmacKeyView {
    pub(super) id: u8,
    pub(super) key: String,
}

#[derive(Debug, Serialize)]
pub(super) struct NotifyView {
    pub(super) keyword: &'static str,
    pub(super) path: String,
}

pub(super) fn instance(build: &Build, vrrp: &Vrrp, written: &Instance) -> Result<InstanceView, DesiredError> {
    let this = &build.host.name;
    let name = &written.name;
    build.guard(Syntax::KeepalivedWord, "vrrp.instances.name", name)?;
    let Some(interface) = written.interface.clone().or_else(|| build.interface()) else {
        return Err(build.impossible(
            format!("instance {name} has no interface"),
            "write `interface` for the instance, or `network` for the host",
        ));
    };
    build.guard(Syntax::KeepalivedWord, "vrrp.instances.interface", &interface)?;
    let Some(priority) = written.priorities.get(this).copied() else {
        return Err(build.impossible(
            format!("instance {name} has no priority for this host"),
            "write one for each host under `priorities`, or leave `priorities` out",
        ));
    };
    for (tracked, _) in &written.track_interface {
        build.guard(Syntax::KeepalivedWord, "vrrp.instances.track_interface", tracked)?;
    }
    for tracked in written.track_script.iter().chain(&written.track_process) {
        build.guard(Syntax::KeepalivedWord, "vrrp.instances.track_script", tracked)?;
    }
    let source = written.mcast_src_ip.get(this).copied();
    let (unicast_src_ip, unicast_peer) = match written.unicast {
        true => {
            let own = source_of(build, written, build.host)?;
            let peer = source_of(build, written, build.peer)?;
            (Some(own.to_string()), Some(peer.to_string()))
        }
        false => (None, None),
    };
    Ok(InstanceView {
        name: name.clone(),
        state: match initial_state(written, this) {
            InitialState::Master => "MASTER",
            InitialState::Backup => "BACKUP",
        },
        interface: interface.clone(),
        version: written.version,
        mcast_src_ip: source.filter(|_| !written.unicast).map(|a| a.to_string()),
        unicast_src_ip,
        unicast_peer,
        virtual_router_id: written.virtual_router_id,
        priority,
        advert_int: number(written.advert_int),
        nopreempt: written.nopreempt,
        preempt_delay: written.preempt_delay.map(|s| s.to_string()),
        garp_master_refresh: Some(written.garp_master_refresh).filter(|s| *s > 0),
        auth_pass: auth_pass(build, written)?,
        auth_hmac: auth_hmac(build, written)?,
        virtual_ipaddress: written.virtual_ipaddress.iter().map(vip).collect(),
        virtual_ipaddress_excluded: written.virtual_ipaddress_excluded.iter().map(vip).collect(),
        track_interface: written
            .track_interface
            .iter()
            .filter(|(tracked, _)| *tracked != interface)
            .map(|(tracked, weight)| match weight {
                Some(weight) => format!("{tracked} weight {weight}"),
                None => tracked.clone(),
            })
            .collect(),
        track_script: written.track_script.clone(),
        track_process: written.track_process.clone(),
        notify: notify(build, written)?,
        // Without it keepalived mails nothing about an instance, whatever global_defs say.
        smtp_alert: !vrrp.global_defs.notification_email.is_empty(),
    })
}

fn auth_pass(build: &Build, written: &Instance) -> Result<Option<String>, DesiredError> {
    let name = &written.name;
    match (written.has_password(), build.secrets.auth_pass(name)) {
        (true, None) => Err(build.impossible(
            format!("instance {name} has no auth_pass yet"),
            "it must be resolved before the desired state is made",
        )),
        (true, Some(secret)) => {
            build.guard(Syntax::KeepalivedWord, &format!("auth_pass of {name}"), secret.reveal())?;
            Ok(Some(secret.reveal().to_owned()))
        }
        (false, _) => Ok(None),
    }
}

pub(super) fn auth_hmac(build: &Build, written: &Instance) -> Result<Option<HmacView>, DesiredError> {
    let Some(auth) = &written.auth_hmac else {
        return Ok(None);
    };
    let name = &written.name;
    let mut keys = Vec::new();
    for key in &auth.keys {
        let Some(secret) = build.secrets.hmac_key(name, key.id) else {
            return Err(build.impossible(
                format!("instance {name} has no key {} for auth_hmac yet", key.id),
                "it must be resolved before the desired state is made",
            ));
        };
        build.guard(
            Syntax::KeepalivedWord,
            &format!("key {} of {name}", key.id),
            secret.reveal(),
        )?;
        keys.push(HmacKeyView {
            id: key.id,
            key: secret.reveal().to_owned(),
        });
    }
    Ok(Some(HmacView {
        keys,
        active_key: auth.active_key,
        mode: auth.mode.word(),
        time_window: auth.window(written.advert_int),
    }))
}

/// MASTER only where the higher priority is: anything else is a promise that the first advert breaks.
pub(super) fn initial_state(written: &Instance, host: &str) -> InitialState {
    // keepalived clears preempt_delay where the state is MASTER.
    let backup = written.nopreempt || written.preempt_delay.is_some() || written.state == Some(InitialState::Backup);
    if !backup && written.preferred() == host {
        InitialState::Master
    } else {
        InitialState::Backup
    }
}

pub(super) fn notify(build: &Build, written: &Instance) -> Result<Vec<NotifyView>, DesiredError> {
    let n = &written.notify;
    let all = [
        ("notify_master", &n.notify_master),
        ("notify_backup", &n.notify_backup),
        ("notify_fault", &n.notify_fault),
        ("notify_stop", &n.notify_stop),
        ("notify", &n.notify),
    ];
    let mut views = Vec::new();
    for (keyword, path) in all {
        let Some(path) = path else { continue };
        build.guard(Syntax::KeepalivedQuoted, &format!("vrrp.instances.{keyword}"), path)?;
        views.push(NotifyView {
            keyword,
            path: path.clone(),
        });
    }
    Ok(views)
}

/// As written: keepalived makes a VIP without prefix a /32 or /128.
pub(super) fn vip(vip: &Vip) -> String {
    if vip.prefix_written {
        vip.address.to_string()
    } else {
        vip.address.addr().to_string()
    }
}

/// Shortest decimal text: `1`, `0.5`.
pub(super) fn number(value: f64) -> String {
    format!("{value}")
}
