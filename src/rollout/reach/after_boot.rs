//! Waiting until a host answers from another boot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Context;
use super::member::Member;
use crate::remote::Link;
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::state::Facts;
use crate::state::frame::Operator;

/// One try to connect: a host that is just booting accepts before it answers.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);

/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// After an answer from the old boot.
pub(crate) const STILL_THERE: Duration = Duration::from_secs(2);

/// Why a host is not back.
pub(crate) enum Away {
    /// It goes on as it was.
    NeverLeft(RolloutError),
    /// It is gone, or was.
    Gone(RolloutError),
}

/// Connects anew until the host answers from another boot. Each time it must be the same host by key and machine-id.
pub(crate) async fn dial_until_back(
    cx: &Context<'_>,
    member: &mut Member,
    operator: &Operator,
    before: &Facts,
    patience: Duration,
) -> Result<(), Away> {
    let host = member.host().to_owned();
    // Where the inventory says, and where it was.
    let mut targets = member.at_each(&[member.settled(), &member.target.address]);
    for target in &mut targets {
        target.connect_timeout = ATTEMPT;
    }
    let deadline = Instant::now() + patience;
    let mut said = "no answer".to_owned();
    let mut left = false;
    loop {
        for target in &targets {
            let attempt = Link::connect(target, Arc::clone(&cx.ask));
            match tokio::time::timeout_at(deadline.into(), attempt).await {
                Ok(Ok(link)) => {
                    member.no_other_machine(&link, target).map_err(Away::Gone)?;
                    let booted = link.facts().boot_id != before.boot_id;
                    member.continue_over(link, target);
                    if booted {
                        return Ok(());
                    }
                    // Where the old connection is gone, a failure needs this one.
                    member.lock_again(cx.observer, operator).await;
                    left = false;
                    tokio::time::sleep(STILL_THERE).await;
                }
                Ok(Err(error)) => {
                    said = error.bare();
                    left = true;
                }
                Err(_) => {}
            }
        }
        if Instant::now() >= deadline {
            return Err(if left {
                not_back(&host, &said, patience)
            } else {
                never_left(&host, patience)
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The host answered all the time: it never rebooted.
fn never_left(host: &str, patience: Duration) -> Away {
    let message = format!("was asked to reboot {} s ago and has not rebooted", patience.as_secs());
    Away::NeverLeft(
        RolloutError::on(host, RolloutErrorKind::Failed, message)
            .hint("run `systemctl list-jobs` and `journalctl -u hapair-reboot` on the host"),
    )
}

/// The host went down and is not back; `said` is the last connection error.
fn not_back(host: &str, said: &str, patience: Duration) -> Away {
    let seconds = patience.as_secs();
    let message = format!("not back from its reboot within {seconds} s: {said}");
    Away::Gone(
        RolloutError::on(host, RolloutErrorKind::Unreachable, message)
            .hint("the other host continues alone; check the console of this one")
            .hint(
                "raise `--reboot-timeout` for a slow machine; run `hapair apply --reboot` again when the host answers",
            ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_never_went_is_told_from_one_that_did_not_come_back() {
        let patience = Duration::from_secs(30);
        let Away::NeverLeft(error) = never_left("one", patience) else {
            panic!("it answers all the while");
        };
        assert_eq!(error.kind, RolloutErrorKind::Failed);
        let Away::Gone(error) = not_back("one", "connection refused", patience) else {
            panic!("it went and is not back");
        };
        assert_eq!(error.kind, RolloutErrorKind::Unreachable);
        assert!(error.message.contains("connection refused"), "{}", error.message);
    }
}
