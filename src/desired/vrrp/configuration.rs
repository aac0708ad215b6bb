//! keepalived.conf.

use serde::Serialize;

use super::instance::{InstanceView, instance, number};
use super::{engine, scripts};
use crate::desired::build::{Build, TextFile};
use crate::desired::error::DesiredError;
use crate::desired::escape::Syntax;
use crate::inventory::{GlobalDefs, Script, ScriptKind, TrackProcess, Vrrp};
use crate::state::resource::InstanceRef;
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{Engine, Reaction, Spec, Stage};

const CONF: &str = "etc/keepalived/keepalived.conf.tera";
const SCRIPT_DIRECTORY: &str = "/usr/libexec/keepalived";

/// What keepalived.conf's template sees. Optional numbers are texts, so that a written 0 is not taken for absent.
#[derive(Debug, Serialize)]
struct View {
    global: GlobalView,
    scripts: Vec<ScriptView>,
    track_processes: Vec<TrackProcessView>,
    instances: Vec<InstanceView>,
}

#[derive(Debug, Serialize)]
struct GlobalView {
    notification_email: Vec<String>,
    notification_email_from: Option<String>,
    smtp_server: Option<String>,
    smtp_connect_timeout: Option<String>,
    router_id: String,
    vrrp_skip_check_adv_addr: bool,
    vrrp_garp_interval: Option<String>,
    vrrp_gna_interval: Option<String>,
    vrrp_check_unicast_src: bool,
    script_user: Option<String>,
    enable_script_security: bool,
}

#[derive(Debug, Serialize)]
struct ScriptView {
    name: String,
    command: String,
    interval: String,
    timeout: u32,
    weight: i16,
    fall: u32,
    rise: u32,
    user: Option<String>,
    init_fail: bool,
}

#[derive(Debug, Serialize)]
struct TrackProcessView {
    name: String,
    process: String,
    weight: i16,
    delay: Option<String>,
}

pub(crate) fn add(build: &mut Build) -> Result<(), DesiredError> {
    let Some(vrrp) = &build.inventory.vrrp else {
        return Ok(());
    };
    if vrrp.engine == Engine::Keepalived {
        check_version(build, vrrp)?;
    }
    if vrrp
        .scripts
        .iter()
        .any(|s| !matches!(s.kind, ScriptKind::Command { .. }))
    {
        let spec = Spec::Directory {
            path: SCRIPT_DIRECTORY.to_owned(),
            mode: 0o755,
        };
        build.push(Stage::Vrrp, format!("directory {SCRIPT_DIRECTORY}"), spec);
    }
    let commands = scripts::add(build, &vrrp.scripts)?;

    let view = View {
        global: global(build, vrrp)?,
        scripts: script_views(build, &vrrp.scripts, commands)?,
        track_processes: process_views(build, &vrrp.track_processes)?,
        instances: vrrp
            .instances
            .iter()
            .map(|i| instance(build, vrrp, i))
            .collect::<Result<_, _>>()?,
    };
    for (written, seen) in vrrp.instances.iter().zip(&view.instances) {
        if written
            .track_interface
            .iter()
            .any(|(tracked, _)| *tracked == seen.interface)
        {
            build.note(format!(
                "{}: {} is left out of track_interface: an instance tracks its own interface anyway, and `keepalived \
                 -t` takes the line for an error",
                written.name, seen.interface
            ));
        }
        build.state.instances.push(InstanceRef {
            name: written.name.clone(),
            interface: seen.interface.clone(),
            virtual_router_id: written.virtual_router_id,
            priority: seen.priority,
            vips: written
                .virtual_ipaddress
                .iter()
                .map(|v| v.address.addr().to_string())
                .collect(),
        });
    }
    build.state.engine = Some(vrrp.engine);

    engine::add_program(build, vrrp)?;
    let text = build.render(CONF, &view)?;
    let reload = vec![Reaction::Reload {
        unit: vrrp.engine.unit().to_owned(),
    }];
    // Only root may read the password.
    build
        .push_file(
            Stage::Vrrp,
            TextFile {
                path: KEEPALIVED_CONF,
                content: text,
                mode: 0o600,
                validator: Some(engine::validator(vrrp.engine)),
                reactions: reload,
            },
        )
        .election_critical = true;
    engine::add_services(build, vrrp.engine);
    Ok(())
}

/// The first keepalived that knows `vrrp_check_unicast_src`.
const CHECKS_UNICAST_SOURCES: (u32, u32, u32) = (1, 2, 20);

/// Version of the keepalived that will read the file: the installed one, else the release's.
fn keepalived_version(build: &Build) -> (u32, u32, u32) {
    let installed = build.facts.keepalived_version.as_deref().and_then(|text| {
        let mut numbers = text.trim_start_matches('v').split('.').map(|n| n.parse::<u32>().ok());
        Some((
            numbers.next()??,
            numbers.next()??,
            numbers.next().flatten().unwrap_or(0),
        ))
    });
    installed.unwrap_or(match build.release() {
        7 => (1, 3, 5),
        8 => (2, 1, 5),
        _ => (2, 2, 8),
    })
}

/// With unicast, anybody who can send a packet to a host could otherwise take part in its election. hapair's agent always looks at
/// the source.
fn check_unicast_src(build: &mut Build, vrrp: &Vrrp) -> bool {
    let unicast = vrrp.instances.iter().any(|i| i.unicast);
    if vrrp.engine != Engine::Keepalived || !unicast {
        return false;
    }
    let version @ (major, minor, patch) = keepalived_version(build);
    let known = version >= CHECKS_UNICAST_SOURCES;
    if !known {
        build.note(format!(
            "keepalived {major}.{minor}.{patch} cannot check who sends it unicast adverts: any address that reaches the host can \
             take the VIP; `yum update keepalived` brings a version that does"
        ));
    }
    known
}

/// Refuses words that the host's keepalived would skip with a line in its log and nothing else.
fn check_version(build: &mut Build, vrrp: &Vrrp) -> Result<(), DesiredError> {
    let version = keepalived_version(build);
    let (major, minor, patch) = version;
    let mut unknown = Vec::new();
    if version < (2, 0, 0) && !vrrp.track_processes.is_empty() {
        unknown.push("track_process");
    }
    if version < (2, 0, 0) && vrrp.scripts.iter().any(|s| s.init_fail) {
        unknown.push("init_fail");
    }
    // 2.2.7 says "invalid number" and drops the line.
    if version < (2, 3, 0) && vrrp.scripts.iter().any(|s| s.interval.fract() != 0.0) {
        unknown.push("a script interval in fractions of a second");
    }
    if version < (2, 4, 2) && vrrp.instances.iter().any(|i| i.auth_hmac.is_some()) {
        return Err(build.impossible(
            format!("keepalived {major}.{minor}.{patch} does not know auth_hmac: it would skip it, and adverts would go out unsigned"),
            "write engine: agent, install keepalived 2.4.2 or later on both hosts, or leave auth_hmac out",
        ));
    }
    if !unknown.is_empty() {
        return Err(build.impossible(
            format!("keepalived {major}.{minor} does not know {}", unknown.join(", ")),
            "leave these keys out, or write whole seconds; release 7 has keepalived 1.3, 8 has 2.1, 9 and 10 have 2.2",
        ));
    }
    if version < (1, 3, 0) {
        build.note(format!(
            "keepalived {major}.{minor} knows neither enable_script_security nor script_user and skips them; yum \
             update keepalived brings 1.3.5"
        ));
    }
    Ok(())
}

fn global(build: &mut Build, vrrp: &Vrrp) -> Result<GlobalView, DesiredError> {
    let defs: &GlobalDefs = &vrrp.global_defs;
    let router_id = defs.router_id.get(&build.host.name).unwrap_or(&build.host.name).clone();
    build.guard(Syntax::KeepalivedWord, "vrrp.global_defs.router_id", &router_id)?;
    for address in &defs.notification_email {
        build.guard(Syntax::KeepalivedWord, "vrrp.global_defs.notification_email", address)?;
    }
    let single = [
        ("notification_email_from", &defs.notification_email_from),
        // `address port` are two words.
        ("smtp_server", &defs.smtp_server),
        ("script_user", &defs.script_user),
    ];
    for (key, value) in single {
        for word in value.iter().flat_map(|v| v.split(' ')) {
            build.guard(Syntax::KeepalivedWord, &format!("vrrp.global_defs.{key}"), word)?;
        }
    }
    // A script runs as root only where this is said; a notify script is a script too.
    let runs_scripts = !vrrp.scripts.is_empty() || vrrp.instances.iter().any(|i| i.notify != Default::default());
    let script_user = defs
        .script_user
        .clone()
        .or_else(|| runs_scripts.then(|| "root".to_owned()));
    let check_unicast_src = check_unicast_src(build, vrrp);
    let recent = keepalived_version(build) >= (2, 0, 0);
    let mut interval = |key: &str, value: Option<f64>| {
        let value = value?;
        if value == 0.0 && recent {
            build.note(format!(
                "{key} 0 is left out: it is the default, and `keepalived -t` of this version takes it for an error"
            ));
            return None;
        }
        Some(number(value))
    };
    Ok(GlobalView {
        notification_email: defs.notification_email.clone(),
        notification_email_from: defs.notification_email_from.clone(),
        smtp_server: defs.smtp_server.clone(),
        smtp_connect_timeout: defs.smtp_connect_timeout.map(|s| s.to_string()),
        router_id,
        vrrp_skip_check_adv_addr: defs.vrrp_skip_check_adv_addr,
        vrrp_garp_interval: interval("vrrp_garp_interval", defs.vrrp_garp_interval),
        vrrp_gna_interval: interval("vrrp_gna_interval", defs.vrrp_gna_interval),
        vrrp_check_unicast_src: check_unicast_src,
        script_user,
        enable_script_security: defs.enable_script_security || runs_scripts,
    })
}

fn script_views(build: &Build, all: &[Script], commands: Vec<String>) -> Result<Vec<ScriptView>, DesiredError> {
    let mut views = Vec::new();
    for (script, command) in all.iter().zip(commands) {
        build.guard(Syntax::KeepalivedWord, "vrrp.scripts.name", &script.name)?;
        for word in script.user.iter().flat_map(|u| u.split(' ')) {
            build.guard(Syntax::KeepalivedWord, "vrrp.scripts.user", word)?;
        }
        views.push(ScriptView {
            name: script.name.clone(),
            command,
            interval: number(script.interval),
            timeout: script.timeout,
            weight: script.weight,
            fall: script.fall,
            rise: script.rise,
            user: script.user.clone(),
            init_fail: script.init_fail,
        });
    }
    Ok(views)
}

fn process_views(build: &Build, all: &[TrackProcess]) -> Result<Vec<TrackProcessView>, DesiredError> {
    let mut views = Vec::new();
    for track in all {
        build.guard(Syntax::KeepalivedWord, "vrrp.track_processes.name", &track.name)?;
        build.guard(Syntax::KeepalivedWord, "vrrp.track_processes.process", &track.process)?;
        views.push(TrackProcessView {
            name: track.name.clone(),
            process: track.process.clone(),
            weight: track.weight,
            delay: track.delay.map(number),
        });
    }
    Ok(views)
}
