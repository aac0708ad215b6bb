//! Routers that own their addresses together or not at all (keepalived's `vrrp_sync_group`).

use super::command::TakeoverRefusal;
use super::event::{Input, Output, State};
use super::router::Router;
use super::time::Time;

/// One router, or the routers of a sync group.
///
/// A member that fails stops all; a member that yields makes all yield; the group becomes owner when every member's
/// wait is over, so that a member that still hears its owner keeps the group from splitting.
#[derive(Debug, Clone)]
pub struct Group {
    routers: Vec<Router>,
    /// Outputs on their way out: empty between two inputs, it keeps its memory.
    outputs: Vec<Output>,
}

impl Group {
    /// Routers that stay together; one alone decides for itself.
    pub fn new(mut routers: Vec<Router>) -> Group {
        let grouped = routers.len() > 1;
        for router in &mut routers {
            router.set_grouped(grouped);
        }
        let outputs = Vec::new();
        Group { routers, outputs }
    }

    /// Tells every member the real time ([`Router::set_real_time`]).
    pub fn set_real_time(&mut self, now: Time, real: Time) {
        self.routers.iter_mut().for_each(|r| r.set_real_time(now, real));
    }

    /// Its members.
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// The members, out of the group again.
    pub fn into_routers(self) -> Vec<Router> {
        self.routers
    }

    /// When it wants [`Input::Tick`] for every member.
    pub fn next_timer(&self) -> Option<Time> {
        self.routers.iter().filter_map(Router::next_timer).min()
    }

    /// Why [`Input::Takeover`] would do nothing: a group takes over as a whole or not at all.
    pub fn takeover_refusal(&self) -> Option<TakeoverRefusal> {
        self.routers.iter().find_map(Router::takeover_refusal)
    }

    /// Gives an input to one member; the outputs name the member they are for.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn handle(&mut self, now: Time, member: usize, input: Input<'_>) -> Vec<(usize, Output)> {
        let mut out = Vec::new();
        if member == 0 && self.alone(now, &input, &mut |member, output| out.push((member, output))) {
            return out;
        }
        if matches!(input, Input::Takeover(_)) {
            return self.handle_all(now, &input);
        }
        let was_master = self.any_master();
        for (n, router) in self.routers.iter_mut().enumerate() {
            let mut more = Vec::new();
            router.step_down_if_stalled(now, &mut more);
            collect(&mut out, n, more);
        }
        collect(&mut out, member, self.routers[member].handle(now, input));
        self.settle(now, was_master, &mut out);
        out
    }

    /// Gives an input to every member.
    pub fn handle_all(&mut self, now: Time, input: &Input<'_>) -> Vec<(usize, Output)> {
        let mut out = Vec::new();
        if self.alone(now, input, &mut |member, output| out.push((member, output))) {
            return out;
        }
        if matches!(input, Input::Takeover(_)) && self.takeover_refusal().is_some() {
            return out;
        }
        let was_master = self.any_master();
        for (member, router) in self.routers.iter_mut().enumerate() {
            collect(&mut out, member, router.handle(now, input.clone()));
        }
        self.settle(now, was_master, &mut out);
        out
    }

    /// Who is in no group decides for itself; most are, and thousands of packets a second may come by here, so that nothing
    /// is allocated. Returns whether it is so; else nothing has happened.
    pub fn alone(&mut self, now: Time, input: &Input<'_>, each: &mut impl FnMut(usize, Output)) -> bool {
        let [router] = &mut self.routers[..] else { return false };
        router.take(now, input.clone(), &mut self.outputs);
        // The others may have failed before it left them.
        router.set_group_fault(now, false, &mut self.outputs);
        self.outputs.drain(..).for_each(|output| each(0, output));
        true
    }

    fn any_master(&self) -> bool {
        self.routers.iter().any(|r| r.state() == State::Master)
    }

    fn settle(&mut self, now: Time, was_master: bool, out: &mut Vec<(usize, Output)>) {
        let failing: Vec<bool> = self.routers.iter().map(Router::own_fault).collect();
        for member in 0..self.routers.len() {
            let others = failing.iter().enumerate().any(|(n, failing)| *failing && n != member);
            let mut more = Vec::new();
            self.routers[member].set_group_fault(now, others, &mut more);
            collect(out, member, more);
        }
        let all_master = self.routers.iter().all(|r| r.state() == State::Master);
        if was_master && !all_master {
            for member in 0..self.routers.len() {
                let mut more = Vec::new();
                self.routers[member].demote(now, &mut more);
                collect(out, member, more);
            }
        }
        if self.routers.iter().all(|r| r.waits_for_group()) {
            for member in 0..self.routers.len() {
                let mut more = Vec::new();
                self.routers[member].promote(now, &mut more);
                collect(out, member, more);
            }
        }
    }
}

fn collect(out: &mut Vec<(usize, Output)>, member: usize, more: Vec<Output>) {
    out.extend(more.into_iter().map(|output| (member, output)));
}
