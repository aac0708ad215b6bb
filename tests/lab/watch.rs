//! A client's view of the pair while something is done to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;

/// What a client saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Between two looks of the same kind: what is shorter may have been missed.
    pub(crate) longest_blind: Duration,
    /// Between two good answers of the VIP.
    pub(crate) longest_outage: Duration,
    /// Hosts that answered for the VIP in one look and in the next: a handover in the middle of one look shows both.
    pub(crate) most_owners: usize,
    /// How long each look showed more than one.
    pub(crate) longest_split: Duration,
    /// How long no host accepted SSH; zero where nobody asked.
    pub(crate) longest_unreachable: Duration,
}

impl Seen {
    /// Nothing but a graceful handover, if even that: one missed look is 250 ms, the seed's priorities make a handover
    /// last 0.61 s, and an election that nobody prepared lasts 3.6 s.
    #[track_caller]
    pub(crate) fn gently(&self, what: &str) {
        self.one_owner(what);
        assert!(
            self.longest_outage < Duration::from_secs(2),
            "{what}: VIP away for {:?}",
            self.longest_outage
        );
    }

    /// A planned move between two agents: nobody waits for a skew time, which lasts 0.61 s here. One missed look is 250 ms.
    #[track_caller]
    pub(crate) fn at_once(&self, what: &str) {
        self.one_owner(what);
        eprintln!("{what}: VIP away for {:?}", self.longest_outage);
        assert!(
            self.longest_outage < Duration::from_millis(500),
            "{what}: VIP away for {:?}",
            self.longest_outage
        );
    }

    /// Never two owners.
    #[track_caller]
    pub(crate) fn one_owner(&self, what: &str) {
        assert!(
            self.longest_blind < Duration::from_secs(1),
            "{what}: nobody looked for {:?}",
            self.longest_blind
        );
        assert!(self.most_owners <= 1, "{what}: {} owners at once", self.most_owners);
    }
}

/// Ends the watch when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks the VIP over HTTP and ARP all the while `work` runs.
pub(crate) fn watch(twins: &Twins, vip: IpAddr, work: impl FnOnce() + Send) -> Seen {
    watch_hosts(twins, vip, &[], work)
}

/// The same, and whether SSH is accepted at any of these addresses.
pub(crate) fn watch_hosts(twins: &Twins, vip: IpAddr, hosts: &[&str], work: impl FnOnce() + Send) -> Seen {
    let hosts: Vec<SocketAddr> = hosts
        .iter()
        .map(|h| SocketAddr::new(h.parse().expect("address"), 22))
        .collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, hosts) = (&over, &hosts);
        // Each on a thread of its own: none is slowed down by what another one waits for.
        let http = scope.spawn(move || twins.outside(|| in_runtime(answers(vip, over))));
        let arp = scope.spawn(move || twins.outside(|| owners(vip, over)));
        let ssh = scope.spawn(move || twins.outside(|| in_runtime(reachable(hosts, over))));
        // Also when the work panics: the scope waits for the watchers.
        let end = End(over);
        work();
        drop(end);
        let (asked, longest_outage) = http.join().expect("watcher");
        let (looked, most_owners, longest_split) = arp.join().expect("watcher");
        Seen {
            longest_blind: asked.max(looked),
            longest_outage,
            most_owners,
            longest_split,
            longest_unreachable: ssh.join().expect("watcher"),
        }
    })
}

pub(crate) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("runtime").block_on(work)
}

/// Longest time between two requests, and between two good answers.
async fn answers(vip: IpAddr, over: &AtomicBool) -> (Duration, Duration) {
    let (mut blind, mut longest, mut last_good) = (Duration::ZERO, Duration::ZERO, Instant::now());
    let address = SocketAddr::new(vip, 80);
    let mut last = Instant::now();
    while !over.load(Ordering::Relaxed) {
        blind = blind.max(last.elapsed());
        last = Instant::now();
        let answer = hapair::probe::http_once(address, "vip", "/.hapair/health", Duration::from_millis(250)).await;
        if answer.is_ok_and(|a| a.status == 200) {
            longest = longest.max(last_good.elapsed());
            last_good = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (blind.max(last.elapsed()), longest.max(last_good.elapsed()))
}

/// Longest time between two looks, most owners in two looks, longest time with more than one.
fn owners(vip: IpAddr, over: &AtomicBool) -> (Duration, usize, Duration) {
    let interface = hapair::probe::arp::interface_for(vip).expect("the controller is on the VIP's network");
    let (mut most, mut longest, mut before) = (0, Duration::ZERO, 0);
    let mut split: Option<Instant> = None;
    let (mut blind, mut began) = (Duration::ZERO, Instant::now());
    while !over.load(Ordering::Relaxed) {
        blind = blind.max(began.elapsed());
        began = Instant::now();
        let owners = hapair::probe::arp::who_has(vip, &interface, Duration::from_millis(30)).expect("ARP");
        most = most.max(owners.len().min(before));
        before = owners.len();
        if before > 1 {
            longest = longest.max(split.get_or_insert(began).elapsed());
        } else {
            split = None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (blind.max(began.elapsed()), most, longest)
}

async fn reachable(hosts: &[SocketAddr], over: &AtomicBool) -> Duration {
    let (mut longest, mut last_good) = (Duration::ZERO, Instant::now());
    while !hosts.is_empty() && !over.load(Ordering::Relaxed) {
        for host in hosts {
            // Those after the first that answers need not be asked.
            if hapair::probe::tcp_once(*host, Duration::from_millis(250)).await.is_ok() {
                longest = longest.max(last_good.elapsed());
                last_good = Instant::now();
                break;
            }
        }
        // sshd forks for each of them.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if hosts.is_empty() {
        longest
    } else {
        longest.max(last_good.elapsed())
    }
}
