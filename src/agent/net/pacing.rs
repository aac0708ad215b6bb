//! Pauses between gratuitous ARPs and neighbour advertisements on an interface, or on interfaces that share a switch
//! (`vrrp_garp_interval`, `vrrp_gna_interval`, `garp_group`).

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::keepalived::{Config, Family};
use crate::vrrp::Time;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Interface number.
    pub(crate) index: u32,
    /// The address it is about.
    pub(crate) ip: IpAddr,
    /// The Ethernet frame.
    pub(crate) frame: Vec<u8>,
}

/// Interfaces that share a pause, for one kind of message.
#[derive(Debug)]
struct Lane {
    interfaces: BTreeSet<String>,
    family: Family,
    interval: Duration,
    /// The next message may go from here on.
    next: Time,
    queue: VecDeque<Waiting>,
}

impl Lane {
    fn is_for(&self, interface: &str, family: Family) -> bool {
        self.family == family && self.interfaces.contains(interface)
    }
}

/// Everything that is paced; where no pause is configured nothing is.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    lanes: Vec<Lane>,
}

impl Pacer {
    /// The pauses of a configuration. What waits goes on waiting where there still is a pause; else it is due at once.
    /// Returns the latter.
    pub(crate) fn configure(&mut self, config: &Config) -> Vec<Waiting> {
        let old = std::mem::take(&mut self.lanes);
        let mut grouped = BTreeSet::new();
        for group in &config.garp_groups {
            // An interface belongs to the first group that names it.
            let own: BTreeSet<String> = group
                .interfaces
                .iter()
                .filter(|i| !grouped.contains(*i))
                .cloned()
                .collect();
            grouped.extend(own.iter().cloned());
            self.add(&own, group.garp_interval, group.gna_interval);
        }
        let devices = config.instances.iter().flat_map(|i| {
            let vips = i.vips.iter().chain(&i.vips_excluded);
            vips.map(|v| v.dev.as_ref().unwrap_or(&i.interface))
        });
        let others: BTreeSet<&String> = devices.filter(|d| !grouped.contains(*d)).collect();
        for device in others {
            let g = &config.global;
            self.add(
                &BTreeSet::from([device.clone()]),
                Some(g.garp_interval),
                Some(g.gna_interval),
            );
        }
        let mut free = Vec::new();
        for lane in old {
            let new = self
                .lanes
                .iter_mut()
                .find(|l| lane.interfaces.iter().any(|i| l.is_for(i, lane.family)));
            match new {
                Some(new) => {
                    new.next = new.next.max(lane.next);
                    new.queue.extend(lane.queue);
                }
                None => free.extend(lane.queue),
            }
        }
        free
    }

    fn add(&mut self, interfaces: &BTreeSet<String>, garp: Option<Duration>, gna: Option<Duration>) {
        for (family, interval) in [(Family::V4, garp), (Family::V6, gna)] {
            if let Some(interval) = interval.filter(|i| !i.is_zero()) {
                self.lanes.push(Lane {
                    interfaces: interfaces.clone(),
                    family,
                    interval,
                    next: Time::ZERO,
                    queue: VecDeque::new(),
                });
            }
        }
    }

    /// Whether messages of that kind wait for their turn on an interface.
    pub(crate) fn paces(&self, interface: &str, family: Family) -> bool {
        self.lanes.iter().any(|l| l.is_for(interface, family))
    }

    /// Puts a message at the end; `most`: so many of one address wait at once, more would say the same again.
    pub(crate) fn push(&mut self, interface: &str, message: Waiting, most: u32) {
        let family = Family::of(message.ip);
        let Some(lane) = self.lanes.iter_mut().find(|l| l.is_for(interface, family)) else {
            return;
        };
        let same = |w: &&Waiting| w.index == message.index && w.ip == message.ip;
        if lane.queue.iter().filter(same).count() < most as usize {
            lane.queue.push_back(message);
        }
    }

    /// Nothing more is said of an address: we no longer own it.
    pub(crate) fn forget(&mut self, index: u32, ip: IpAddr) {
        for lane in &mut self.lanes {
            lane.queue.retain(|w| (w.index, w.ip) != (index, ip));
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        let busy = self.lanes.iter().filter(|l| !l.queue.is_empty());
        busy.map(|l| l.next).min()
    }

    /// What may go now: at most one message a lane.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Waiting> {
        let mut out = Vec::new();
        for lane in self.lanes.iter_mut().filter(|l| l.next <= now) {
            if let Some(message) = lane.queue.pop_front() {
                // From now on and not from when it was due: a pause is never shorter than asked for.
                lane.next = now + lane.interval;
                out.push(message);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived::{Options, lint};

    fn config(text: &str) -> Config {
        let instance = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1/24\n \
                        10.0.0.2/24\n 10.0.0.3/24 dev eth1\n 10.0.0.4/24 dev eth2\n }\n}\n";
        lint(&format!("{text}{instance}"), &Options::default()).0
    }

    fn message(index: u32, last: u8) -> Waiting {
        Waiting {
            index,
            ip: IpAddr::from([10, 0, 0, last]),
            frame: vec![last],
        }
    }

    const T: fn(u64) -> Time = Time::from_millis;

    #[test]
    fn without_an_interval_nothing_is_paced() {
        let mut pacer = Pacer::default();
        pacer.configure(&config(
            "global_defs {\n vrrp_garp_interval 0\n vrrp_gna_interval 0.1\n}\n",
        ));
        assert!(!pacer.paces("eth0", Family::V4));
        assert!(pacer.paces("eth0", Family::V6));
        assert_eq!(pacer.next_timer(), None);
    }

    #[test]
    fn a_burst_is_spaced_in_its_order_and_ends_with_the_ownership() {
        let mut pacer = Pacer::default();
        pacer.configure(&config("global_defs {\n vrrp_garp_interval 0.1\n}\n"));
        for _ in 0..2 {
            pacer.push("eth0", message(2, 1), 2);
            pacer.push("eth0", message(2, 2), 2);
        }
        // The same again while it still waits adds nothing.
        pacer.push("eth0", message(2, 1), 2);
        pacer.push("eth1", message(3, 3), 1);
        assert_eq!(pacer.due(T(1000)), [message(2, 1), message(3, 3)]);
        assert!(pacer.due(T(1099)).is_empty());
        assert_eq!(pacer.next_timer(), Some(T(1100)));
        // Late is late: the pause after it is whole.
        assert_eq!(pacer.due(T(1150)), [message(2, 2)]);
        assert_eq!(pacer.next_timer(), Some(T(1250)));
        pacer.forget(2, message(2, 1).ip);
        assert_eq!(pacer.due(T(1250)), [message(2, 2)]);
        assert_eq!(pacer.next_timer(), None);
    }

    #[test]
    fn a_group_shares_its_pause_and_the_rest_has_the_global_one() {
        let mut pacer = Pacer::default();
        let text = "garp_group {\n garp_interval 1\n interfaces {\n eth0\n eth1\n }\n}\n\
                    global_defs {\n vrrp_garp_interval 0.1\n}\n";
        pacer.configure(&config(text));
        pacer.push("eth0", message(2, 1), 1);
        pacer.push("eth1", message(3, 3), 1);
        pacer.push("eth2", message(4, 4), 1);
        assert_eq!(pacer.due(T(0)), [message(2, 1), message(4, 4)]);
        assert_eq!(pacer.next_timer(), Some(T(1000)));
        // Without pauses after a reload, what waits is due.
        assert_eq!(pacer.configure(&config("")), [message(3, 3)]);
        assert_eq!(pacer.next_timer(), None);
    }
}
