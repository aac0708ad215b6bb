//! Who is owner and who standby, by what runs on the hosts and not by what the inventory wants of them.

use crate::inventory::Side;
use crate::state::{HostStatus, InstanceState, RunningInstance};

/// Instances whose VIP this host has. Where the running configuration tells nothing (instances in files that it
/// includes, say), those of the inventory count.
pub(crate) fn owned(status: &HostStatus) -> usize {
    let running = status.running.iter().filter(|i| i.owns_vip).count();
    running.max(status.instances.iter().filter(|i| i.owns_vip).count())
}

/// Both hosts run VRRP, and everything that runs on both has exactly one owner.
pub(crate) fn is_living_pair(statuses: &[HostStatus; 2]) -> bool {
    let shared = shared(statuses);
    let runs = |i: &RunningInstance| i.state != InstanceState::Stopped;
    !shared.is_empty()
        && shared
            .iter()
            .all(|[a, b]| runs(a) && runs(b) && a.owns_vip != b.owns_vip)
}

/// What a gate asks of owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// One of the hosts, for everything that runs on both.
    Any,
    /// The same, and the better of the two wherever it may take the VIP.
    Best,
    /// One of the hosts, for everything that runs on either.
    OfAll,
}

/// What is not so.
pub(crate) fn ownership_problem(statuses: &[HostStatus; 2], wanted: Owners) -> Option<String> {
    let both = shared(statuses)
        .into_iter()
        .find_map(|[a, b]| match (a.owns_vip, b.owns_vip) {
            (false, false) => Some(nobody_owns(a)),
            (true, true) => Some(format!("both hosts own the VIP of {}", a.name)),
            _ if wanted != Owners::Best => None,
            (first_owns, _) => {
                let (owner, standby) = if first_owns { (a, b) } else { (b, a) };
                let host = Side::first_if(first_owns);
                let other = host.other();
                may_preempt(standby, owner)
                    .then(|| still_owns(&statuses[host].host, &owner.name, &statuses[other].host))
            }
        });
    let alone = || {
        let lonely = Side::BOTH.into_iter().flat_map(|host| {
            let theirs = &statuses[host.other()].running;
            let mine = statuses[host].running.iter();
            // A configuration that no engine runs wants nothing.
            mine.filter(move |i| i.state != InstanceState::Stopped && counterpart(i, theirs).is_none())
        });
        let mut ownerless = lonely.filter(|i| !i.owns_vip).map(nobody_owns);
        ownerless.next()
    };
    both.or_else(|| if wanted == Owners::OfAll { alone() } else { None })
}

/// This standby is better than the owner, may take the VIP from it, and nobody has moved it there on purpose.
fn may_preempt(standby: &RunningInstance, owner: &RunningInstance) -> bool {
    let may = standby.state == InstanceState::Backup && !standby.waits && owner.raised.is_none();
    may && standby.priority > owner.priority
}

/// Instances, as `to` calls them, whose VIP only the other host owns.
pub(crate) fn owned_by_the_other(statuses: &[HostStatus; 2], to: Side) -> Vec<String> {
    named(statuses, to, |mine, theirs| theirs.owns_vip && !mine.owns_vip)
}

/// Those of them that this host will preempt.
pub(crate) fn instances_to_preempt(statuses: &[HostStatus; 2], host: Side) -> Vec<String> {
    named(statuses, host, |mine, theirs| {
        theirs.owns_vip && !mine.owns_vip && may_preempt(mine, theirs)
    })
}

/// Both hosts own the VIP of something that runs on both.
pub(crate) fn is_split(statuses: &[HostStatus; 2]) -> bool {
    shared(statuses).iter().any(|[a, b]| a.owns_vip && b.owns_vip)
}

fn named(
    statuses: &[HostStatus; 2],
    host: Side,
    wanted: impl Fn(&RunningInstance, &RunningInstance) -> bool,
) -> Vec<String> {
    let pairs = shared(statuses).into_iter();
    let mine_and_theirs = pairs.map(|pair| (pair[host], pair[host.other()]));
    mine_and_theirs
        .filter(|(mine, theirs)| wanted(mine, theirs))
        .map(|(mine, _)| mine.name.clone())
        .collect()
}

/// Why a host cannot own the VIPs that it has configured now, as far as VRRP goes.
pub(crate) fn unfit(status: &HostStatus) -> Option<String> {
    let running = status.running.iter();
    running
        .map(|i| (&i.name, i.state))
        .find_map(|(name, state)| state_problem(name, state))
        .or_else(|| {
            let idle = status.engine.is_none().then(|| "no VRRP engine runs".to_owned());
            idle.filter(|_| status.running.is_empty())
        })
}

/// Why an instance of this state cannot own its VIP.
pub(crate) fn state_problem(name: &str, state: InstanceState) -> Option<String> {
    match state {
        InstanceState::Fault => Some(format!("instance {name} is in state FAULT")),
        InstanceState::Stopped => Some(format!("no VRRP engine runs for instance {name}")),
        InstanceState::Master | InstanceState::Backup => None,
    }
}

fn nobody_owns(instance: &RunningInstance) -> String {
    format!("no host owns the VIP of {}", instance.name)
}

fn still_owns(owner: &str, instance: &str, preferred: &str) -> String {
    format!("{owner} still owns the VIP of {instance}, not {preferred}")
}

/// Instances that run on both hosts.
fn shared(statuses: &[HostStatus; 2]) -> Vec<[&RunningInstance; 2]> {
    let [a, b] = statuses.each_ref().map(|s| &s.running);
    let pairs = a.iter().filter_map(|mine| Some([mine, counterpart(mine, b)?]));
    pairs.collect()
}

/// The other host's part of the same virtual router. Two instances on different interfaces may have the same
/// `virtual_router_id`: there the name tells them apart.
fn counterpart<'a>(mine: &RunningInstance, theirs: &'a [RunningInstance]) -> Option<&'a RunningInstance> {
    let named = theirs.iter().find(|i| i.name == mine.name);
    named.or_else(|| theirs.iter().find(|i| i.is_same_router(mine)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use crate::rollout::order::standby_first;
    use crate::state::{Engine, InstanceStatus};

    fn running(name: &str, vrid: u8, owns_vip: bool, priority: u8) -> RunningInstance {
        RunningInstance {
            name: name.into(),
            virtual_router_id: vrid,
            vips: vec!["192.168.0.200".into()],
            state: if owns_vip {
                InstanceState::Master
            } else {
                InstanceState::Backup
            },
            priority,
            owns_vip,
            waits: false,
            raised: None,
            pending: false,
        }
    }

    /// A host of an inventory whose VIPs are all new: none of them is anywhere.
    fn host(name: &str, running: Vec<RunningInstance>) -> HostStatus {
        HostStatus {
            host: name.into(),
            engine: Some(Engine::Agent),
            instances: vec![InstanceStatus {
                name: "VI_1".into(),
                state: InstanceState::Backup,
                priority: 100,
                vips: vec!["192.168.0.99".into()],
                owns_vip: false,
                held: false,
                raised: None,
            }],
            running,
            disabled_checks: vec![],
            warnings: vec![],
            nginx: "active".into(),
            drift: vec![],
            drift_details: vec![],
            transactions: vec![],
        }
    }

    #[test]
    fn the_owner_by_fact_comes_second_whatever_the_inventory_prefers() {
        let text = include_str!("../../../inventory.example.yaml");
        let inventory = Inventory::parse(text, std::path::Path::new("inventory.example.yaml")).expect("valid");
        assert_eq!(
            inventory.vrrp.as_ref().expect("vrrp").instances[0].preferred(),
            "nginx-master"
        );
        for owner in Side::BOTH {
            let statuses = Side::BOTH.map(|i| host("h", vec![running("VI_1", 51, i == owner, 100)]));
            assert_eq!(standby_first(&inventory, &statuses), [owner.other(), owner]);
            assert!(is_living_pair(&statuses));
        }
        // Nobody owns anything: by preference.
        let statuses = [0, 1].map(|_| host("h", vec![]));
        assert_eq!(standby_first(&inventory, &statuses), [Side::Second, Side::First]);
        assert!(!is_living_pair(&statuses));
    }

    #[test]
    fn a_name_is_only_a_label() {
        let statuses = [
            host("a", vec![running("VI_1", 51, true, 101)]),
            host("b", vec![running("VI_web", 51, false, 100)]),
        ];
        assert!(is_living_pair(&statuses));
        assert_eq!(ownership_problem(&statuses, Owners::OfAll), None);
    }

    #[test]
    fn what_is_wrong_with_owners_is_told() {
        let pair = |a, b| [host("a", vec![a]), host("b", vec![b])];
        let problem = |statuses: &[HostStatus; 2], wanted| ownership_problem(statuses, wanted).unwrap_or_default();
        let nobody = pair(running("VI_1", 51, false, 101), running("VI_1", 51, false, 100));
        assert_eq!(problem(&nobody, Owners::Any), "no host owns the VIP of VI_1");
        let both = pair(running("VI_1", 51, true, 101), running("VI_1", 51, true, 100));
        assert_eq!(problem(&both, Owners::Any), "both hosts own the VIP of VI_1");
        assert!(!is_living_pair(&nobody) && !is_living_pair(&both));

        let mut moved = pair(running("VI_1", 51, false, 101), running("VI_1", 51, true, 100));
        assert_eq!(problem(&moved, Owners::Any), "");
        assert_eq!(problem(&moved, Owners::Best), "b still owns the VIP of VI_1, not a");
        assert_eq!(instances_to_preempt(&moved, Side::First), ["VI_1"]);
        assert_eq!(
            (
                instances_to_preempt(&moved, Side::Second),
                owned_by_the_other(&moved, Side::Second)
            ),
            (vec![], vec![])
        );
        // Somebody has moved it there on purpose.
        moved[1].running[0].raised = Some(102);
        assert_eq!(problem(&moved, Owners::Best), "");
        moved[1].running[0].raised = None;
        moved[0].running[0].waits = true;
        assert_eq!(problem(&moved, Owners::Best), "");
        assert_eq!(instances_to_preempt(&moved, Side::First), Vec::<String>::new());
        assert_eq!(owned_by_the_other(&moved, Side::First), ["VI_1"]);

        // What runs on one host only is asked for at the end only.
        let alone = [host("a", vec![running("VI_2", 52, false, 101)]), host("b", vec![])];
        assert_eq!(problem(&alone, Owners::Any), "");
        assert_eq!(problem(&alone, Owners::OfAll), "no host owns the VIP of VI_2");
    }

    #[test]
    fn who_cannot_take_over_is_told_by_what_runs() {
        let mut status = host("a", vec![running("VI_1", 51, false, 100)]);
        // An instance that only the inventory knows yet is no reason.
        status.instances[0].state = InstanceState::Stopped;
        assert_eq!(unfit(&status), None);
        status.running[0].state = InstanceState::Fault;
        assert_eq!(unfit(&status).as_deref(), Some("instance VI_1 is in state FAULT"));
        status.running.clear();
        status.engine = None;
        assert_eq!(unfit(&status).as_deref(), Some("no VRRP engine runs"));
    }
}
