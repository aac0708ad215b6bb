//! In which order the hosts are rolled back.

use crate::inventory::Side;
use crate::state::Goal;

/// Which engines run when a rollback begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnginesRunning {
    /// A living pair.
    LivingPair,
    /// Some engine does.
    Some,
    /// Nothing does.
    None,
}

/// In which order the hosts are rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RollbackOrder {
    /// One after the other, the standby first.
    InTurn,
    /// The owner first, while the standby's engine is stopped.
    StandbyStopped,
    /// Not at all: only this host would change election settings.
    Refused(Side),
}

/// `critical`, by host: the rollback changes its election settings, and its engine runs afterwards.
pub(super) fn order(running: EnginesRunning, critical: [bool; 2], goal: Goal, owner: Side) -> RollbackOrder {
    match (critical, goal) {
        ([false, false], _) => RollbackOrder::InTurn,
        _ if running == EnginesRunning::None => RollbackOrder::InTurn,
        ([true, true], _) => RollbackOrder::StandbyStopped,
        // The other host is rolled back too: the two agree as they did before hapair, or the pair ends.
        (_, Goal::Remove | Goal::RemoveWithPackages) => RollbackOrder::StandbyStopped,
        // The other host has rolled these settings back already, and its engine is stopped.
        (_, Goal::Rollback) if running == EnginesRunning::Some && critical[owner] => RollbackOrder::StandbyStopped,
        ([first, _], Goal::Rollback) => RollbackOrder::Refused(Side::first_if(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn election_settings_are_never_rolled_back_with_both_engines_running() {
        for goal in [Goal::Rollback, Goal::Remove, Goal::RemoveWithPackages] {
            for running in [EnginesRunning::LivingPair, EnginesRunning::Some] {
                assert_eq!(
                    order(running, [true, true], goal, Side::First),
                    RollbackOrder::StandbyStopped
                );
                assert_eq!(order(running, [false, false], goal, Side::First), RollbackOrder::InTurn);
            }
            assert_eq!(
                order(EnginesRunning::None, [true, true], goal, Side::First),
                RollbackOrder::InTurn
            );
        }
        // A pair that lived before hapair on one host only.
        assert_eq!(
            order(EnginesRunning::LivingPair, [true, false], Goal::Remove, Side::First),
            RollbackOrder::StandbyStopped
        );
        assert_eq!(
            order(EnginesRunning::LivingPair, [false, true], Goal::Rollback, Side::First),
            RollbackOrder::Refused(Side::Second)
        );
        assert_eq!(
            order(EnginesRunning::LivingPair, [true, false], Goal::Rollback, Side::First),
            RollbackOrder::Refused(Side::First)
        );
    }

    #[test]
    fn beside_a_stopped_engine_only_the_running_host_rolls_back_alone() {
        // As after a run that failed on its second host.
        assert_eq!(
            order(EnginesRunning::Some, [true, false], Goal::Rollback, Side::First),
            RollbackOrder::StandbyStopped
        );
        // It would start with what the owner rejects.
        assert_eq!(
            order(EnginesRunning::Some, [false, true], Goal::Rollback, Side::First),
            RollbackOrder::Refused(Side::Second)
        );
    }
}
