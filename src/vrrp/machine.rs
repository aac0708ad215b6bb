//! One virtual router's election (RFC 9568, 6.4), as a function from inputs to outputs.

use std::mem::discriminant;
use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::packet::{Advert, Form};
use super::rules::{self, Ignored};
use super::settings::Settings;
use super::track::Effective;

/// State of the election, in keepalived's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes no part.
    Stopped,
    /// Wants to take part and may not.
    Fault,
    /// Takes part and does not own the addresses.
    Backup,
    /// Owns the addresses.
    Master,
}

/// Why a state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The router starts.
    Start,
    /// The owner was silent for too long, or there was none.
    Silence,
    /// The owner said that it stops.
    OwnerStopped,
    /// The owner has a lower priority.
    Preempt,
    /// Somebody has a higher priority, or an equal one and a higher address.
    Higher(IpAddr),
    /// Something tracked fails.
    Fault,
    /// What was tracked is good again.
    Recovered,
    /// Another member of the sync group.
    Group,
    /// On command.
    Handover,
    /// We did not run for so long that the others must have elected somebody else.
    Stalled,
    /// The router stops.
    Stop,
}

/// A received packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'b> {
    /// Sender.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// What follows the IP header.
    pub payload: &'b [u8],
}

/// What happens to a router.
#[derive(Debug, Clone)]
pub enum Input<'b> {
    /// It begins; `crashed`: its last life did not end by [`Input::Stop`].
    Start {
        /// No clean end before.
        crashed: bool,
    },
    /// A VRRP packet for its id arrived on its interface.
    ///
    /// Whoever was kept from running hands in what has piled up before the next [`Input::Tick`].
    Packet(Packet<'b>),
    /// [`Router::next_timer`] has passed.
    Tick,
    /// What is tracked changed.
    Tracked(Effective),
    /// New settings for the same router ([`Settings::same_router`]), and the effective priority under them.
    Configure(Box<Settings>, Effective),
    /// Somebody else removed an address.
    AddressLost,
    /// Give the addresses away and do not take them back for that long (`None`: until [`Input::Resume`]).
    Handover(Option<Duration>),
    /// Do not take over from a living owner for that long (`None`: until [`Input::Resume`]).
    Hold(Option<Duration>),
    /// Ends [`Input::Hold`], a handover's hold, and the hold after a crash.
    Resume,
    /// It ends.
    Stop,
}

/// What a router wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to the group or to every peer.
    Send {
        /// What.
        advert: Advert,
        /// How its checksum is made.
        form: Form,
    },
    /// Put every address of the current settings on its interface that is not there yet.
    Acquire,
    /// Take every address off.
    Release,
    /// Tell the neighbours about every address so many times.
    Announce {
        /// Messages an address.
        count: u32,
    },
    /// The state changed.
    Transition {
        /// Old state.
        from: State,
        /// New state.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// The effective priority changed.
    Priority {
        /// Old.
        from: u8,
        /// New.
        to: u8,
    },
    /// While owner, a lower priority was heard.
    LowerHeard {
        /// From whom.
        src: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Somebody should look.
    Alarm(Alarm),
}

/// Something is configured differently elsewhere. Each is raised once until the state changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// An advert counts, though its VIP list is not ours.
    VipMismatch {
        /// Sender.
        src: IpAddr,
        /// Its list.
        theirs: Vec<IpAddr>,
    },
    /// The list of that sender is ours again.
    VipMatch {
        /// Sender.
        src: IpAddr,
    },
    /// A packet does not count.
    Ignored {
        /// Sender.
        src: IpAddr,
        /// Why.
        reason: Ignored,
    },
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Adverts that counted.
    pub received: u64,
    /// Adverts sent.
    pub sent: u64,
    /// Packets that did not count.
    pub ignored: u64,
    /// Of those, for their password or authentication type.
    pub auth_failures: u64,
    /// Of those, for their checksum.
    pub checksum_errors: u64,
    /// Priority 0 heard.
    pub zero_received: u64,
    /// Priority 0 sent.
    pub zero_sent: u64,
    /// Times it became owner.
    pub became_master: u64,
    /// Times it ceased to be owner.
    pub left_master: u64,
}

/// A router's state for people and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// State.
    pub state: State,
    /// When it was entered.
    pub since: Time,
    /// Why.
    pub cause: Cause,
    /// Effective priority.
    pub priority: u8,
    /// The owner that was heard last: address and priority.
    pub owner: Option<(IpAddr, u8)>,
    /// It does not take over from a living owner now, although it otherwise would.
    pub held: bool,
    /// Counters.
    pub statistics: Statistics,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    src: IpAddr,
    priority: u8,
    interval: Duration,
    heard: Time,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Hold {
    Until(Time),
    Resume,
}

/// Alarms remembered at most, so that a flood of forged senders costs no memory.
const MAX_ALARMS: usize = 32;
/// Between two announcements caused by lower adverts.
const LOWER_ANNOUNCE_GAP: Duration = Duration::from_secs(1);

/// One virtual router.
#[derive(Debug, Clone)]
pub struct Router {
    s: Settings,
    state: State,
    since: Time,
    cause: Cause,
    priority: u8,
    fault: bool,
    pub(super) group_fault: bool,
    /// Becoming owner is the group's decision.
    pub(super) grouped: bool,
    /// Its wait is over; it becomes owner when its group does.
    pub(super) wants: bool,
    /// Backup: when the wait is over, and what it is for.
    down_at: Option<Time>,
    down_cause: Cause,
    owner: Option<Owner>,
    /// Preempt delay: since when a lower owner is known.
    lower_since: Option<Time>,
    hold: Option<Hold>,
    crash_hold: Option<Time>,
    /// Master: when the next advert is due, by the clock and not by when the last one really went.
    advert_at: Time,
    announce_again: Option<(Time, u32)>,
    refresh_at: Option<Time>,
    lower_announced: Option<Time>,
    form: Form,
    alarms: Vec<(IpAddr, Ignored)>,
    mismatched: Vec<IpAddr>,
    statistics: Statistics,
}

impl Router {
    /// A router that does not take part yet.
    pub fn new(settings: Settings) -> Router {
        Router {
            state: State::Stopped,
            since: Time::ZERO,
            cause: Cause::Stop,
            priority: settings.priority,
            fault: false,
            group_fault: false,
            grouped: false,
            wants: false,
            down_at: None,
            down_cause: Cause::Silence,
            owner: None,
            lower_since: None,
            hold: None,
            crash_hold: None,
            advert_at: Time::ZERO,
            announce_again: None,
            refresh_at: None,
            lower_announced: None,
            form: settings.form,
            alarms: Vec::new(),
            mismatched: Vec::new(),
            statistics: Statistics::default(),
            s: settings,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.s
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
            owner: self.owner.map(|o| (o.src, o.priority)),
            held: self.held(now),
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
                [Some(self.advert_at), again, self.refresh_at]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        if self.state == State::Master && now > self.advert_at + self.s.advert_int * u32::from(self.s.down_adverts) {
            // Somebody else owns the addresses by now. To go on as owner would make two.
            out.push(Output::Release);
            self.fall_back(now, Cause::Stalled, None, &mut out);
        }
        match input {
            Input::Start { crashed } => {
                self.crash_hold = crashed.then(|| now + self.s.crash_hold);
                self.hold = None;
                // What a former life may have left.
                out.push(Output::Release);
                self.begin(now, Cause::Start, &mut out);
            }
            Input::Packet(packet) => self.packet(now, &packet, &mut out),
            Input::Tick => self.tick(now, &mut out),
            Input::Tracked(effective) => self.tracked(now, effective, &mut out),
            Input::Configure(settings, effective) => self.configure(now, *settings, effective, &mut out),
            Input::AddressLost => {
                if self.state == State::Master {
                    out.extend([Output::Acquire, Output::Announce { count: 1 }]);
                }
            }
            Input::Handover(time) => {
                self.hold = Some(time.map_or(Hold::Resume, |t| Hold::Until(now + t)));
                if self.state == State::Master {
                    self.resign(now, Cause::Handover, &mut out);
                }
            }
            Input::Hold(time) => self.hold = Some(time.map_or(Hold::Resume, |t| Hold::Until(now + t))),
            Input::Resume => {
                self.hold = None;
                self.crash_hold = None;
            }
            Input::Stop => self.stop(now, &mut out),
        }
        out
    }

    /// The group decided. Only from Backup.
    pub(super) fn promote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state != State::Backup {
            return;
        }
        self.wants = false;
        self.down_at = None;
        self.lower_since = None;
        self.owner = None;
        self.enter(now, State::Master, self.down_cause, out);
        self.statistics.became_master += 1;
        // The advert goes first: a former owner drops the addresses before we have them.
        self.send(self.priority, out);
        self.advert_at = now + self.s.advert_int;
        out.push(Output::Acquire);
        self.announce(now, self.s.garp.repeat, self.s.garp.delay, out);
        let refresh = self.s.garp.refresh;
        self.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
    }

    /// Another member of the group ceased to be owner.
    pub(super) fn demote(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Master {
            self.resign(now, Cause::Group, out);
        }
    }

    /// Another member of the group fails, or none does any more.
    pub(super) fn set_group_fault(&mut self, now: Time, fault: bool, out: &mut Vec<Output>) {
        if self.group_fault != fault {
            self.group_fault = fault;
            self.apply_fault(now, Cause::Group, out);
        }
    }

    fn enter(&mut self, now: Time, to: State, cause: Cause, out: &mut Vec<Output>) {
        let from = self.state;
        if from == State::Master {
            self.statistics.left_master += 1;
            self.announce_again = None;
            self.refresh_at = None;
            self.lower_announced = None;
        }
        (self.state, self.since, self.cause) = (to, now, cause);
        self.alarms.clear();
        if from != to {
            out.push(Output::Transition { from, to, cause });
        }
    }

    fn send(&mut self, priority: u8, out: &mut Vec<Output>) {
        self.statistics.sent += 1;
        self.statistics.zero_sent += u64::from(priority == 0);
        out.push(Output::Send {
            advert: self.s.advert(priority),
            form: self.form,
        });
    }

    fn announce(&mut self, now: Time, count: u32, delay: Duration, out: &mut Vec<Output>) {
        if count > 0 {
            out.push(Output::Announce { count });
            if !delay.is_zero() {
                self.announce_again = Some((now + delay, count));
            }
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

    fn fall_back(&mut self, now: Time, cause: Cause, owner: Option<Owner>, out: &mut Vec<Output>) {
        self.enter(now, State::Backup, cause, out);
        self.wants = false;
        self.lower_since = None;
        self.owner = owner;
        self.wait_for_silence(now);
    }

    fn wait_for_silence(&mut self, from: Time) {
        self.down_at = Some(from + self.s.master_down(self.priority, self.owner_interval()));
        self.down_cause = Cause::Silence;
    }

    /// Version 3 follows the owner's interval (RFC 9568, 6.4.2), version 2 has its own.
    fn owner_interval(&self) -> Duration {
        self.owner
            .filter(|_| self.s.version == 3)
            .map_or(self.s.advert_int, |o| o.interval)
    }

    /// Gives the addresses up: first off, then the word that the others may have them.
    fn resign(&mut self, now: Time, cause: Cause, out: &mut Vec<Output>) {
        out.push(Output::Release);
        self.send(0, out);
        self.fall_back(now, cause, None, out);
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

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.state {
            State::Stopped | State::Fault => {}
            State::Backup => {
                if self.down_at.is_some_and(|at| at <= now) {
                    self.down_at = None;
                    if self.grouped {
                        self.wants = true;
                    } else {
                        self.promote(now, out);
                    }
                }
            }
            State::Master => {
                if self.advert_at <= now {
                    self.send(self.priority, out);
                    while self.advert_at <= now {
                        self.advert_at += self.s.advert_int;
                    }
                }
                if let Some((_, count)) = self.announce_again.filter(|(at, _)| *at <= now) {
                    self.announce_again = None;
                    out.push(Output::Announce { count });
                }
                if self.refresh_at.is_some_and(|at| at <= now) {
                    self.refresh_at = Some(now + self.s.garp.refresh);
                    out.push(Output::Announce {
                        count: self.s.garp.refresh_repeat,
                    });
                }
            }
        }
    }

    fn tracked(&mut self, now: Time, effective: Effective, out: &mut Vec<Output>) {
        self.set_priority(now, effective.priority, out);
        if self.fault != effective.fault {
            self.fault = effective.fault;
            let cause = if self.fault { Cause::Fault } else { Cause::Recovered };
            self.apply_fault(now, cause, out);
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
                self.send(priority, out);
                self.advert_at = now + self.s.advert_int;
            }
            State::Backup => {
                let interval = self.owner_interval();
                let overtaken = self.owner.filter(|o| o.priority >= priority);
                if let (Cause::Preempt, Some(owner)) = (self.down_cause, overtaken) {
                    // The reason to take over is gone.
                    self.wants = false;
                    self.wait_for_silence(owner.heard);
                } else if let Some(at) = self.down_at {
                    let shifted = at + self.s.skew(priority, interval);
                    self.down_at = Some(shifted.saturating_sub(self.s.skew(from, interval)));
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
        let old = std::mem::replace(&mut self.s, settings);
        if old.form != self.s.form {
            self.form = self.s.form;
        }
        self.mismatched.clear();
        self.alarms.clear();
        match self.state {
            State::Master => {
                self.advert_at = self.advert_at.min(now + self.s.advert_int);
                if old.vips != self.s.vips {
                    self.send(effective.priority, out);
                }
                // The caller knows of addresses that are not advertised: let it look in any case.
                out.push(Output::Acquire);
                if old.vips != self.s.vips {
                    out.push(Output::Announce {
                        count: self.s.garp.repeat,
                    });
                }
                let refresh = self.s.garp.refresh;
                if old.garp.refresh != refresh {
                    self.refresh_at = (!refresh.is_zero()).then(|| now + refresh);
                }
            }
            State::Backup => {
                if !self.s.preempt && self.down_cause == Cause::Preempt && self.priority != 255 {
                    self.wants = false;
                    self.wait_for_silence(self.owner.map_or(now, |o| o.heard));
                }
                let timers = |s: &Settings| (s.advert_int, s.down_adverts);
                if timers(&old) != timers(&self.s) && self.down_cause == Cause::Silence && self.down_at.is_some() {
                    self.wait_for_silence(self.owner.map_or(now, |o| o.heard));
                }
            }
            State::Stopped | State::Fault => {}
        }
        self.tracked(now, effective, out);
    }

    fn held(&self, now: Time) -> bool {
        let commanded = match self.hold {
            Some(Hold::Until(time)) => now < time,
            Some(Hold::Resume) => true,
            None => false,
        };
        commanded || self.crash_hold.is_some_and(|until| now < until)
    }

    /// Whether a lower owner that is heard now may be replaced.
    fn may_preempt(&mut self, now: Time) -> bool {
        if self.held(now) {
            self.lower_since = None;
            return false;
        }
        if self.priority == 255 {
            return true;
        }
        let since = *self.lower_since.get_or_insert(now);
        self.s.preempt && now >= since + self.s.preempt_delay
    }

    fn packet(&mut self, now: Time, packet: &Packet<'_>, out: &mut Vec<Output>) {
        if matches!(self.state, State::Stopped | State::Fault) {
            return;
        }
        let (advert, form) = match rules::accept(&self.s, packet) {
            Ok(accepted) => accepted,
            Err(reason) => return self.ignored(packet.src, reason, out),
        };
        self.statistics.received += 1;
        self.statistics.zero_received += u64::from(advert.priority == 0);
        if self.s.version == 3 {
            self.form = form;
        }
        let known = self.owner.is_some_and(|o| o.src == packet.src);
        if !(self.s.skip_check_adv_addr && known) {
            self.compare_vips(packet.src, &advert, out);
        }
        let interval = self.s.interval_of(advert.interval);
        let sender = Owner {
            src: packet.src,
            priority: advert.priority,
            interval,
            heard: now,
        };
        match self.state {
            State::Master => self.as_master(now, sender, out),
            _ => self.as_backup(now, sender),
        }
    }

    fn as_master(&mut self, now: Time, sender: Owner, out: &mut Vec<Output>) {
        if sender.priority == 0 {
            // Whoever waits for the other's end should hear that there is an owner.
            self.send(self.priority, out);
            self.advert_at = now + self.s.advert_int;
            return;
        }
        if (sender.priority, sender.src) > (self.priority, self.s.source) {
            if self.s.higher_prio_send_advert {
                self.send(self.priority, out);
            }
            out.push(Output::Release);
            self.fall_back(now, Cause::Higher(sender.src), Some(sender), out);
            return;
        }
        if !self.s.lower_prio_no_advert {
            self.send(self.priority, out);
            self.advert_at = now + self.s.advert_int;
        }
        // The other one has told the neighbours that it owns the addresses.
        if self.lower_announced.is_none_or(|at| now >= at + LOWER_ANNOUNCE_GAP) {
            self.lower_announced = Some(now);
            self.announce(now, self.s.garp.lower_prio_repeat, self.s.garp.lower_prio_delay, out);
            out.push(Output::LowerHeard {
                src: sender.src,
                priority: sender.priority,
            });
        }
    }

    fn as_backup(&mut self, now: Time, sender: Owner) {
        let current = self.owner;
        if sender.priority == 0 {
            // Only the owner's end matters: a loser of an election that stops says nothing about the winner.
            if current.is_none_or(|o| o.src == sender.src) && !self.wants {
                self.down_at = Some(now + self.s.skew(self.priority, self.owner_interval()));
                self.down_cause = Cause::OwnerStopped;
                self.owner = None;
            }
            return;
        }
        if sender.priority >= self.priority {
            self.lower_since = None;
            return self.follow(now, sender);
        }
        // A better owner than us is alive: it will deal with the lower one. If it is not, the lower one may be the owner
        // by now, and who may not preempt must not take its own wait for the better one as a reason to.
        if current.is_some_and(|o| o.src != sender.src && o.priority >= self.priority) {
            let at_once = !self.held(now) && (self.priority == 255 || self.s.preempt && self.s.preempt_delay.is_zero());
            if !at_once {
                self.follow(now, sender);
            }
            return;
        }
        if !self.may_preempt(now) {
            return self.follow(now, sender);
        }
        self.owner = Some(sender);
        let takeover = now + self.s.skew(self.priority, self.owner_interval());
        if !self.wants && self.down_at.is_none_or(|at| takeover < at) {
            self.down_at = Some(takeover);
            self.down_cause = Cause::Preempt;
        }
    }

    /// Waits until that owner is silent.
    fn follow(&mut self, now: Time, owner: Owner) {
        self.owner = Some(owner);
        self.wants = false;
        self.wait_for_silence(now);
    }

    fn compare_vips(&mut self, src: IpAddr, advert: &Advert, out: &mut Vec<Output>) {
        let same = advert.addresses == self.s.vips || {
            // The order does not matter; keepalived looks for each of its own.
            let sorted = |list: &[IpAddr]| {
                let mut list = list.to_vec();
                list.sort_unstable();
                list
            };
            sorted(&advert.addresses) == sorted(&self.s.vips)
        };
        let raised = self.mismatched.contains(&src);
        if same && raised {
            self.mismatched.retain(|s| *s != src);
            out.push(Output::Alarm(Alarm::VipMatch { src }));
        } else if !same && !raised && self.mismatched.len() < MAX_ALARMS {
            self.mismatched.push(src);
            out.push(Output::Alarm(Alarm::VipMismatch {
                src,
                theirs: advert.addresses.clone(),
            }));
        }
    }

    fn ignored(&mut self, src: IpAddr, reason: Ignored, out: &mut Vec<Output>) {
        if reason == Ignored::Own {
            return;
        }
        self.statistics.ignored += 1;
        match reason {
            Ignored::AuthType(_) | Ignored::Password => self.statistics.auth_failures += 1,
            Ignored::Packet(super::packet::PacketError::Checksum) => self.statistics.checksum_errors += 1,
            _ => {}
        }
        let known = |(s, r): &(IpAddr, Ignored)| *s == src && discriminant(r) == discriminant(&reason);
        if self.alarms.len() < MAX_ALARMS && !self.alarms.iter().any(known) {
            self.alarms.push((src, reason));
            out.push(Output::Alarm(Alarm::Ignored { src, reason }));
        }
    }
}
