//! `hapair check`: what stands in the way of an apply, on one screen. Changes nothing.

use serde_json::json;

use crate::cli::args::{CheckArgs, Global};
use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::findings::{self, Shown};
use crate::cli::session::Session;
use crate::cli::ui::Ui;
use crate::rollout;
use crate::state::{Finding, FindingId, Severity};

pub(crate) async fn run(global: &Global, args: &CheckArgs, ui: &Ui) -> Result<Exit, Failure> {
    let session = Session::load(global)?;
    let mut cx = session.context(ui)?;
    let mut pair = session.planned_pair(&mut cx).await?;
    let found = rollout::preflight(&cx, &mut pair).await?;
    ui.finish();
    findings::show(ui, &found, Shown::All);
    ui.say(verdict(&found, &args.accepted.accept));
    let blocking = findings::blocking(&found, &args.accepted.accept);
    let exit = if blocking.is_empty() { Exit::Done } else { Exit::Blocked };
    ui.summary(
        "check",
        exit,
        json!({}),
        json!({ "findings": findings::counts(&found) }),
    );
    if !blocking.is_empty() {
        ui.note(findings::how_to_accept(&blocking));
    }
    pair.close().await;
    Ok(exit)
}

/// One line about all of them.
fn verdict(found: &[Finding], accepted: &[FindingId]) -> String {
    let blocks = found.iter().filter(|f| f.blocks(accepted)).count();
    match (blocks, findings::count(found, Severity::Warns)) {
        (0, 0) => "nothing stands in the way of an apply".to_owned(),
        (0, warns) => format!("nothing blocks an apply; {warns} to look at"),
        (blocks, 0) => format!("{blocks} to settle before an apply"),
        (blocks, warns) => format!("{blocks} to settle before an apply, {warns} to look at"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_whether_to_go_on() {
        let finding = |severity| Finding::new(FindingId::DiskLow, severity, "cause", "remedy");
        let (block, warn, note) = (
            finding(Severity::Blocks),
            finding(Severity::Warns),
            finding(Severity::Notes),
        );
        assert_eq!(verdict(&[], &[]), "nothing stands in the way of an apply");
        assert_eq!(verdict(&[note], &[]), "nothing stands in the way of an apply");
        assert_eq!(
            verdict(std::slice::from_ref(&warn), &[]),
            "nothing blocks an apply; 1 to look at"
        );
        assert_eq!(
            verdict(std::slice::from_ref(&block), &[]),
            "1 to settle before an apply"
        );
        assert_eq!(
            verdict(std::slice::from_ref(&block), &[FindingId::DiskLow]),
            "nothing stands in the way of an apply"
        );
        assert_eq!(
            verdict(&[block, warn], &[]),
            "1 to settle before an apply, 1 to look at"
        );
    }
}
