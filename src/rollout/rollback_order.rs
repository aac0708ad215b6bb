//! In which order the hosts go back.

use crate::inventory::Side;
use crate::state::Goal;

/// What speaks VRRP when going back begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnginesRunning {
    /// A living pair.
    LivingPair,
    /// Some engine does.
    Some,
    /// Nothing does.
    None,
}

/// In which order the hosts go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RollbackOrder {
    /// One after the other, the standby first.
    InTurn,
    /// The owner first, while the standby is silent.
    StandbyStopped,
    /// Not at all: only this host would change what decides the election.
    Refused(Side),
}

/// `critical`, by host: it goes back in what decides the election, and speaks with the other afterwards.
pub(super) fn order(running: EnginesRunning, critical: [bool; 2], goal: Goal, owner: Side) -> RollbackOrder {
    match (critical, goal) {
        ([false, false], _) => RollbackOrder::InTurn,
        _ if running == EnginesRunning::None => RollbackOrder::InTurn,
        ([true, true], _) => RollbackOrder::StandbyStopped,
        // The other host goes as far back as it can too: the two agree as they did before hapair, or it ends.
        (_, Goal::Remove | Goal::RemoveWithPackages) => RollbackOrder::StandbyStopped,
        // What the other one had of it is gone already, and it does not speak.
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
