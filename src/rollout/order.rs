//! Who comes first, and what is done in one go.

use super::health::roles;
use crate::inventory::{Inventory, Side};
use crate::state::{HostStatus, Plan, Stage};

/// A part of the seed's order that is converged in one transaction on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Network, SELinux, firewall, host name: one host at a time.
    Foundation,
    /// Repositories and packages: activates nothing, so both hosts at once.
    Software,
    /// nginx and VRRP: one host at a time, with a health gate.
    Service,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Phase; 3] = [Phase::Foundation, Phase::Software, Phase::Service];

    /// Its stages, in the seed's order.
    pub fn stages(self) -> &'static [Stage] {
        match self {
            Phase::Foundation => &[Stage::Network, Stage::Selinux, Stage::Firewall, Stage::Hostname],
            Phase::Software => &[Stage::Repositories, Stage::Packages],
            Phase::Service => &[Stage::Nginx, Stage::Vrrp],
        }
    }
}

/// Changes of a plan that fall into these stages.
pub(super) fn changes_in(plan: &Plan, stages: &[Stage]) -> usize {
    plan.changes.iter().filter(|c| stages.contains(&c.stage)).count()
}

/// The hosts, the one to start with first: the standby by fact; where nobody owns a VIP (bootstrap) or both
/// do (active/active), the host that is preferred for fewer instances, then the second in the inventory.
pub fn standby_first(inventory: &Inventory, statuses: &[HostStatus; 2]) -> [Side; 2] {
    let owned = |i: Side| roles::owned(&statuses[i]);
    let preferred = |i: Side| {
        let instances = inventory.vrrp.iter().flat_map(|v| &v.instances);
        instances
            .filter(|instance| instance.preferred() == inventory.hosts[i].name)
            .count()
    };
    if (owned(Side::First), preferred(Side::First)) < (owned(Side::Second), preferred(Side::Second)) {
        [Side::First, Side::Second]
    } else {
        [Side::Second, Side::First]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_cover_every_stage_once_and_in_order() {
        let stages: Vec<Stage> = Phase::ALL.iter().flat_map(|p| p.stages()).copied().collect();
        assert_eq!(stages, Stage::ALL);
    }
}
