//! The wish of the operator to stop.

use super::error::{RolloutError, RolloutErrorKind};
use crate::state::TxnId;

/// Number of times the operator asked to stop. Once: put the running transaction back; twice: leave at once.
pub type Interrupt = tokio::sync::watch::Receiver<u32>;

/// Waits for a host that is out of reach. There is no one to send a cancel to, so Ctrl-C leaves at once.
pub(super) async fn unless_leaving(
    interrupt: &mut Interrupt,
    txn: &TxnId,
    wait: impl Future<Output = Result<(), RolloutError>>,
) -> Result<(), RolloutError> {
    let times = *interrupt.borrow_and_update();
    tokio::select! {
        result = wait => result,
        () = more_than(interrupt, times) => {
            let message = format!("interrupted while the host is out of reach in transaction {txn}");
            Err(RolloutError::pair(RolloutErrorKind::Failed, message)
                .hint("the host takes back by itself what is not confirmed")
                .hint("run the same command again when it answers"))
        }
    }
}

/// Completes when the operator asked more often than `times`.
pub(super) async fn more_than(interrupt: &mut Interrupt, times: u32) {
    if interrupt.wait_for(|now| *now > times).await.is_err() {
        std::future::pending().await
    }
}
