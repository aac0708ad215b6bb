//! keepalived's rules (2.2.x), as a router of its own for one instance: what the agent is compared with on the same seed.
//!
//! * A standby waits three adverts and its skew time since the last advert that it accepts. A lower one is not accepted
//!   where it may preempt, and changes nothing: it neither starts the wait anew nor makes it shorter.
//! * Priority 0, from whomever, leaves the skew time.
//! * An owner whose priority falls says so with its next advert, not before.
//! * An owner that yields is silent, unless `higher_prio_send_advert` is set.
//! * An owner that was stopped goes on when it runs again.
//! * A crash is silence, and the addresses stay on until the daemon starts again.
//! * A check that has not answered is FAULT, except for an owner that gets one by a reload.
//!
//! Where versions differ, the better one is taken: a list that shares an address counts (2.3.4 and later), one that shares
//! none does not (before 2.3.4), unicast comes from peers only (`vrrp_check_unicast_src`), an interval of 0 does not count.
//! Left out: sync groups, and commands (keepalived has none), so such runs are not compared; authentication and times to
//! live, since the strangers' packets that need them announce nothing that the model would listen to.

use std::net::IpAddr;
use std::time::Duration;

use hapair::vrrp::track::Effective;
use hapair::vrrp::{Advert, Cause, Input, Output, Packet, Settings, State, Time};

pub(crate) struct Keepalived {
    s: Settings,
    state: State,
    effective: Effective,
    /// Standby: when its wait is over. Owner: when the next advert is due.
    at: Time,
    /// Version 3: of the owner that was accepted last.
    interval: Duration,
    /// Preempt delay: until when lower adverts are accepted.
    preempt_at: Option<Time>,
    announce_at: Option<Time>,
    refresh_at: Option<Time>,
    lower_announced: Option<Time>,
}

impl Keepalived {
    pub(crate) fn new(s: Settings) -> Keepalived {
        Keepalived {
            state: State::Stopped,
            effective: Effective {
                priority: s.priority,
                fault: false,
                pending: false,
            },
            at: Time::ZERO,
            interval: s.interval(),
            preempt_at: None,
            announce_at: None,
            refresh_at: None,
            lower_announced: None,
            s,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        match self.state {
            State::Stopped | State::Fault => None,
            State::Backup => Some(self.at),
            State::Master => [Some(self.at), self.announce_at, self.refresh_at]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    pub(crate) fn handle(&mut self, now: Time, input: &Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Start { .. } => {
                out.push(Output::Release);
                self.enter_election(now, &mut out);
            }
            Input::Packet(packet) => self.packet(now, packet, &mut out),
            Input::Tick => self.tick(now, &mut out),
            Input::Tracked(effective) => self.tracked(now, *effective, &mut out),
            Input::Configure(settings, effective) => {
                let old = std::mem::replace(&mut self.s, (**settings).clone());
                if self.state == State::Master {
                    out.push(Output::Acquire);
                }
                if self.state == State::Backup && old.interval() != self.s.interval() {
                    self.interval = self.s.interval();
                    self.wait(now);
                }
                self.tracked(now, *effective, &mut out);
            }
            Input::Stop => {
                self.leave(State::Stopped, &mut out);
            }
            // keepalived has no such commands, and does not look at whether an advert went out.
            _ => {}
        }
        out
    }

    fn enter_election(&mut self, now: Time, out: &mut Vec<Output>) {
        let Effective { fault, pending, .. } = self.effective;
        if fault || pending {
            return self.enter(State::Fault, out);
        }
        self.back_up(now, out);
        if self.effective.priority == 255 {
            self.at = now;
            self.tick(now, out);
        }
    }

    fn back_up(&mut self, now: Time, out: &mut Vec<Output>) {
        self.enter(State::Backup, out);
        self.interval = self.s.interval();
        self.preempt_at = None;
        self.wait(now);
    }

    fn wait(&mut self, from: Time) {
        self.at = from + self.s.master_down(self.effective.priority, self.interval);
    }

    fn enter(&mut self, to: State, out: &mut Vec<Output>) {
        let from = std::mem::replace(&mut self.state, to);
        self.announce_at = None;
        self.refresh_at = None;
        self.lower_announced = None;
        if from != to {
            let cause = Cause::Silence;
            out.push(Output::Transition { from, to, cause });
        }
    }

    /// An owner that leaves says so.
    fn leave(&mut self, to: State, out: &mut Vec<Output>) {
        if self.state == State::Master {
            self.send(0, out);
            out.push(Output::Release);
        }
        self.enter(to, out);
    }

    fn send(&self, priority: u8, out: &mut Vec<Output>) {
        out.push(Output::Send {
            advert: self.s.advert(priority),
            form: self.s.form,
        });
    }

    /// The owner's advert, and when the next one is due: reckoned from now.
    fn advertise(&mut self, now: Time, out: &mut Vec<Output>) {
        self.send(self.effective.priority, out);
        self.at = now + self.s.interval();
    }

    fn announce(&mut self, now: Time, out: &mut Vec<Output>) {
        out.push(Output::Announce {
            count: self.s.garp.repeat,
        });
        self.announce_at = Some(now + self.s.garp.delay);
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.state {
            State::Backup if self.at <= now => {
                self.enter(State::Master, out);
                self.advertise(now, out);
                out.push(Output::Acquire);
                self.announce(now, out);
                self.refresh_at = Some(now + self.s.garp.refresh);
            }
            State::Master => {
                if self.at <= now {
                    self.advertise(now, out);
                }
                if self.announce_at.is_some_and(|at| at <= now) {
                    self.announce_at = None;
                    out.push(Output::Announce {
                        count: self.s.garp.repeat,
                    });
                }
                if self.refresh_at.is_some_and(|at| at <= now) {
                    self.refresh_at = Some(now + self.s.garp.refresh);
                    out.push(Output::Announce {
                        count: self.s.garp.refresh_repeat,
                    });
                }
            }
            _ => {}
        }
    }

    fn tracked(&mut self, now: Time, effective: Effective, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.effective, effective);
        match self.state {
            State::Backup => {
                let skew = |priority| self.s.skew(priority, self.interval);
                self.at = (self.at + skew(effective.priority)).saturating_sub(skew(before.priority));
                if effective.fault || effective.pending {
                    self.enter(State::Fault, out);
                }
            }
            State::Master if effective.fault => self.leave(State::Fault, out),
            State::Fault if !effective.fault && !effective.pending => self.enter_election(now, out),
            _ => {}
        }
    }

    fn packet(&mut self, now: Time, packet: &Packet<'_>, out: &mut Vec<Output>) {
        let Ok((advert, _)) = Advert::decode(packet.payload, packet.src, packet.dst) else {
            return;
        };
        if !self.counts(packet.src, &advert) {
            return;
        }
        match self.state {
            State::Backup => self.as_backup(now, &advert),
            State::Master => self.as_master(now, packet.src, &advert, out),
            _ => {}
        }
    }

    fn counts(&self, src: IpAddr, advert: &Advert) -> bool {
        let peer = self
            .s
            .peers
            .as_ref()
            .is_none_or(|peers| peers.iter().any(|p| p.ip == src));
        let shared = advert.addresses.iter().any(|a| self.s.vips.contains(a));
        let interval = advert.version == 3 || advert.interval == self.s.interval_field();
        advert.version == self.s.version && peer && shared && interval
    }

    fn as_backup(&mut self, now: Time, advert: &Advert) {
        let priority = self.effective.priority;
        if advert.priority == 0 {
            self.at = now + self.s.skew(priority, self.interval);
            return;
        }
        let lower = advert.priority < priority && (self.s.preempt || priority == 255);
        if lower {
            let delay = if priority == 255 {
                Duration::ZERO
            } else {
                self.s.preempt_delay
            };
            if now >= *self.preempt_at.get_or_insert(now + delay) {
                return;
            }
        } else {
            self.preempt_at = None;
        }
        if self.s.version == 3 {
            self.interval = self.s.interval_of(advert.interval);
        }
        self.wait(now);
    }

    fn as_master(&mut self, now: Time, src: IpAddr, advert: &Advert, out: &mut Vec<Output>) {
        if advert.priority == 0 {
            self.advertise(now, out);
        } else if (advert.priority, src) > (self.effective.priority, self.s.source) {
            if self.s.higher_prio_send_advert {
                self.advertise(now, out);
            }
            out.push(Output::Release);
            self.back_up(now, out);
            if self.s.version == 3 {
                self.interval = self.s.interval_of(advert.interval);
                self.wait(now);
            }
        } else {
            if !self.s.lower_prio_no_advert {
                self.advertise(now, out);
            }
            // keepalived's vrrp_garp_lower_prio_interval would do the same in a file of ours; each time would be a storm.
            if self.lower_announced.is_none_or(|at| now >= at + Duration::from_secs(1)) {
                self.lower_announced = Some(now);
                self.announce(now, out);
            }
        }
    }
}
