//! What is tracked, as a priority: keepalived's counters and weights.

/// Highest priority that a weight can give; 255 belongs to who owns the addresses.
const MOST: i32 = 254;

/// What a tracked thing does to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// 0: failing means FAULT; above 0: added while good; below 0: subtracted while failing.
    pub weight: i32,
    /// As keepalived: without a weight, good means FAULT; a weight is subtracted where it would be added, and added where it
    /// would be subtracted.
    pub reverse: bool,
    /// It is good now.
    pub good: bool,
}

/// The sum of what is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// 1 to 254, or 255 where the base is.
    pub priority: u8,
    /// Something without a weight fails.
    pub fault: bool,
    /// Something has not answered yet: until it has, the router does not become owner.
    pub pending: bool,
}

/// Effective priority: base plus weights, clamped to 1 to 254. A base of 255 is never changed. Whether something has not
/// answered yet is for the caller to say.
///
/// ```
/// use hapair::vrrp::track::{effective, Tracked};
/// let failing = Tracked { weight: -5, reverse: false, good: false };
/// assert_eq!(effective(101, [failing]).priority, 96);
/// ```
pub fn effective(base: u8, tracked: impl IntoIterator<Item = Tracked>) -> Effective {
    let mut sum = i32::from(base);
    let mut fault = false;
    for t in tracked {
        let counts = match t.weight {
            0 => false,
            weight => (weight > 0) == t.good,
        };
        fault |= t.weight == 0 && t.good == t.reverse;
        if counts {
            sum = sum.saturating_add(if t.reverse { -t.weight } else { t.weight });
        }
    }
    Effective {
        priority: if base == 255 { 255 } else { sum.clamp(1, MOST) as u8 },
        fault,
        pending: false,
    }
}

/// A tracked script's memory: `rise` successes or `fall` failures in a row change its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// 0 to rise + fall − 1; good from `rise` on.
    result: u32,
    rise: u32,
    fall: u32,
    first: bool,
}

impl Counter {
    /// Good until it fails, or failing until it succeeds (`init_fail`). Zero counts as one.
    pub fn new(rise: u32, fall: u32, init_fail: bool) -> Counter {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Counter {
            result: if init_fail { rise - 1 } else { rise },
            rise,
            fall,
            first: true,
        }
    }

    /// The state now.
    pub fn good(&self) -> bool {
        self.result >= self.rise
    }

    /// No run has ended yet.
    pub fn untried(&self) -> bool {
        self.first
    }

    /// A run ended. The first one counts at once; returns whether the state changed.
    pub fn ended(&mut self, success: bool) -> bool {
        let before = self.good();
        let top = self.rise.saturating_add(self.fall) - 1;
        self.result = match (std::mem::take(&mut self.first), success) {
            (true, true) => top,
            (true, false) => 0,
            // A success after failures has `rise` to go from 0, a failure after successes `fall` from the top.
            (false, true) if before => top,
            (false, false) if !before => 0,
            (false, true) => (self.result + 1).min(top),
            (false, false) => self.result.saturating_sub(1),
        };
        let after = self.good();
        if before != after {
            self.result = if after { top } else { 0 };
        }
        before != after
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tracked() -> impl Strategy<Value = Tracked> {
        (-254..=254i32, any::<bool>(), any::<bool>()).prop_map(|(weight, reverse, good)| Tracked {
            weight,
            reverse,
            good,
        })
    }

    proptest! {
        #[test]
        fn weights_never_leave_the_range(base in 1..=255u8, all in proptest::collection::vec(tracked(), 0..9)) {
            let e = effective(base, all);
            let right = if base == 255 { e.priority == 255 } else { (1..=254).contains(&e.priority) };
            prop_assert!(right);
        }

        #[test]
        fn a_counter_changes_after_enough_results_in_a_row(rise in 1..6u32, fall in 1..6u32, runs in proptest::collection::vec(any::<bool>(), 1..60)) {
            // The model: a state, and how many results against it came in a row.
            let mut counter = Counter::new(rise, fall, false);
            let (mut good, mut against) = (true, 0);
            for (n, run) in runs.into_iter().enumerate() {
                against = if run == good { 0 } else { against + 1 };
                if against > 0 && (n == 0 || against >= if good { fall } else { rise }) {
                    (good, against) = (!good, 0);
                }
                counter.ended(run);
                prop_assert_eq!(counter.good(), good);
            }
        }
    }

    #[test]
    fn weight_zero_is_fault_and_reverse_turns_it_round() {
        let good = |weight| Tracked {
            weight,
            reverse: false,
            good: true,
        };
        let failing = |weight| Tracked {
            good: false,
            ..good(weight)
        };
        let reverse = |t| Tracked { reverse: true, ..t };
        assert!(effective(100, [failing(0)]).fault);
        assert!(!effective(100, [reverse(failing(0))]).fault);
        assert_eq!(effective(100, [good(20), failing(20), failing(-5)]).priority, 115);
        // keepalived 2.2.7: `weight -20 reverse` makes 150 good and 170 failing; `weight 20 reverse` 130 and 150.
        let reversed = |t| effective(150, [reverse(t)]).priority;
        assert_eq!((reversed(good(-20)), reversed(failing(-20))), (150, 170));
        assert_eq!((reversed(good(20)), reversed(failing(20))), (130, 150));
        assert!(!Counter::new(2, 3, true).good());
    }
}
