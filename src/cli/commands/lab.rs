//! `hapair lab`: the twins by hand.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::json;

use crate::lab::{self, Lab, LabSpec, UpOptions};

use crate::cli::args::{Global, LabCommand};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::secrets;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::rollout::{Observer, Progress};
use crate::state::NetworkManagerKind;

pub(crate) fn run(global: &Global, command: &LabCommand, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    match command {
        LabCommand::Up { nm } => {
            let manager = if *nm {
                NetworkManagerKind::NetworkManager
            } else {
                NetworkManagerKind::NetworkService
            };
            let lab = up(&session, manager, ui)?;
            ui.say(format!(
                "{}: twins of {} are up",
                lab.name(),
                session.inventory.path.display()
            ));
            ways_in(&session, ui);
        }
        LabCommand::Down { purge } => {
            let image = if *purge { Image::Purge } else { Image::Keep };
            down(&session, image, ui)?;
        }
        LabCommand::Status => status(&Lab::open(&session.inventory.name)?, ui)?,
        LabCommand::Ssh { host, command } => {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            return child(Lab::open(&session.inventory.name)?.ssh(host, &words)?);
        }
        LabCommand::Exec { host, command } => {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            return child(Lab::open(&session.inventory.name)?.command(host, &words)?);
        }
    }
    ui.summary("lab", Exit::Done, json!({}), json!({}));
    Ok(Exit::Done)
}

/// What an operator does with twins that are up.
pub(crate) fn ways_in(session: &Session, ui: &Ui) {
    let path = session.inventory.path.display();
    let host = &session.inventory.hosts[0].name;
    ui.note(format!(
        "`hapair -i {path} --lab COMMAND` works on the twins, `hapair -i {path} lab ssh {host}` logs in,"
    ));
    ui.note(format!("`hapair -i {path} lab down` removes them"));
}

/// Boots the twins of an inventory; what is missing on this machine is named, and installed if the operator agrees.
pub(crate) fn up(session: &Session, manager: NetworkManagerKind, ui: &Ui) -> Result<Lab, Failure> {
    install_what_is_missing(ui)?;
    let mut prompt = |text: &str| {
        rpassword::prompt_password(format!("{text}: "))
            .ok()
            .map(crate::state::Secret::new)
    };
    let mut resolve = |source: &crate::inventory::SecretSource| {
        secrets::resolve(&session.inventory, source, &mut prompt).map_err(|failure| failure.error.with_kind(()))
    };
    let mut spec = LabSpec::from_inventory(&session.inventory, None, &mut resolve)?;
    spec.nm = manager == NetworkManagerKind::NetworkManager;
    let lab = Lab::up(spec, UpOptions::default(), &mut |progress| {
        let host = Some(progress.host.unwrap_or_else(|| "lab".to_owned()));
        ui.tell(Progress::Fact {
            host,
            what: progress.text,
        });
    })?;
    Ok(lab)
}

/// What becomes of the image that the next twins would be made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Image {
    Keep,
    Purge,
}

/// Removes the twins.
pub(crate) fn down(session: &Session, image: Image, ui: &Ui) -> Result<(), Failure> {
    lab::down(&session.inventory.name)?;
    if image == Image::Purge {
        lab::purge()?;
    }
    ui.tell(Progress::Fact {
        host: Some("lab".to_owned()),
        what: "twins are stopped and removed".to_owned(),
    });
    Ok(())
}

pub(crate) fn install_what_is_missing(ui: &Ui) -> Result<(), Failure> {
    let missing = lab::requirements();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        ui.note(format!(
            "missing: {} (Debian package {}): {}",
            need.program, need.package, need.purpose
        ));
    }
    match ui.confirm("install these packages with apt-get?") {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::new(
                Exit::Failed,
                "the twins need programs that are not installed",
            ));
        }
        Err(why) => {
            return Err(Failure::new(Exit::Usage, format!("programs are missing, and {why}"))
                .hint("pass --yes to install them without asking"));
        }
    }
    lab::install_requirements(&mut |line| {
        ui.tell(Progress::Wait {
            host: Some("lab".to_owned()),
            what: format!("apt-get: {line}"),
        });
    })?;
    Ok(())
}

fn status(lab: &Lab, ui: &Ui) -> Result<(), Failure> {
    let status = lab.status()?;
    for host in &status.hosts {
        let state = if host.running {
            ui.style.green("running")
        } else {
            ui.style.red("off")
        };
        ui.say(format!(
            "{}: {state}, {} on {}",
            host.name, host.address, host.interface
        ));
        ui.json(&json!({
            "type": "twin", "host": host.name, "running": host.running, "address": host.address,
            "interface": host.interface,
        }));
    }
    Ok(())
}

/// Runs a command in the foreground; its exit code becomes ours, as with `ssh`.
fn child(mut command: Command) -> Result<Exit, Failure> {
    let status = command.status()?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(Exit::Child(u8::try_from(code).unwrap_or(1)))
}
