//! Findings on the screen, and what those that block do to a command.

use serde_json::{Value, json};

use super::error::Failure;
use super::exit::Exit;
use super::ui::Ui;
use crate::state::{Finding, FindingId, Severity};

/// Which findings a command shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of them.
    All,
    /// Those that block or warn.
    Serious,
}

/// Shows findings, the worst first: two lines each for people, an object each in JSON.
pub(crate) fn show(ui: &Ui, findings: &[Finding], shown: Shown) {
    let shown = findings
        .iter()
        .filter(|f| shown == Shown::All || f.severity != Severity::Notes);
    for finding in shown {
        ui.json(&object(finding));
        let word = finding.severity.name();
        let word = match finding.severity {
            Severity::Blocks => ui.style.red(word),
            Severity::Warns => ui.style.yellow(word),
            Severity::Notes => ui.style.dim(word),
        };
        let host = finding.host.as_deref().map(|host| format!("{}: ", ui.style.bold(host)));
        ui.say(format!(
            "{word} {}: {}{}",
            finding.id,
            host.unwrap_or_default(),
            finding.cause
        ));
        ui.say(format!("  remedy: {}", finding.remedy));
    }
}

fn object(finding: &Finding) -> Value {
    let mut object = json!({ "type": "finding" });
    if let (Some(all), Ok(Value::Object(more))) = (object.as_object_mut(), serde_json::to_value(finding)) {
        all.extend(more);
    }
    object
}

/// How many there are of a severity.
pub(crate) fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|f| f.severity == severity).count()
}

/// How many there are of each severity, for the summary.
pub(crate) fn counts(findings: &[Finding]) -> Value {
    let [blocks, warns, notes] =
        [Severity::Blocks, Severity::Warns, Severity::Notes].map(|severity| count(findings, severity));
    json!({ "blocks": blocks, "warns": warns, "notes": notes })
}

/// The ids that block, each once.
pub(crate) fn blocking(findings: &[Finding], accepted: &[FindingId]) -> Vec<FindingId> {
    let mut ids: Vec<FindingId> = findings.iter().filter(|f| f.blocks(accepted)).map(|f| f.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// `--accept ID` for each: one by one, so that nobody accepts what was not read.
pub(crate) fn options(ids: &[FindingId]) -> String {
    let options: Vec<String> = ids.iter().map(|id| format!("--accept {id}")).collect();
    options.join(" ")
}

/// How to go on although these block.
pub(crate) fn how_to_accept(ids: &[FindingId]) -> String {
    format!("follow the remedy; `{}` goes on all the same", options(ids))
}

/// Refuses to go on if a finding blocks that was not accepted.
pub(crate) fn refuse(findings: &[Finding], accepted: &[FindingId]) -> Result<(), Failure> {
    let ids = blocking(findings, accepted);
    if ids.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = ids.iter().map(|id| id.name()).collect();
    let verb = if ids.len() == 1 { "blocks" } else { "block" };
    let message = format!("not applied: {} {verb}; neither host was changed", names.join(" and "));
    Err(Failure::new(Exit::Blocked, message).hint(how_to_accept(&ids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: FindingId, severity: Severity) -> Finding {
        Finding::new(id, severity, "cause", "remedy")
    }

    #[test]
    fn what_blocks_is_refused_unless_each_id_is_accepted() {
        let findings = [
            finding(FindingId::VipInUse, Severity::Blocks),
            finding(FindingId::PortTaken, Severity::Blocks).on("web1"),
            finding(FindingId::PortTaken, Severity::Blocks).on("web2"),
            finding(FindingId::DiskLow, Severity::Warns),
        ];
        let failure = refuse(&findings, &[]).expect_err("it blocks");
        assert_eq!(failure.exit().code(), 7);
        assert_eq!(
            failure.error.message,
            "not applied: vip-in-use and port-taken block; neither host was changed"
        );
        assert!(failure.error.hints[0].contains("`--accept vip-in-use --accept port-taken`"));
        let failure = refuse(&findings, &[FindingId::PortTaken]).expect_err("one is left");
        assert_eq!(
            failure.error.message,
            "not applied: vip-in-use blocks; neither host was changed"
        );
        assert!(refuse(&findings, &[FindingId::PortTaken, FindingId::VipInUse]).is_ok());
        assert!(refuse(&findings[3..], &[]).is_ok());
    }

    #[test]
    fn in_json_the_type_comes_with_the_rest() {
        let object = object(&finding(FindingId::PortTaken, Severity::Blocks).on("web1"));
        assert_eq!(
            object,
            json!({ "type": "finding", "host": "web1", "id": "port-taken", "severity": "blocks",
                "cause": "cause", "remedy": "remedy" })
        );
        let counts = counts(&[finding(FindingId::PortTaken, Severity::Blocks)]);
        assert_eq!(counts, json!({ "blocks": 1, "warns": 0, "notes": 0 }));
    }
}
