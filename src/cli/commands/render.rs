//! `hapair render`: every file a host would get. Needs no host.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde_json::json;

use crate::cli::args::{Global, RenderArgs};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::secrets;
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::cli::whole_file;
use crate::desired::{self, Secrets};
use crate::state::Secret;
use crate::state::error::Doing;
use crate::state::redact::redact;

pub(crate) fn run(global: &Global, args: &RenderArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let inventory = &session.inventory;
    if let Some(host) = args.host.as_deref().filter(|h| inventory.host(h).is_none()) {
        return Err(Failure::usage(format!(
            "no host `{host}` in {}",
            inventory.path.display()
        )));
    }
    let mut secrets = Secrets::masked(inventory);
    let mut prompt = |text: &str| rpassword::prompt_password(format!("{text}: ")).ok().map(Secret::new);
    for instance in inventory.vrrp.iter().flat_map(|v| &v.instances) {
        // What the inventory leaves out is on the hosts, which this command does not ask.
        for key in instance.auth_hmac.iter().flat_map(|auth| &auth.keys) {
            if let Some(source) = &key.key {
                let secret = secrets::resolve(inventory, source, &mut prompt)?;
                secrets.set_hmac_key(&instance.name, key.id, secret);
            }
        }
        if let Some(source) = &instance.auth_pass {
            secrets.set_auth_pass(&instance.name, secrets::resolve(inventory, source, &mut prompt)?);
        }
    }
    let mut written = 0;
    for host in inventory
        .hosts
        .iter()
        .filter(|h| args.host.as_ref().is_none_or(|name| *name == h.name))
    {
        let facts = desired::assumed_facts(inventory, &host.name, host.release.unwrap_or(args.release));
        let state = desired::host_state(inventory, &host.name, &facts, &session.templates, &secrets)
            .map_err(|e| e.with_kind(Exit::Usage))?;
        for file in desired::files(&state) {
            match &args.out {
                Some(directory) => {
                    let to = directory.join(&host.name).join(file.path.trim_start_matches('/'));
                    write_private(&to, &file.content)?;
                }
                // On a terminal, in a pipe or a CI log a secret has nothing to do; --out writes it.
                None => {
                    let shown = redact(&file.content, &state.secrets);
                    ui.say(format!(
                        "# {}:{} (mode {:04o})\n{shown}",
                        host.name, file.path, file.mode
                    ));
                    ui.json(&json!({
                        "type": "file", "host": host.name, "path": file.path,
                        "mode": format!("{:04o}", file.mode), "content": shown,
                    }));
                }
            }
            written += 1;
        }
    }
    if let Some(directory) = &args.out {
        ui.note(format!("{written} files written below {}", directory.display()));
    }
    ui.summary("render", Exit::Done, json!({}), json!({ "files": written }));
    Ok(Exit::Done)
}

/// The files hold secrets: nobody but the operator may read them.
fn write_private(path: &Path, content: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .at("write", path)?;
    }
    Ok(whole_file::write(path, 0o600, content.as_bytes())?)
}
