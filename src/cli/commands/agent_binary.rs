//! `hapair agent-binary`: the agent that `apply` would install, for hosts prepared by hand.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::ui::Ui;
use crate::payload;
use crate::state::error::Doing;

pub(crate) fn run(file: &Path, ui: &Ui) -> Result<Exit, Failure> {
    let mut options = std::fs::OpenOptions::new();
    let mut out = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(file)
        .at("write", file)?;
    out.write_all(payload::AGENT).at("write", file)?;
    ui.note(format!(
        "{}: {} bytes, {}",
        file.display(),
        payload::AGENT.len(),
        payload::agent_hash()
    ));
    ui.summary(
        "agent-binary",
        Exit::Done,
        serde_json::json!({}),
        serde_json::json!({ "bytes": payload::AGENT.len(), "hash": payload::agent_hash() }),
    );
    Ok(Exit::Done)
}
