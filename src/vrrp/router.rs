//! One virtual router's election (RFC 9568, 6.4), as a function from inputs to outputs.

use std::net::IpAddr;
use std::time::Duration;

use super::candidate::{Candidate, Hold};
use super::event::{Cause, Input, Output, Snapshot, State, Statistics};
use super::hmac::{Senders, Sequence};
use super::neighbours::Neighbours;
use super::packet::Form;
use super::role::{Owner, Role, Standby, Wait};
use super::settings::Settings;
use super::time::Time;
use super::track::Effective;

/// One virtual router.
#[derive(Debug, Clone)]
pub struct Router {
    pub(super) own: Candidate,
    pub(super) role: Role,
    /// When it came to that state, and why.
    since: Time,
    cause: Cause,
    fault: bool,
    /// A check has not answered yet.
    pub(super) pending: bool,
    group_fault: bool,
    /// Becoming owner is the group's decision.
    pub(super) grouped: bool,
    /// The addresses of the settings, sorted.
    pub(super) vips: Vec<IpAddr>,
    /// How the peer that was heard last makes its checksums.
    pub(super) learned: Option<Form>,
    pub(super) neighbours: Neighbours,
    pub(super) mismatched: Vec<IpAddr>,
    /// `auth_hmac`: the last stamp sent, and the last one of each sender.
    pub(super) sequence: Sequence,
    pub(super) senders: Senders,
    /// The real time at one moment of our clock.
    pub(super) real: (Time, Time),
    pub(super) statistics: Statistics,
}

impl Router {
    /// A router that is not in election yet.
    pub fn new(settings: Settings) -> Router {
        Router {
            role: Role::Stopped,
            since: Time::ZERO,
            cause: Cause::Stop,
            fault: false,
            pending: false,
            group_fault: false,
            grouped: false,
            vips: sorted(&settings.vips),
            learned: None,
            neighbours: Neighbours::default(),
            mismatched: Vec::new(),
            sequence: Sequence::default(),
            senders: Senders::default(),
            real: (Time::ZERO, Time::ZERO),
            statistics: Statistics::default(),
            own: Candidate::new(settings),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.own.settings
    }

    /// How its peers make their checksums: version 3 over IPv4, and only where one has been heard.
    pub fn learned_form(&self) -> Option<Form> {
        self.learned
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.role.state()
    }

    /// Something it tracks itself fails.
    pub(super) fn own_fault(&self) -> bool {
        self.fault && self.state() != State::Stopped
    }

    /// Its wait is over; it becomes owner when its group does.
    pub(super) fn waits_for_group(&self) -> bool {
        matches!(&self.role, Role::Backup(standby) if standby.wait == Wait::ForGroup)
    }

    pub(super) fn set_grouped(&mut self, grouped: bool) {
        self.grouped = grouped;
        if let Role::Backup(standby) = &mut self.role
            && standby.wait == Wait::ForGroup
            && !grouped
        {
            // It waited for a group that it has left.
            standby.wait = Wait::Until(Time::ZERO);
        }
    }

    /// Its state for people.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            state: self.state(),
            since: self.since,
            cause: self.cause,
            priority: self.own.priority,
            raised: self.role.raise().map(|raise| raise.priority),
            pending: self.pending,
            owner: self.role.known_owner().map(|o| (o.src, o.priority)),
            held: self.own.held(now),
            clocks: self.senders.clocks().collect(),
            statistics: self.statistics,
        }
    }

    /// When it wants [`Input::Tick`]; `None`: nothing is due.
    pub fn next_timer(&self) -> Option<Time> {
        match &self.role {
            Role::Stopped | Role::Fault { .. } => None,
            Role::Backup(standby) => standby.until(),
            Role::Master(ownership) => ownership.next_timer(),
        }
    }

    /// Takes one input. `now` never decreases.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.take(now, input, &mut out);
        out
    }

    pub(super) fn take(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        self.step_down_if_stalled(now, out);
        match input {
            Input::Start { crashed } => {
                self.own.crash_hold = crashed.then(|| now + self.own.settings.crash_hold);
                self.own.hold = None;
                // What a former life may have left.
                out.push(Output::Release);
                self.begin(now, Cause::Start, out);
            }
            Input::Packet(packet) => self.packet(now, &packet, out),
            Input::Tick => self.tick(now, out),
            Input::Tracked(effective) => self.tracked(now, effective, out),
            Input::Configure(settings, effective) => self.configure(now, *settings, effective, out),
            Input::AddressLost => {
                if self.state() == State::Master {
                    out.extend([Output::Acquire, Output::Announce { count: 1 }]);
                }
            }
            Input::NewHardwareAddress => self.tell_neighbours(now, out),
            Input::Handover(time) => {
                self.hold_back(now, time);
                if self.state() == State::Master {
                    self.resign(now, Cause::Handover, out);
                }
            }
            Input::Hold(time) => self.hold_back(now, time),
            Input::Takeover(time) => self.take_over(now, time, out),
            Input::Resume => {
                self.own.hold = None;
                self.own.crash_hold = None;
                self.outbid_nobody();
                self.end_raise(now, out);
            }
            Input::Unsent => self.could_not_send(now, out),
            Input::Stop => self.stop(now, out),
        }
    }

    /// An owner that was kept from running for longer than the others wait: somebody else owns the addresses by now, and to go
    /// on, or to say farewell, would be wrong.
    pub(super) fn step_down_if_stalled(&mut self, now: Time, out: &mut Vec<Output>) {
        let patience = self.own.settings.interval() * u32::from(self.own.settings.down_adverts);
        if let Role::Master(ownership) = &self.role
            && now > ownership.advert_at + patience
        {
            out.push(Output::Release);
            self.fall_back(now, Cause::Stalled, None, out);
        }
    }

    /// Another member of the group fails, or none does any more.
    pub(super) fn set_group_fault(&mut self, now: Time, fault: bool, out: &mut Vec<Output>) {
        if self.group_fault != fault {
            self.group_fault = fault;
            self.apply_fault(now, Cause::Group, out);
        }
    }

    /// Does not take over from a living owner for this long; a takeover that is on its way ends.
    fn hold_back(&mut self, now: Time, time: Option<Duration>) {
        self.own.hold = Some(time.map_or(Hold::UntilResume, |t| Hold::Until(now.saturating_add(t))));
        self.outbid_nobody();
        if let Role::Backup(standby) = &mut self.role {
            standby.leave_it_to_the_owner(&self.own);
        }
    }

    fn outbid_nobody(&mut self) {
        if let Some(bid) = self.role.bid() {
            bid.outbid = None;
        }
    }

    pub(super) fn enter(&mut self, now: Time, role: Role, cause: Cause, out: &mut Vec<Output>) {
        let from = self.state();
        self.statistics.left_master += u64::from(from == State::Master);
        (self.role, self.since, self.cause) = (role, now, cause);
        let to = self.state();
        if from != to {
            out.push(Output::Transition { from, to, cause });
        }
    }

    /// Enters the election from Stopped or Fault.
    fn begin(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        if self.fault || self.group_fault {
            let owner = self.role.known_owner();
            self.enter(now, Role::Fault { owner }, Cause::Fault, out);
            return;
        }
        self.fall_back(now, cause, None, out);
        // RFC 9568, 6.4.1: who owns the addresses does not wait.
        if let Role::Backup(standby) = &mut self.role
            && self.own.priority == 255
            && !self.own.held(now)
        {
            standby.cause = Cause::Start;
            self.wait_is_over(now, out);
        }
    }

    pub(super) fn fall_back(&mut self, now: Time, cause: Cause, owner: Option<Owner>, out: &mut Vec<Output>) {
        let standby = Standby::new(&self.own, now, owner);
        self.enter(now, Role::Backup(standby), cause, out);
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state() == State::Master {
            self.give_up(out);
        }
        self.enter(now, Role::Stopped, Cause::Stop, out);
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        match &self.role {
            Role::Stopped | Role::Fault { .. } => {}
            Role::Backup(standby) => {
                if standby.until().is_some_and(|at| at <= now) {
                    self.wait_is_over(now, out);
                }
            }
            Role::Master(_) => self.owner_tick(now, out),
        }
    }

    fn tracked(&mut self, now: Time, effective: Effective, out: &mut Vec<Output>) {
        self.pending = effective.pending;
        // An owner that gives up says only that. An advert of its new priority right before could arrive after the priority 0, and the
        // standby would wait for three more.
        if effective.fault && !self.fault {
            self.fault = true;
            self.apply_fault(now, Cause::Fault, out);
        }
        self.set_priority(now, effective.priority, out);
        if self.fault && !effective.fault {
            self.fault = false;
            self.apply_fault(now, Cause::Recovered, out);
        }
        let Role::Backup(standby) = &mut self.role else { return };
        match standby.wait {
            // It waits for its own checks again.
            Wait::ForGroup if self.pending => standby.wait = Wait::ForChecks,
            Wait::ForChecks if !self.pending => self.wait_is_over(now, out),
            _ => {}
        }
    }

    /// It becomes owner: at once, with its group, or when its checks have answered.
    fn wait_is_over(&mut self, now: Time, out: &mut Vec<Output>) {
        let Role::Backup(standby) = &mut self.role else { return };
        if self.pending {
            standby.wait = Wait::ForChecks;
        } else if self.grouped {
            standby.wait = Wait::ForGroup;
        } else {
            self.promote(now, out);
        }
    }

    fn set_priority(&mut self, now: Time, priority: u8, out: &mut Vec<Output>) {
        let from = std::mem::replace(&mut self.own.priority, priority);
        if from == priority {
            return;
        }
        out.push(Output::Priority { from, to: priority });
        match &mut self.role {
            Role::Stopped | Role::Fault { .. } => {}
            Role::Backup(standby) => standby.priority_changed(&self.own, from),
            // At once, so that a standby that is better now need not wait for the next one.
            Role::Master(ownership) => {
                let raise = &mut ownership.bid.raise;
                // What is tracked comes before a takeover on command: the addresses must not stay with who cannot serve.
                if priority < from || raise.is_some_and(|raise| raise.priority <= priority) {
                    *raise = None;
                }
                self.send_now(now, out);
            }
        }
    }

    fn apply_fault(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        match (self.state(), self.fault || self.group_fault) {
            (state @ (State::Master | State::Backup), true) => {
                if state == State::Master {
                    self.give_up(out);
                }
                let owner = self.role.known_owner();
                self.enter(now, Role::Fault { owner }, cause, out);
            }
            (State::Fault, false) => self.begin(now, cause, out),
            _ => {}
        }
    }

    fn configure(&mut self, now: Time, settings: Settings, effective: Effective, out: &mut Vec<Output>) {
        let old = std::mem::replace(&mut self.own.settings, settings);
        let new = &self.own.settings;
        self.vips = sorted(&new.vips);
        if old.form != new.form {
            self.learned = None;
        }
        self.mismatched.clear();
        match &mut self.role {
            Role::Stopped | Role::Fault { .. } => {}
            Role::Backup(standby) => {
                if !new.preempt && effective.priority != 255 {
                    standby.leave_it_to_the_owner(&self.own);
                }
                standby.settings_changed(&self.own, now, &old);
            }
            Role::Master(ownership) => {
                let count = new.garp.repeat;
                ownership.advert_at = ownership.advert_at.min(now + new.interval());
                if old.garp.refresh != new.garp.refresh {
                    ownership.refresh_from(now, new.garp.refresh);
                }
                let list_changed = old.vips != new.vips;
                if list_changed {
                    self.send(self.announced(), out);
                }
                // The caller knows of addresses that are not advertised: let it look in any case.
                out.push(Output::Acquire);
                if list_changed {
                    out.push(Output::Announce { count });
                }
            }
        }
        self.tracked(now, effective, out);
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}
