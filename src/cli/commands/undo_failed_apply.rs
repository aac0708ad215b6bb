//! What becomes of an apply that failed halfway.

use serde_json::json;

use crate::cli::error::Failure;
use crate::cli::exit::Exit;
use crate::cli::ui::Ui;
use crate::rollout::{
    self, ApplyOptions, ApplyReport, Context, Interrupt, Pair, RollbackOptions, RollbackReport, RolloutError, Selection,
};
use crate::state::{Error, Foreign, Goal, TxnId};

/// A run that failed.
pub(super) struct FailedRun<'a> {
    /// What it had done before.
    pub(super) report: &'a ApplyReport,
    /// The operator wants that back without being asked.
    pub(super) undo_on_failure: bool,
    /// How it was applied.
    pub(super) options: &'a ApplyOptions,
    /// Whom to ask and tell.
    pub(super) ui: &'a Ui,
}

impl FailedRun<'_> {
    /// Rolls back what the run did, if the operator wants it. Returns how the command ends.
    pub(super) async fn undo(
        &self,
        cx: &Context<'_>,
        pair: &mut Pair,
        failure: Failure,
        interrupt: Interrupt,
    ) -> Failure {
        let (report, options, ui) = (self.report, self.options, self.ui);
        let Some(stamp) = &report.stamp else { return failure };
        let way = format!("run `hapair rollback {stamp}` to roll back what this run did on both hosts");
        if failure.exit() == Exit::Unreachable {
            return failure.hint(way);
        }
        if !self.undo_on_failure {
            if !ui.asks() || !ui.can_ask() {
                return failure.hint(way);
            }
            ui.finish();
            failure.report(ui);
            if !matches!(ui.confirm("roll back what this run did before the failure?"), Ok(true)) {
                return stopped_halfway(failure, way);
            }
        }
        let back = RollbackOptions {
            confirm_timeout: options.confirm_timeout,
            operator: options.operator.clone(),
            gate_timeout: options.gate_timeout,
            left_stopped: report.left_stopped,
        };
        let undone = async {
            let which = Selection::Named(TxnId::new(stamp).expect("letters, digits and dashes"));
            let what = rollout::plan_rollback(pair, &which, Foreign::Refuse, Goal::Rollback).await?;
            let mut done = RollbackReport::default();
            rollout::rollback(cx, pair, &what, &back, interrupt, &mut done).await?;
            Ok::<_, RolloutError>(done)
        };
        match undone.await {
            Ok(done) => {
                let stays = done.stays.into_iter().flatten();
                let more = "; everything that this run did was rolled back on both hosts";
                Failure {
                    changed: json!({}),
                    ..failure.map(|error| error.followed_by(more).with_hints(stays).with_kind(Exit::RolledBack))
                }
            }
            Err(why) => {
                let more = format!("\nrolling back what this run did failed too: {why:#}");
                failure.map(|error| {
                    let error = error.followed_by(more).with_kind(Exit::Failed);
                    error.with_hints(why.hints).hint(way)
                })
            }
        }
    }
}

/// The failure has been told; what is left to say is where the run stands.
fn stopped_halfway(failure: Failure, way: String) -> Failure {
    Failure {
        verbatim: false,
        ..failure.map(|error| Error::of(error.kind, "stopped halfway").hint(way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declined_undo_keeps_what_the_summary_tells() {
        let failure = Failure {
            changed: json!({ "web1": 3, "web2": 0 }),
            ..Failure::from(Error::on("web2", Exit::RolledBack, "no space left").hint("free some"))
        };
        let left = stopped_halfway(failure, "`hapair rollback X`".to_owned());
        assert_eq!(left.exit(), Exit::RolledBack);
        assert_eq!(left.changed, json!({ "web1": 3, "web2": 0 }));
        assert_eq!(
            (left.error.in_full().as_str(), &left.error.hints[..]),
            ("stopped halfway", &["`hapair rollback X`".to_owned()][..])
        );
    }
}
