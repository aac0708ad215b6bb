//! `hapair agent-binary`: the agent that `apply` would install, for hosts prepared by hand.

use std::path::Path;

use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::ui::Ui;
use crate::cli::whole_file;
use crate::payload;

pub(crate) fn run(file: &Path, ui: &Ui) -> Result<Exit, Failure> {
    whole_file::write(file, 0o755, payload::AGENT)?;
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
