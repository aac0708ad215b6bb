//! The process of a host: the agent's routers, or the model of keepalived.

use hapair::vrrp::{Group, Input, Output, Router, Settings, State, Time};

use super::keepalived::Keepalived;

/// By which rules all hosts of a run go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Agent,
    Keepalived,
}

/// Whether the routers of a host are in one sync group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    Together,
    Alone,
}

pub(crate) enum Daemon {
    /// Its routers, together or each alone.
    Agent(Vec<Group>),
    Keepalived(Box<Keepalived>),
}

impl Daemon {
    pub(crate) fn new(rules: Rules, settings: &[Settings]) -> Daemon {
        match rules {
            Rules::Agent => Daemon::Agent(vec![Group::new(settings.iter().cloned().map(Router::new).collect())]),
            Rules::Keepalived => Daemon::Keepalived(Box::new(Keepalived::new(settings[0].clone()))),
        }
    }

    pub(crate) fn groups(&self) -> &[Group] {
        match self {
            Daemon::Agent(groups) => groups,
            Daemon::Keepalived(_) => &[],
        }
    }

    pub(crate) fn routers(&self) -> impl Iterator<Item = &Router> {
        self.groups().iter().flat_map(Group::routers)
    }

    pub(crate) fn state(&self, member: usize) -> State {
        match self {
            Daemon::Agent(_) => self.routers().nth(member).unwrap().state(),
            Daemon::Keepalived(one) => one.state(),
        }
    }

    pub(crate) fn grouping(&self) -> Grouping {
        match self.groups().len() {
            0 | 1 => Grouping::Together,
            _ => Grouping::Alone,
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        match self {
            Daemon::Agent(groups) => groups.iter().filter_map(Group::next_timer).min(),
            Daemon::Keepalived(one) => one.next_timer(),
        }
    }

    pub(crate) fn set_real_time(&mut self, now: Time, real: Time) {
        if let Daemon::Agent(groups) = self {
            groups.iter_mut().for_each(|group| group.set_real_time(now, real));
        }
    }

    /// Adverts that a member has taken for good ones.
    pub(crate) fn received(&self, member: usize) -> u64 {
        let router = self.routers().nth(member);
        router.map_or(0, |r| r.snapshot(Time::ZERO).statistics.received)
    }

    pub(crate) fn handle(&mut self, now: Time, member: usize, input: Input<'_>) -> Vec<(usize, Output)> {
        match self {
            Daemon::Agent(groups) => match groups.as_mut_slice() {
                [group] => group.handle(now, member, input),
                // Each alone.
                groups => {
                    let out = groups[member].handle(now, 0, input);
                    out.into_iter().map(|(_, o)| (member, o)).collect()
                }
            },
            Daemon::Keepalived(one) => one.handle(now, &input).into_iter().map(|o| (0, o)).collect(),
        }
    }

    pub(crate) fn handle_all(&mut self, now: Time, input: &Input<'_>) -> Vec<(usize, Output)> {
        match self {
            Daemon::Agent(groups) => match groups.as_mut_slice() {
                [group] => group.handle_all(now, input),
                groups => (0..groups.len())
                    .flat_map(|member| self.handle(now, member, input.clone()))
                    .collect(),
            },
            Daemon::Keepalived(_) => self.handle(now, 0, input.clone()),
        }
    }

    /// A reload with a sync group that was not there, or without the one that was.
    pub(crate) fn regroup(&mut self, grouping: Grouping) {
        let Daemon::Agent(groups) = self else { return };
        let routers = std::mem::take(groups).into_iter().flat_map(Group::into_routers);
        *groups = match grouping {
            Grouping::Together => vec![Group::new(routers.collect())],
            Grouping::Alone => routers.map(|router| Group::new(vec![router])).collect(),
        };
    }
}
