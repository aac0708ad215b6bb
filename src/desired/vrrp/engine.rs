//! The engine that speaks VRRP on the host: its program, its unit, its service; the other engine is off.

use crate::desired::build::{Build, TextFile};
use crate::desired::error::DesiredError;
use crate::inventory::Vrrp;
use crate::state::{Content, Engine, Reaction, Spec, Stage, Validator};

/// Where the daemon lies: apart from the executor, so that only an apply replaces it, and at a path that SELinux's
/// policy labels bin_t.
pub(crate) const AGENT_PROGRAM: &str = "/usr/local/sbin/hapair-agent";
const AGENT_UNIT: &str = "etc/systemd/system/hapair-agent.service.tera";
const AGENT_UNIT_PATH: &str = "/etc/systemd/system/hapair-agent.service";
const DROP_IN: &str = "etc/systemd/system/keepalived.service.d/hapair.conf.tera";
const DROP_IN_PATH: &str = "/etc/systemd/system/keepalived.service.d/hapair.conf";

/// What a keepalived.conf for this engine must pass.
pub(crate) fn validator(engine: Engine) -> Validator {
    match engine {
        Engine::Agent => Validator::Agent,
        Engine::Keepalived => Validator::Keepalived,
    }
}

/// What must be there before the engine's service starts.
pub(crate) fn add_program(build: &mut Build, vrrp: &Vrrp) -> Result<(), DesiredError> {
    let engine = vrrp.engine;
    let view = serde_json::json!({
        "program": AGENT_PROGRAM,
        "metrics_listen": vrrp.metrics_listen,
        "other_engine": engine.other().unit(),
    });
    if engine == Engine::Keepalived {
        let text = build.render(DROP_IN, &view)?;
        build.push_file(
            Stage::Vrrp,
            TextFile {
                path: DROP_IN_PATH,
                content: text,
                mode: 0o644,
                validator: None,
                reactions: vec![Reaction::DaemonReload],
            },
        );
        return Ok(());
    }
    let restart = Reaction::Restart {
        unit: engine.unit().to_owned(),
    };
    let program = Spec::File {
        path: AGENT_PROGRAM.to_owned(),
        content: Content::Executor,
        mode: 0o755,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        validator: None,
    };
    build
        .push(Stage::Vrrp, format!("file {AGENT_PROGRAM}"), program)
        .reactions
        .push(restart.clone());
    let text = build.render(AGENT_UNIT, &view)?;
    build.push_file(
        Stage::Vrrp,
        TextFile {
            path: AGENT_UNIT_PATH,
            content: text,
            mode: 0o644,
            validator: Some(Validator::Unit),
            reactions: vec![Reaction::DaemonReload, restart],
        },
    );
    Ok(())
}

/// The other engine off, then this one on, with nothing in between: on a living pair the peer has the VIP meanwhile.
pub(crate) fn add_services(build: &mut Build, engine: Engine) {
    build.push_stopped(Stage::Vrrp, engine.other().unit());
    build.push_running(Stage::Vrrp, engine.unit());
}
