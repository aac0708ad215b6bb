//! `interface_up_down_delays`: a link that comes or goes counts only after it has stayed so for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::net::netlink::Links;
use crate::keepalived::Config;
use crate::vrrp::Time;

#[derive(Debug)]
struct Delayed {
    down: Duration,
    up: Duration,
    /// What counts.
    running: bool,
    /// Since when the other has been seen.
    differs_since: Option<Time>,
}

impl Delayed {
    fn due(&self) -> Option<Time> {
        let delay = if self.running { self.down } else { self.up };
        self.differs_since.map(|since| since + delay)
    }
}

/// Interfaces with delays; all others count as they are.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    all: BTreeMap<String, Delayed>,
}

impl Debounce {
    /// Delays of a configuration; what an interface is at first counts at once.
    pub(crate) fn configure(&mut self, config: &Config, links: &Links) {
        let mut old = std::mem::take(&mut self.all);
        for (name, (down, up)) in &config.up_down_delays {
            let before = old.remove(name);
            let delayed = Delayed {
                down: *down,
                up: *up,
                running: before.as_ref().map_or_else(|| is(links, name), |d| d.running),
                differs_since: before.and_then(|d| d.differs_since),
            };
            self.all.insert(name.clone(), delayed);
        }
    }

    /// Takes in what the links are now. Returns whether what counts changed.
    pub(crate) fn tick(&mut self, now: Time, links: &Links) -> bool {
        let mut changed = false;
        for (name, delayed) in &mut self.all {
            if is(links, name) == delayed.running {
                delayed.differs_since = None;
                continue;
            }
            delayed.differs_since.get_or_insert(now);
            if delayed.due().is_some_and(|due| due <= now) {
                delayed.running = !delayed.running;
                delayed.differs_since = None;
                changed = true;
            }
        }
        changed
    }

    /// Whether an interface counts as up.
    pub(crate) fn running(&self, links: &Links, name: &str) -> bool {
        self.all.get(name).map_or_else(|| is(links, name), |d| d.running)
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.all.values().filter_map(Delayed::due).min()
    }
}

fn is(links: &Links, name: &str) -> bool {
    links.named(name).is_some_and(|l| l.running)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::net::netlink::{Change, Link};

    const T: fn(u64) -> Time = Time::from_millis;

    fn set(links: &mut Links, running: bool) {
        let link = Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: None,
            running,
        };
        links.apply(&Change::Link(link));
    }

    #[test]
    fn only_what_lasts_counts() {
        let delays = [("eth0".to_owned(), (Duration::from_secs(2), Duration::from_secs(3)))];
        let config = Config {
            up_down_delays: delays.into(),
            ..Config::default()
        };
        let (mut links, mut debounce) = (Links::default(), Debounce::default());
        set(&mut links, true);
        debounce.configure(&config, &links);
        assert!(debounce.running(&links, "eth0"));
        set(&mut links, false);
        assert!(!debounce.tick(T(0), &links) && debounce.running(&links, "eth0"));
        assert_eq!(debounce.next_timer(), Some(T(2000)));
        set(&mut links, true);
        assert!(!debounce.tick(T(1999), &links));
        assert_eq!(debounce.next_timer(), None, "it was a bounce");
        set(&mut links, false);
        assert!(!debounce.tick(T(5000), &links));
        // A reload meanwhile does not begin anew.
        debounce.configure(&config, &links);
        assert!(debounce.tick(T(7000), &links) && !debounce.running(&links, "eth0"));
        set(&mut links, true);
        assert!(!debounce.tick(T(8000), &links) && debounce.tick(T(11_000), &links));
        assert!(debounce.running(&links, "eth0"));
        debounce.configure(&Config::default(), &links);
        set(&mut links, false);
        assert!(!debounce.running(&links, "eth0"), "without delays at once");
    }
}
