//! In which order the hosts go back.

use crate::inventory::Side;
use crate::state::Goal;

/// What speaks VRRP when going back begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// A living pair.
    Pair,
    /// Some engine does.
    Half,
    /// Nothing does.
    Nothing,
}

/// In which order the hosts go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One after the other, the standby first.
    InTurn,
    /// The owner first, while the standby is silent.
    StandbySilent,
    /// Not at all: only this host would change what decides the election.
    Refused(Side),
}

/// `critical`, by host: it goes back in what decides the election, and speaks with the other afterwards.
pub(super) fn way(life: Life, critical: [bool; 2], goal: Goal, owner: Side) -> Way {
    match (critical, goal) {
        ([false, false], _) => Way::InTurn,
        _ if life == Life::Nothing => Way::InTurn,
        ([true, true], _) => Way::StandbySilent,
        // The other host goes as far back as it can too: the two agree as they did before hapair, or it ends.
        (_, Goal::Remove | Goal::RemoveWithPackages) => Way::StandbySilent,
        // What the other one had of it is gone already, and it does not speak.
        (_, Goal::Rollback) if life == Life::Half && critical[owner] => Way::StandbySilent,
        ([first, _], Goal::Rollback) => Way::Refused(Side::first_if(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_back_in_what_decides_the_election_with_both_speaking() {
        for goal in [Goal::Rollback, Goal::Remove, Goal::RemoveWithPackages] {
            for life in [Life::Pair, Life::Half] {
                assert_eq!(way(life, [true, true], goal, Side::First), Way::StandbySilent);
                assert_eq!(way(life, [false, false], goal, Side::First), Way::InTurn);
            }
            assert_eq!(way(Life::Nothing, [true, true], goal, Side::First), Way::InTurn);
        }
        // A pair that lived before hapair on one host only.
        assert_eq!(
            way(Life::Pair, [true, false], Goal::Remove, Side::First),
            Way::StandbySilent
        );
        assert_eq!(
            way(Life::Pair, [false, true], Goal::Rollback, Side::First),
            Way::Refused(Side::Second)
        );
        assert_eq!(
            way(Life::Pair, [true, false], Goal::Rollback, Side::First),
            Way::Refused(Side::First)
        );
    }

    #[test]
    fn beside_a_host_that_is_silent_only_the_one_that_speaks_goes_back_alone() {
        // As after a run that failed on its second host.
        assert_eq!(
            way(Life::Half, [true, false], Goal::Rollback, Side::First),
            Way::StandbySilent
        );
        // It would start with what the owner rejects.
        assert_eq!(
            way(Life::Half, [false, true], Goal::Rollback, Side::First),
            Way::Refused(Side::Second)
        );
    }
}
