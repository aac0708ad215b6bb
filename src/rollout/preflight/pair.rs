//! What only the controller sees: the hosts beside each other, and facts that a change follows from.

use crate::rollout::reach::pair::Pair;
use crate::state::{Finding, FindingId, Severity};

/// Clocks that are closer than this are as good as equal: answers travel for a while, and nothing but signed adverts minds.
const APART_MS: u64 = 10_000;

/// What cloud-init is told by a file of hapair's.
const CLOUD: &str = "file /etc/cloud/cloud.cfg.d/99-hapair.cfg";

pub(super) fn findings(pair: &Pair) -> Vec<Finding> {
    let [a, b] = &pair.members;
    let ahead = [a, b].map(|member| (member.host(), member.surroundings.clock_ahead_ms));
    let mut findings: Vec<Finding> = clocks(ahead).into_iter().collect();
    for member in &pair.members {
        if member.plan.changes.iter().any(|change| change.resource == CLOUD) {
            let cause = "cloud-init is active on this host, and could write its own network configuration at a boot";
            let finding = Finding::new(
                FindingId::CloudInit,
                Severity::Notes,
                cause,
                "`hapair apply` tells it to leave the network alone",
            );
            findings.push(finding.on(member.host()));
        }
    }
    findings
}

/// Two hosts, and how far the clock of each is ahead of ours, ms.
fn clocks([one, other]: [(&str, i64); 2]) -> Option<Finding> {
    let apart = one.1.abs_diff(other.1);
    if apart < APART_MS {
        return None;
    }
    let (ahead, behind) = if one.1 > other.1 {
        (one.0, other.0)
    } else {
        (other.0, one.0)
    };
    let cause = format!("the clock of {ahead} is {} s ahead of {behind}'s", apart / 1000);
    Some(Finding::new(
        FindingId::ClocksDiffer,
        Severity::Warns,
        cause,
        "set both right: `chronyc tracking` on the hosts says how far they are off",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_with_who_is_ahead() {
        // Both are wrong by the same: the controller's clock is the one that is off.
        assert_eq!(clocks([("web1", -90_000), ("web2", -90_700)]), None);
        for ahead in [[("web1", 95_400), ("web2", 200)], [("web2", 200), ("web1", 95_400)]] {
            let finding = clocks(ahead).expect("95 s are a lot");
            assert_eq!(
                (finding.id, finding.severity),
                (FindingId::ClocksDiffer, Severity::Warns)
            );
            assert_eq!(finding.cause, "the clock of web1 is 95 s ahead of web2's");
        }
    }
}
