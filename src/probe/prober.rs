//! Asks addresses on a fixed schedule and keeps every answer.
//!
//! Open loop: probe number n leaves at `start + n × interval` whatever became of those before it, so a slow answer
//! hides nothing behind it. The schedule has a thread and a tokio runtime of its own, so that the caller's work
//! (rendering, SSH) cannot delay a probe. The thread is born from the caller's and so shares its network namespace.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::http::{http_once, tcp_once};
use super::timeline::{FailKind, Outcome, Sample, Timeline};

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeTarget {
    /// HTTP GET; the answering node is known from its header.
    Http {
        /// VIP and port.
        addr: SocketAddr,
        /// `Host:` header.
        host: String,
        /// Path, beginning with `/`.
        path: String,
        /// Status 500 and above counts as failed. Off when the service gave such answers before anything was broken.
        server_errors_fail: bool,
    },
    /// TCP connect only, where nothing speaks plain HTTP.
    Tcp {
        /// VIP and port.
        addr: SocketAddr,
    },
}

impl ProbeTarget {
    /// VIP and port.
    pub fn addr(&self) -> SocketAddr {
        match self {
            ProbeTarget::Http { addr, .. } | ProbeTarget::Tcp { addr } => *addr,
        }
    }

    /// Asks once; duration and outcome.
    pub async fn ask(&self, timeout: Duration) -> (Duration, Outcome) {
        let start = Instant::now();
        let outcome = match self {
            ProbeTarget::Http {
                addr,
                host,
                path,
                server_errors_fail,
            } => match http_once(*addr, host, path, timeout).await {
                Ok(answer) if answer.status >= 500 && *server_errors_fail => Outcome::Failed(FailKind::ServerError),
                Ok(answer) => Outcome::Ok { node: answer.node },
                Err(error) => Outcome::Failed(error.kind()),
            },
            ProbeTarget::Tcp { addr } => match tcp_once(*addr, timeout).await {
                Ok(_) => Outcome::Ok { node: None },
                Err(error) => Outcome::Failed(error.kind()),
            },
        };
        (start.elapsed(), outcome)
    }
}

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Time between probes of one target; at least 1 ms.
    pub interval: Duration,
    /// Limit for one probe. Below one second, so that the kernel's first SYN retransmission (after 1 s, RFC 6298
    /// §2.1) cannot turn a request lost in the outage into a late success.
    pub timeout: Duration,
}

impl Default for ProbeConfig {
    fn default() -> ProbeConfig {
        ProbeConfig {
            interval: Duration::from_millis(25),
            timeout: Duration::from_millis(800),
        }
    }
}

impl ProbeConfig {
    /// Probes of one target that can be unanswered at once; one more would mean that timeouts do not fire.
    fn max_in_flight(&self) -> u32 {
        (self.timeout.as_nanos() / self.interval.as_nanos().max(1)) as u32 + 16
    }
}

/// Counts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Probes that ended.
    pub total: u64,
    /// Those without a usable answer.
    pub failed: u64,
}

/// What one target looks like right now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Node of the newest answers (by send time); `None`: they do not say, or there are none.
    pub node: Option<String>,
    /// Number of answers in a row, from the same node, with no failed request in between.
    pub streak: u64,
    /// Send time of the streak's first answer, µs since the epoch.
    pub since_us: u64,
    /// Send time of its newest answer.
    pub last_us: u64,
    /// Counts so far.
    pub tally: Tally,
}

impl Live {
    fn take(&mut self, sample: &Sample) {
        self.tally.total += 1;
        match &sample.outcome {
            Outcome::Ok { node } => {
                if self.streak > 0 && self.node == *node && sample.sent_us >= self.since_us {
                    self.streak += 1;
                    self.last_us = self.last_us.max(sample.sent_us);
                } else if self.streak == 0 || sample.sent_us > self.last_us {
                    self.node = node.clone();
                    self.streak = 1;
                    self.since_us = sample.sent_us;
                    self.last_us = sample.sent_us;
                }
            }
            Outcome::Failed(_) => {
                self.tally.failed += 1;
                // A timeout ends long after it was sent: one from before the streak does not break it.
                if sample.sent_us > self.since_us {
                    self.streak = 0;
                }
            }
        }
    }
}

#[derive(Default)]
struct Kept {
    samples: Vec<Sample>,
    skipped: u64,
}

struct Shared {
    stop: AtomicBool,
    kept: Mutex<Vec<Kept>>,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A running schedule; stopped by [`Prober::stop`] or by dropping it.
pub struct Prober {
    shared: Arc<Shared>,
    live: watch::Receiver<Vec<Live>>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Starts asking all targets. Times in samples count from `epoch`, which must not lie in the future.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(targets: Vec<ProbeTarget>, config: ProbeConfig, epoch: Instant) -> std::io::Result<Prober> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            kept: Mutex::new(targets.iter().map(|_| Kept::default()).collect()),
        });
        let (sender, live) = watch::channel(vec![Live::default(); targets.len()]);
        let for_thread = Arc::clone(&shared);
        let (built, is_built) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("hapair-probe".into()).spawn(move || {
            // Built here: a runtime must not be dropped inside another one, where the caller may be.
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = built.send(Err(error));
                    return;
                }
            };
            let _ = built.send(Ok(()));
            runtime.block_on(schedule(targets, config, epoch, for_thread, sender));
            // Probes still in flight are dropped with the runtime; `schedule` waited for those that matter.
            runtime.shutdown_background();
        })?;
        is_built.recv().map_err(std::io::Error::other)??;
        Ok(Prober {
            shared,
            live,
            thread: Some(thread),
        })
    }

    /// The newest view of every target, in the order given at start; changes wake the receiver.
    pub fn live(&self) -> watch::Receiver<Vec<Live>> {
        self.live.clone()
    }

    /// Sends no more, waits for the probes in flight (blocking, at most `timeout`), and returns a timeline per target.
    pub fn stop(mut self) -> Vec<Timeline> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed by the panic hook; what it kept until then is still good.
            let _ = thread.join();
        }
        let mut kept = self.shared.kept();
        kept.drain(..).map(|k| Timeline::new(k.samples, k.skipped)).collect()
    }
}

impl Drop for Prober {
    /// Does not wait: a cancelled drill has something to repair.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// When to send next, and how many due times passed unused; pure.
///
/// `tick` is the number of the probe just sent. A thread that woke late skips what it missed instead of sending a
/// burst: a burst would count one bad moment many times.
fn next_tick(tick: u64, since_start: Duration, interval: Duration) -> (u64, u64) {
    let interval = interval.as_nanos().max(1);
    let due = (since_start.as_nanos() / interval) as u64;
    let next = due.max(tick) + 1;
    (next, next - tick - 1)
}

async fn schedule(
    targets: Vec<ProbeTarget>,
    config: ProbeConfig,
    epoch: Instant,
    shared: Arc<Shared>,
    sender: watch::Sender<Vec<Live>>,
) {
    let sender = Arc::new(sender);
    let targets: Vec<_> = targets
        .into_iter()
        .map(|t| (Arc::new(t), Arc::new(AtomicU32::new(0))))
        .collect();
    let limit = config.max_in_flight();
    let start = Instant::now();
    let mut tick = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
        for (index, (target, in_flight)) in targets.iter().enumerate() {
            if in_flight.load(Ordering::Relaxed) >= limit {
                add(&shared, index, |k| k.skipped += 1);
                continue;
            }
            in_flight.fetch_add(1, Ordering::Relaxed);
            let (target, in_flight) = (Arc::clone(target), Arc::clone(in_flight));
            let (shared, sender) = (Arc::clone(&shared), Arc::clone(&sender));
            let sent_us = micros(epoch.elapsed());
            tokio::spawn(async move {
                let (took, outcome) = target.ask(config.timeout).await;
                in_flight.fetch_sub(1, Ordering::Relaxed);
                let sample = Sample {
                    sent_us,
                    took_us: micros(took),
                    outcome,
                };
                sender.send_modify(|live| live[index].take(&sample));
                add(&shared, index, |k| k.samples.push(sample));
            });
        }
        let (next, missed) = next_tick(tick, start.elapsed(), config.interval);
        if missed > 0 {
            shared.kept().iter_mut().for_each(|k| k.skipped += missed);
        }
        tick = next;
        let due = start + Duration::from_nanos((config.interval.as_nanos() as u64).saturating_mul(next));
        tokio::time::sleep_until(due.into()).await;
    }
    let patience = Instant::now() + config.timeout + Duration::from_millis(100);
    while targets.iter().any(|(_, n)| n.load(Ordering::Relaxed) > 0) && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Nothing to add to once the caller has taken everything.
fn add(shared: &Shared, index: usize, change: impl FnOnce(&mut Kept)) {
    if let Some(kept) = shared.kept().get_mut(index) {
        change(kept);
    }
}

/// Whole microseconds, saturating after half a million years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_silent_server_does_not_slow_the_schedule() {
        // Accepts (through the backlog) and never answers: closed-loop probing would send one probe per timeout.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = ProbeTarget::Http {
            addr: listener.local_addr().unwrap(),
            host: "x".into(),
            path: "/".into(),
            server_errors_fail: true,
        };
        let config = ProbeConfig {
            interval: Duration::from_millis(2),
            timeout: Duration::from_millis(300),
        };
        let prober = Prober::start(vec![target], config, Instant::now()).unwrap();
        let mut live = prober.live();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            live.wait_for(|l| l[0].tally.total >= 5).await.unwrap();
        });
        let line = prober.stop().remove(0);
        assert_eq!(line.failed(), line.total(), "nothing was answered");
        let first_end = line.samples().iter().map(|s| s.sent_us + s.took_us).min().unwrap();
        let before = line.samples().iter().filter(|s| s.sent_us < first_end).count();
        assert!(before > 5, "{before} probes left before the first one ended");
        assert!(
            line.samples()
                .iter()
                .all(|s| s.outcome == Outcome::Failed(FailKind::Timeout)),
            "{line:?}"
        );
    }

    #[test]
    fn late_timeouts_do_not_break_a_newer_streak() {
        let mut live = Live::default();
        let ok = |at| Sample {
            sent_us: at,
            took_us: 1,
            outcome: Outcome::Ok { node: Some("b".into()) },
        };
        let bad = |at| Sample {
            sent_us: at,
            took_us: 800,
            outcome: Outcome::Failed(FailKind::Timeout),
        };
        live.take(&ok(100));
        live.take(&ok(125));
        live.take(&bad(75));
        assert_eq!((live.streak, live.since_us), (2, 100));
        live.take(&bad(130));
        assert_eq!((live.streak, live.tally), (0, Tally { total: 4, failed: 2 }));
    }

    proptest! {
        #[test]
        fn the_schedule_never_bursts_and_loses_no_count(tick in 0u64..10_000, late_us in 0u64..10_000_000, step in 1u64..100_000) {
            let interval = Duration::from_micros(step);
            let now = Duration::from_micros(late_us);
            let (next, missed) = next_tick(tick, now, interval);
            prop_assert_eq!(tick + missed + 1, next);
            prop_assert!(interval * u32::try_from(next).unwrap() > now, "the next probe lies in the future");
        }
    }
}
