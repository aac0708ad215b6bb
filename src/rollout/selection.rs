//! Which transactions a rollback means.

use super::error::{RolloutError, RolloutErrorKind};
use crate::state::{Transaction, TransactionOutcome, TxnId};

/// Which transactions to roll back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of the last run that is in force on either host.
    LastRun,
    /// One transaction, or with the part that the transactions of one run share, all of that run.
    Named(TxnId),
    /// All that a host remembers.
    Everything,
}

/// What is in force of them, newest first, for each host.
///
/// # Errors
/// Neither host knows it, or it cannot be rolled back.
pub(super) fn select(histories: &[Vec<Transaction>; 2], which: &Selection) -> Result<[Vec<TxnId>; 2], RolloutError> {
    let pick = |wanted: &dyn Fn(&Transaction) -> bool| {
        histories.each_ref().map(|history| {
            let newest = history.iter().rev().filter(|t| t.can_be_rolled_back() && wanted(t));
            newest.map(|t| t.id.clone()).collect::<Vec<_>>()
        })
    };
    let name = match which {
        Selection::Everything => return Ok(pick(&|_| true)),
        Selection::LastRun => {
            let all = histories.iter().flatten().filter(|t| t.can_be_rolled_back());
            let last = all.map(|t| t.id.stamp()).max().map(str::to_owned);
            return Ok(last.map_or_else(Default::default, |last| pick(&|t| t.id.stamp() == last)));
        }
        Selection::Named(name) => name,
    };
    let is_meant = |t: &Transaction| t.id == *name || t.id.stamp() == name.as_str();
    let mut meant = histories.iter().flatten().filter(|t| is_meant(t)).peekable();
    if meant.peek().is_none() {
        let message = format!("there is no transaction {name} on either host");
        return Err(RolloutError::of(RolloutErrorKind::Usage, message)
            .hint("`hapair status` names the last ones; older ones are no longer kept"));
    }
    for transaction in meant {
        let why = if transaction.outcome == TransactionOutcome::Running {
            "it still runs"
        } else if !transaction.rolls_back.is_empty() {
            "it is a rollback itself"
        } else {
            continue;
        };
        let message = format!("transaction {} cannot be rolled back: {why}", transaction.id);
        return Err(RolloutError::of(RolloutErrorKind::Usage, message).hint("run `hapair apply` to go forward"));
    }
    Ok(pick(&is_meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(id: &str, outcome: TransactionOutcome, rolls_back: &[&str]) -> Transaction {
        Transaction {
            id: TxnId::new(id).expect("valid"),
            at_ms: 0,
            operator: "ann@desk".into(),
            outcome,
            changed: 1,
            rolls_back: rolls_back.iter().map(|id| TxnId::new(id).expect("valid")).collect(),
        }
    }

    const FIRST: [&str; 3] = [
        "20261122T164512Z-3f9a-1",
        "20261122T164512Z-3f9a-2",
        "20261122T164512Z-3f9a-3",
    ];
    const SECOND: &str = "20261123T080000Z-0001-1";
    const ROLLBACK: &str = "20261123T090000Z-0002-1";

    /// Two runs; the second is only on the first host, and rolled back there if so asked.
    fn histories(second: TransactionOutcome) -> [Vec<Transaction>; 2] {
        use TransactionOutcome::{Applied, Interrupted, Reverted};
        let mut first = vec![
            transaction(FIRST[0], Applied, &[]),
            transaction(FIRST[1], Applied, &[]),
            transaction(SECOND, second, &[]),
        ];
        if second == TransactionOutcome::RolledBack {
            first.push(transaction(ROLLBACK, Applied, &[SECOND]));
        }
        let other = vec![
            transaction(FIRST[0], Reverted, &[]),
            transaction(FIRST[1], Applied, &[]),
            transaction(FIRST[2], Interrupted, &[]),
        ];
        [first, other]
    }

    fn chosen(histories: &[Vec<Transaction>; 2], which: &Selection) -> [Vec<String>; 2] {
        let chosen = select(histories, which).expect("something is meant");
        chosen.map(|ids| ids.iter().map(TxnId::to_string).collect())
    }

    fn named(text: &str) -> Selection {
        Selection::Named(TxnId::new(text).expect("valid"))
    }

    #[test]
    fn the_last_run_is_the_last_that_is_in_force_on_either_host() {
        let with_second = histories(TransactionOutcome::Applied);
        assert_eq!(
            chosen(&with_second, &Selection::LastRun),
            [vec![SECOND.to_owned()], vec![]]
        );
        let without = histories(TransactionOutcome::RolledBack);
        let run = [vec![FIRST[1], FIRST[0]], vec![FIRST[2], FIRST[1]]];
        assert_eq!(chosen(&without, &Selection::LastRun), run);
        assert_eq!(chosen(&without, &named("20261122T164512Z-3f9a")), run);
        assert_eq!(chosen(&without, &Selection::Everything), run);
        assert_eq!(
            chosen(&[vec![], vec![]], &Selection::LastRun),
            [Vec::<String>::new(), vec![]]
        );
    }

    #[test]
    fn one_transaction_is_meant_wherever_it_is() {
        let histories = histories(TransactionOutcome::RolledBack);
        assert_eq!(chosen(&histories, &named(FIRST[1])), [[FIRST[1]], [FIRST[1]]]);
        assert_eq!(chosen(&histories, &named(SECOND)), [Vec::<String>::new(), vec![]]);
        let unknown = select(&histories, &named("20200101T000000Z-0000")).expect_err("unknown");
        assert_eq!(unknown.kind, RolloutErrorKind::Usage);
        let rollback = select(&histories, &named(ROLLBACK)).expect_err("a rollback is not rolled back");
        assert!(rollback.message.contains("it is a rollback itself"), "{rollback}");
    }
}
