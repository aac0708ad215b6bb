//! The wish of the operator to stop.

use tokio::sync::watch;

use super::error::{RolloutError, RolloutErrorKind};
use crate::state::TxnId;

/// How often the operator has asked to stop. Once: the running transaction is reverted. Twice: the run ends at once.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<u32>);

/// The other end of an [`Interrupt`]: the code that listens to the operator.
#[derive(Debug)]
pub struct InterruptSender(watch::Sender<u32>);

impl InterruptSender {
    /// The operator asks to stop, perhaps not for the first time.
    pub fn ask(&self) {
        self.0.send_modify(|times| *times += 1);
    }
}

impl Interrupt {
    /// Both ends; nobody has asked yet.
    pub fn channel() -> (InterruptSender, Interrupt) {
        let (sender, receiver) = watch::channel(0);
        (InterruptSender(sender), Interrupt(receiver))
    }

    /// How often the operator has asked so far.
    pub fn count(&self) -> u32 {
        *self.0.borrow()
    }

    /// Completes when the operator has asked more often than `times`; never, if the sender is gone.
    pub async fn more_than(&self, times: u32) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|now| *now > times).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Waits for a host that is out of reach. There is no one to send a cancel to, so Ctrl-C leaves at once.
pub(super) async fn unless_leaving(
    interrupt: &Interrupt,
    txn: &TxnId,
    wait: impl Future<Output = Result<(), RolloutError>>,
) -> Result<(), RolloutError> {
    let times = interrupt.count();
    tokio::select! {
        result = wait => result,
        () = interrupt.more_than(times) => {
            let message = format!("interrupted while the host could not be reached during transaction {txn}");
            Err(RolloutError::of(RolloutErrorKind::Failed, message)
                .hint("the host reverts an unconfirmed change automatically")
                .hint("run the same command again when the host answers"))
        }
    }
}
