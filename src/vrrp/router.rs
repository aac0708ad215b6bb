//! One virtual router's election (RFC 9568, 6.4), as a function from inputs to outputs.

use std::net::IpAddr;

use super::event::{Cause, Input, Output, Snapshot, State, Statistics};
use super::hmac::{Senders, Sequence};
use super::neighbours::Neighbours;
use super::packet::Form;
use super::router_state::{Hold, Outbid, Owner, Raise, Unsent};
use super::settings::Settings;
use super::time::Time;
use super::track::Effective;

/// One virtual router.
#[derive(Debug, Clone)]
pub struct Router {
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) since: Time,
    pub(super) cause: Cause,
    pub(super) priority: u8,
    pub(super) fault: bool,
    /// A check has not answered yet.
    pub(super) pending: bool,
    pub(super) group_fault: bool,
    /// Becoming owner is the group's decision.
    pub(super) grouped: bool,
    /// Its wait is over; it becomes owner when its group does.
    pub(super) wants: bool,
    /// Its wait is over; it becomes owner, or wants to, when its checks have answered.
    pub(super) overdue: bool,
    /// Backup: when the wait is over, and what it is for.
    pub(super) down_at: Option<Time>,
    pub(super) down_cause: Cause,
    pub(super) owner: Option<Owner>,
    /// Backup: a lower owner that lives, and that this router replaces when its wait is over.
    pub(super) passed_over: Option<Owner>,
    /// Preempt delay: since when a lower owner is known.
    pub(super) lower_since: Option<Time>,
    pub(super) hold: Option<Hold>,
    pub(super) crash_hold: Option<Time>,
    /// Master: when the next advert is due, by the clock and not by when the last one really went.
    pub(super) advert_at: Time,
    pub(super) announce_again: Option<(Time, u32)>,
    pub(super) refresh_at: Option<Time>,
    pub(super) lower_announced: Option<Time>,
    /// Master: when an advert of lower priority, or of priority 0, was answered last.
    pub(super) answered: Option<Time>,
    /// Master: what a takeover announces.
    pub(super) raise: Option<Raise>,
    /// Master: a takeover whose owner had not been heard.
    pub(super) outbid: Option<Outbid>,
    /// Master: which adverts could not be sent.
    pub(super) unsent: Unsent,
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
            state: State::Stopped,
            since: Time::ZERO,
            cause: Cause::Stop,
            priority: settings.priority,
            fault: false,
            pending: false,
            group_fault: false,
            grouped: false,
            wants: false,
            overdue: false,
            down_at: None,
            down_cause: Cause::Silence,
            owner: None,
            passed_over: None,
            lower_since: None,
            hold: None,
            crash_hold: None,
            advert_at: Time::ZERO,
            announce_again: None,
            refresh_at: None,
            lower_announced: None,
            answered: None,
            raise: None,
            outbid: None,
            unsent: Unsent::default(),
            vips: sorted(&settings.vips),
            learned: None,
            neighbours: Neighbours::default(),
            mismatched: Vec::new(),
            sequence: Sequence::default(),
            senders: Senders::default(),
            real: (Time::ZERO, Time::ZERO),
            statistics: Statistics::default(),
            settings,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How its peers make their checksums: version 3 over IPv4, and only where one has been heard.
    pub fn learned_form(&self) -> Option<Form> {
        self.learned
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Something it tracks itself fails.
    pub(super) fn own_fault(&self) -> bool {
        self.fault && self.state != State::Stopped
    }

    /// Its state for people.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            state: self.state,
            since: self.since,
            cause: self.cause,
            priority: self.priority,
            raised: self.raise.map(|raise| raise.priority),
            pending: self.pending,
            owner: self.known_owner().map(|o| (o.src, o.priority)),
            held: self.held(now),
            clocks: self.senders.clocks().collect(),
            statistics: self.statistics,
        }
    }

    /// When it wants [`Input::Tick`]; `None`: nothing is due.
    pub fn next_timer(&self) -> Option<Time> {
        match self.state {
            State::Stopped | State::Fault => None,
            State::Backup => self.down_at,
            State::Master => {
                let again = self.announce_again.map(|(at, _)| at);
                let raise = self.raise.and_then(|raise| raise.until);
                [Some(self.advert_at), again, self.refresh_at, raise]
                    .into_iter()
                    .flatten()
                    .min()
            }
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
                self.crash_hold = crashed.then(|| now + self.settings.crash_hold);
                self.hold = None;
                // What a former life may have left.
                out.push(Output::Release);
                self.begin(now, Cause::Start, out);
            }
            Input::Packet(packet) => self.packet(now, &packet, out),
            Input::Tick => self.tick(now, out),
            Input::Tracked(effective) => self.tracked(now, effective, out),
            Input::Configure(settings, effective) => self.configure(now, *settings, effective, out),
            Input::AddressLost => {
                if self.state == State::Master {
                    out.extend([Output::Acquire, Output::Announce { count: 1 }]);
                }
            }
            Input::NewHardwareAddress => {
                if self.state == State::Master {
                    self.announce(now, self.settings.garp.repeat, self.settings.garp.delay, out);
                }
            }
            Input::Handover(time) => {
                self.hold_back(now, time);
                if self.state == State::Master {
                    self.resign(now, Cause::Handover, out);
                }
            }
            Input::Hold(time) => self.hold_back(now, time),
            Input::Takeover(time) => self.take_over(now, time, out),
            Input::Resume => {
                self.hold = None;
                self.crash_hold = None;
                self.outbid = None;
                self.end_raise(now, out);
            }
            Input::Unsent => self.could_not_send(now, out),
            Input::Stop => self.stop(now, out),
        }
    }

    /// An owner that was kept from running for longer than the others wait: somebody else owns the addresses by now, and to go
    /// on, or to say farewell, would be wrong.
    pub(super) fn step_down_if_stalled(&mut self, now: Time, out: &mut Vec<Output>) {
        let patience = self.settings.interval() * u32::from(self.settings.down_adverts);
        if self.state == State::Master && now > self.advert_at + patience {
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

    pub(super) fn enter(&mut self, now: Time, to: State, cause: Cause, out: &mut Vec<Output>) {
        let from = self.state;
        if from == State::Master {
            self.statistics.left_master += 1;
            self.announce_again = None;
            self.refresh_at = None;
            self.lower_announced = None;
            self.answered = None;
            self.raise = None;
            self.outbid = None;
        }
        (self.state, self.since, self.cause) = (to, now, cause);
        if from != to {
            out.push(Output::Transition { from, to, cause });
        }
    }

    /// Enters the election from Stopped or Fault.
    fn begin(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        if self.fault || self.group_fault {
            self.down_at = None;
            self.wants = false;
            self.enter(now, State::Fault, Cause::Fault, out);
            return;
        }
        self.fall_back(now, cause, None, out);
        // RFC 9568, 6.4.1: who owns the addresses does not wait.
        if self.priority == 255 && !self.held(now) {
            self.down_at = Some(now);
            self.down_cause = Cause::Start;
            self.tick(now, out);
        }
    }

    pub(super) fn fall_back(&mut self, now: Time, cause: Cause, owner: Option<Owner>, out: &mut Vec<Output>) {
        self.enter(now, State::Backup, cause, out);
        self.wants = false;
        self.lower_since = None;
        self.passed_over = None;
        self.owner = owner;
        self.wait_for_silence(now);
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Master {
            out.push(Output::Release);
            self.send(0, out);
        }
        self.down_at = None;
        self.wants = false;
        self.owner = None;
        self.enter(now, State::Stopped, Cause::Stop, out);
    }

    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.state {
            State::Stopped | State::Fault => {}
            State::Backup => {
                if self.down_at.is_some_and(|at| at <= now) {
                    self.down_at = None;
                    self.wait_is_over(now, out);
                }
            }
            State::Master => {
                if self.raise.is_some_and(|raise| raise.until.is_some_and(|at| at <= now)) {
                    self.end_raise(now, out);
                }
                if self.advert_at <= now {
                    self.send(self.announced(), out);
                    while self.advert_at <= now {
                        self.advert_at += self.settings.interval();
                    }
                }
                if let Some((_, count)) = self.announce_again.filter(|(at, _)| *at <= now) {
                    self.announce_again = None;
                    out.push(Output::Announce { count });
                }
                if self.refresh_at.is_some_and(|at| at <= now) {
                    self.refresh_at = Some(now + self.settings.garp.refresh);
                    out.push(Output::Announce {
                        count: self.settings.garp.refresh_repeat,
                    });
                }
            }
        }
    }

    fn tracked(&mut self, now: Time, effective: Effective, out: &mut Vec<Output>) {
        self.pending = effective.pending;
        self.set_priority(now, effective.priority, out);
        if self.fault != effective.fault {
            self.fault = effective.fault;
            let cause = if self.fault { Cause::Fault } else { Cause::Recovered };
            self.apply_fault(now, cause, out);
        }
        if self.wants && self.pending {
            // It waited for its group, and waits for its own checks again.
            self.wants = false;
            self.overdue = true;
        }
        if self.state == State::Backup && self.overdue && !self.pending {
            self.overdue = false;
            self.wait_is_over(now, out);
        }
    }

    /// It becomes owner: at once, with its group, or when its checks have answered.
    fn wait_is_over(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.pending {
            self.overdue = true;
        } else if self.grouped {
            self.wants = true;
        } else {
            self.promote(now, out);
        }
    }

    fn set_priority(&mut self, now: Time, priority: u8, out: &mut Vec<Output>) {
        let from = std::mem::replace(&mut self.priority, priority);
        if from == priority {
            return;
        }
        out.push(Output::Priority { from, to: priority });
        match self.state {
            // At once, so that a standby that is better now need not wait for the next one.
            State::Master => {
                // What is tracked comes before a takeover on command: the addresses must not stay with who cannot serve.
                if priority < from || self.raise.is_some_and(|raise| raise.priority <= priority) {
                    self.raise = None;
                }
                self.send(self.announced(), out);
                self.advert_at = now + self.settings.interval();
            }
            State::Backup => {
                let interval = self.owner_interval();
                if self.passed_over.is_some_and(|o| o.priority >= priority) {
                    self.leave_it_to_the_owner();
                } else if let Some(at) = self.down_at {
                    let shifted = at + self.settings.skew(priority, interval);
                    self.down_at = Some(shifted.saturating_sub(self.settings.skew(from, interval)));
                }
            }
            State::Stopped | State::Fault => {}
        }
    }

    fn apply_fault(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        match (self.state, self.fault || self.group_fault) {
            (State::Master, true) => {
                out.push(Output::Release);
                self.send(0, out);
                self.down_at = None;
                self.enter(now, State::Fault, cause, out);
            }
            (State::Backup, true) => {
                self.down_at = None;
                self.wants = false;
                self.enter(now, State::Fault, cause, out);
            }
            (State::Fault, false) => self.begin(now, cause, out),
            _ => {}
        }
    }

    fn configure(&mut self, now: Time, settings: Settings, effective: Effective, out: &mut Vec<Output>) {
        let old = std::mem::replace(&mut self.settings, settings);
        self.vips = sorted(&self.settings.vips);
        if old.form != self.settings.form {
            self.learned = None;
        }
        self.mismatched.clear();
        match self.state {
            State::Master => {
                self.advert_at = self.advert_at.min(now + self.settings.interval());
                if old.vips != self.settings.vips {
                    self.send(self.announced(), out);
                }
                // The caller knows of addresses that are not advertised: let it look in any case.
                out.push(Output::Acquire);
                if old.vips != self.settings.vips {
                    out.push(Output::Announce {
                        count: self.settings.garp.repeat,
                    });
                }
                let refresh = self.settings.garp.refresh;
                if old.garp.refresh != refresh {
                    self.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
                }
            }
            State::Backup => {
                if !self.settings.preempt && effective.priority != 255 {
                    self.leave_it_to_the_owner();
                }
                let timers = |s: &Settings| (s.interval(), s.down_adverts);
                if timers(&old) != timers(&self.settings) && self.down_cause == Cause::Silence && self.down_at.is_some()
                {
                    self.wait_for_silence(self.owner.map_or(now, |o| o.heard));
                }
            }
            State::Stopped | State::Fault => {}
        }
        self.tracked(now, effective, out);
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}
