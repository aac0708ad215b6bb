//! The event loop.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::json;

use super::config;
use super::engine::{Engine, FLOOD, Tokens};
use super::net::netlink::{Change, Monitor};
use super::os::epoll_registered::Watched;
use super::os::harden::Hardening;
use super::os::run_marker::{Before, Claim, Mark};
use super::os::state_dir::{addresses_in, socket_in};
use super::os::{harden, log, run_marker, sys, systemd};
use super::tell::control::{Answer, Control};
use super::tell::metrics_http;
use super::tell::report::Report;
use crate::vrrp::{Input, Time};

/// What the daemon is told on its command line.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// keepalived.conf.
    pub config: PathBuf,
    /// keepalived's `-i`.
    pub config_id: Option<String>,
    /// Control socket and the mark of a run; must outlive a restart and may end with the boot.
    pub state_dir: PathBuf,
    /// `GET /metrics` is answered there.
    pub metrics_listen: Option<SocketAddr>,
    /// Asked for on the command line, apart from the configuration.
    pub hardening: Hardening,
}

impl RunOptions {
    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.state_dir)
    }
}

/// Maximum time that notify scripts may take after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Maximum time that readers of FIFOs get after SIGTERM before they are told to end.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum time that mails may take after SIGTERM: a server that is down must not hold up a restart.
const MAIL_PATIENCE: Duration = Duration::from_secs(2);

/// Maximum time for retries of addresses that could not be removed, before they are left to the stop step.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(1);
/// Between two times that the notes are written because something was learned: peers that differ must not keep us at it.
const NOTES_PAUSE: Duration = Duration::from_millis(200);
/// Metrics may be so old: however many ask, the packet thread looks no oftener.
const METRICS_AGE: Duration = Duration::from_millis(100);

/// Packets that are read in two rounds within this time are part of a burst.
const CROWDED: Duration = Duration::from_millis(1);
/// When adverts arrive in a burst, wait this long and then read them all with one call: the owner of many instances sends for
/// them all at once, and one wake-up per advert would take most of the CPU time. Each packet's time stamp says when it came.
const GATHER: Duration = Duration::from_micros(400);
/// No timer may be due within this of the end of that: sleeping is not exact.
const MARGIN: Duration = Duration::from_micros(600);

/// A timer that is later than this has been kept waiting.
const PUNCTUAL: Duration = Duration::from_millis(1);

const SIGNAL: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const NETLINK: u64 = u64::MAX - 2;
const CONTROL: u64 = u64::MAX - 3;
const PACKETS: u64 = u64::MAX - 4;
const PROCESSES: u64 = u64::MAX - 5;

struct Daemon {
    engine: Engine,
    state_dir: PathBuf,
    epoll: Rc<Epoll>,
    signals: SignalFd,
    timer: TimerFd,
    /// When the timer ends; `None`: it has ended.
    armed: Option<Time>,
    monitor: Watched<Monitor>,
    control: Control,
    /// When packets were read last.
    heard: Time,
    /// Taken for the metrics; the next request may reuse it.
    report: Option<Arc<Report>>,
    watchdog: Option<Duration>,
    next_watchdog: Duration,
    /// When the notes were written last.
    noted: Time,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &RunOptions) -> anyhow::Result<()> {
    // Before any thread: all of them inherit it, and signals arrive only at the descriptor.
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block().context("cannot block signals")?;
    // Who starts us may ignore it, and then nobody would learn of the end of a script.
    // SAFETY: the default action is no function of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let loaded = config::load(&options.config, options.config_id.as_deref())
        .with_context(|| format!("cannot read {}", options.config.display()))?;
    for d in &loaded.diagnostics {
        log::event(
            &d.severity.to_string(),
            &d.message,
            &[("place", json!(d.place.to_string())), ("hint", json!(d.hint))],
        );
    }
    if !loaded.is_runnable() {
        log::flush();
        bail!("{} has errors", options.config.display());
    }
    let (mark, before) = claim(&options.state_dir)?;
    // One of an older version has no lock on its mark.
    if super::tell::control::ask(&options.state_dir, "status").is_ok() {
        withdraw(mark, before);
        bail!("another agent answers on {}", options.socket().display());
    }
    let mut daemon = match Daemon::open(options, &mask, loaded) {
        Ok(daemon) => daemon,
        Err(e) => {
            withdraw(mark, before);
            return Err(e);
        }
    };
    log::event(
        "info",
        "started",
        &[
            ("crashed_before", json!(before == Before::Crash)),
            ("config", json!(options.config)),
        ],
    );
    daemon.engine.start(sys::now(), before);
    daemon.remember();
    systemd::notify("READY=1");
    let result = daemon.serve();
    daemon.engine.stop(sys::now());
    systemd::notify("STOPPING=1");
    daemon.drain();
    let clean = daemon.engine.is_clean();
    if !clean {
        daemon.remember();
        log::event("error", "cannot remove all addresses; the stop step has to", &[]);
    }
    if let Some(mark) = mark.filter(|_| result.is_ok() && clean)
        && let Err(e) = mark.clear()
    {
        log::event(
            "warning",
            "cannot remove the run marker",
            &[("error", json!(e.to_string()))],
        );
    }
    drop(fs::remove_file(options.socket()));
    log::event("info", "stopped", &[]);
    log::flush();
    result
}

/// The mark of this run, and how the one before ended. The VIPs matter more than the stop step: without a mark the daemon
/// runs on.
fn claim(state_dir: &Path) -> anyhow::Result<(Option<Mark>, Before)> {
    match run_marker::claim(state_dir) {
        Ok(Claim::Ours(mark, before)) => Ok((Some(mark), before)),
        Ok(Claim::Theirs(pid)) => bail!("another agent is running as process {pid} with {}", state_dir.display()),
        Err(e) => {
            let fields = [("path", json!(state_dir)), ("error", json!(e.to_string()))];
            log::event(
                "error",
                "cannot write the run marker: after a crash the addresses would stay on this host",
                &fields,
            );
            Ok((None, Before::Clean))
        }
    }
}

fn withdraw(mark: Option<Mark>, before: Before) {
    if let Some(mark) = mark {
        drop(mark.withdraw(before));
    }
}

impl Daemon {
    fn open(options: &RunOptions, mask: &SigSet, loaded: config::Loaded) -> anyhow::Result<Daemon> {
        let control = Control::new().context("cannot make the control channel")?;
        // The control socket is optional too: the VIPs matter more.
        if let Err(e) = control.listen(&options.socket()) {
            let fields = [("path", json!(options.socket())), ("error", json!(e.to_string()))];
            log::event("error", "cannot listen on the control socket", &fields);
        }
        if let Some(address) = options.metrics_listen {
            serve_metrics(address, &control);
        }
        // After the threads that others can keep busy, although none of them would inherit it.
        harden::apply(options.hardening, &loaded.config.global);
        let epoll = Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // The monitor first: what changes while the state is read is not missed.
        let monitor = Monitor::open().context("cannot watch interfaces")?;
        let tokens = Tokens {
            packets: PACKETS,
            processes: PROCESSES,
        };
        let (path, id) = (options.config.clone(), options.config_id.clone());
        let engine = Engine::new(path, id, loaded.config, &epoll, tokens)
            .context("cannot open sockets (the agent needs CAP_NET_ADMIN and CAP_NET_RAW)")?;
        let signals = SignalFd::with_flags(mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        epoll.add(&control, EpollEvent::new(EpollFlags::EPOLLIN, CONTROL))?;
        Ok(Daemon {
            engine,
            state_dir: options.state_dir.clone(),
            signals,
            timer,
            armed: None,
            monitor: Watched::new(monitor, &epoll, NETLINK)?,
            epoll,
            control,
            heard: Time::ZERO,
            report: None,
            watchdog: systemd::watchdog(),
            next_watchdog: sys::now(),
            noted: Time::ZERO,
        })
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); 32];
        loop {
            self.arm()?;
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(e) => return Err(e).context("epoll"),
            };
            let has = |token: u64| events[..ready].iter().any(|e| e.data() == token);
            // First what may keep us waiting: netlink for the kernel's lock, processes for a look through /proc.
            if has(NETLINK) {
                let changes = self.changes()?;
                self.engine.changed(sys::now(), &changes);
            }
            if has(PROCESSES) {
                self.engine.processes_told(sys::now());
            }
            // Packets before timers, and timers by the time from before the packets: what has piled up while we did not run
            // decides whether a timer still counts. That epoll was silent about them says nothing if we were kept from
            // running after it.
            let now = sys::now();
            let packets = if has(PACKETS) || ready == events.len() || self.armed.is_some_and(|at| now > at + PUNCTUAL) {
                self.engine.receive()
            } else {
                0
            };
            if has(TIMER) {
                // Not read: setting it again makes it unreadable.
                self.armed = None;
            }
            // Nothing is due before the timer ends; what has been set since ends it earlier in the next round.
            if self.armed.is_none_or(|at| at <= now) {
                self.engine.tick(now);
            }
            if has(CONTROL) {
                for request in self.control.take() {
                    let answer = self.answer(&request.line);
                    drop(request.answer.try_send(answer));
                }
            }
            if has(SIGNAL) && self.signals()? {
                return Ok(());
            }
            if self.engine.learned && now >= self.noted + NOTES_PAUSE {
                self.remember();
            }
            // After a full read there may be more packets, and they must not wait.
            if (1..FLOOD).contains(&packets) {
                self.gather();
            }
        }
    }

    /// What has changed. A socket that fails for another reason than too many changes is replaced, and what it would have
    /// told is read.
    fn changes(&mut self) -> anyhow::Result<Vec<Change>> {
        let error = match self.monitor.changes() {
            Ok(changes) => return Ok(changes),
            Err(e) => e,
        };
        let fields = [("error", json!(error.to_string()))];
        log::event(
            "error",
            "cannot watch interfaces any longer, starting the watch again",
            &fields,
        );
        let monitor = Monitor::open().context("cannot watch interfaces")?;
        self.monitor = Watched::new(monitor, &self.epoll, NETLINK)?;
        Ok(vec![Change::Overrun])
    }

    /// After packets were read: lets more of them come, if they come in crowds and nothing is to be done meanwhile.
    fn gather(&mut self) {
        let now = sys::now();
        let crowded = now < self.heard + CROWDED;
        self.heard = now;
        let end = now + GATHER + MARGIN;
        if crowded && self.engine.next_timer().is_none_or(|at| at > end) {
            std::thread::sleep(GATHER);
        }
    }

    fn arm(&mut self) -> anyhow::Result<()> {
        let mut next = self.engine.next_timer();
        if let Some(every) = self.watchdog {
            if sys::now() >= self.next_watchdog {
                systemd::notify("WATCHDOG=1");
                self.next_watchdog = sys::now() + every;
            }
            next = Some(next.map_or(self.next_watchdog, |n| n.min(self.next_watchdog)));
        }
        match next {
            // It is left alone if it ends earlier: with every advert that is heard another wait would begin, and few are ever
            // waited out.
            Some(at) if self.armed.is_some_and(|armed| armed <= at) => {}
            // Absolute, so that time spent here shifts nothing. Zero would disarm it.
            Some(at) => {
                self.armed = Some(at);
                let at = TimeSpec::from_duration(at.max(Duration::from_nanos(1)));
                self.timer
                    .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None if self.armed.is_none() => self.timer.unset()?,
            None => {}
        }
        Ok(())
    }

    /// Whether it is time to stop.
    fn signals(&mut self) -> anyhow::Result<bool> {
        while let Some(info) = self.signals.read_signal()? {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => return Ok(true),
                Ok(Signal::SIGCHLD) => self.engine.reap(sys::now()),
                Ok(Signal::SIGHUP) => drop(self.reload()),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Notes for the stop step what it has to know of this run.
    fn remember(&mut self) {
        self.engine.learned = false;
        self.noted = sys::now();
        if let Err(e) = self.engine.notes().write(&self.state_dir) {
            log::event(
                "warning",
                "cannot write the notes for the stop step; it will rely on the configuration",
                &[
                    ("path", json!(addresses_in(&self.state_dir))),
                    ("error", json!(e.to_string())),
                ],
            );
        }
    }

    fn reload(&mut self) -> Result<(), String> {
        systemd::notify("RELOADING=1");
        self.report = None;
        let result = self.engine.reload(sys::now());
        self.remember();
        match &result {
            Ok(()) => log::event("info", "reloaded", &[]),
            Err(e) => log::event("error", "reload failed", &[("error", json!(e))]),
        }
        systemd::notify("READY=1");
        result
    }

    fn answer(&mut self, line: &str) -> Answer {
        let now = sys::now();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = words.split_first().map_or(("", &[][..]), |(c, r)| (*c, r));
        let mut hold = None;
        let mut instance = None;
        for word in rest {
            match word.parse::<f64>() {
                Ok(seconds) if (0.0..1e9).contains(&seconds) => hold = Some(Duration::from_secs_f64(seconds)),
                _ => instance = Some(*word),
            }
        }
        let input = match command {
            "status" => return Answer::Status(self.look(now, Duration::ZERO)),
            "metrics" => return Answer::Metrics(self.look(now, METRICS_AGE)),
            "reload" => return result_line(self.reload()),
            "handover" => Input::Handover(hold),
            "hold" => Input::Hold(hold),
            "resume" => Input::Resume,
            "takeover" => Input::Takeover(hold),
            _ => return result_line(Err(format!("unknown request `{command}`"))),
        };
        self.report = None;
        let reached = match input {
            Input::Takeover(time) => self.engine.take_over(now, instance, time),
            input => Ok(self.engine.command(now, instance, &input)),
        };
        let fields = match &reached {
            Ok(instances) => ("instances", json!(instances)),
            Err(error) => ("refused", json!(error)),
        };
        log::event("info", "command", &[("line", json!(line)), fields]);
        result_line(match reached {
            Ok(0) => Err("there is no such instance".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// A look at everything, or the last one if it is not older than that.
    fn look(&mut self, now: Time, age: Duration) -> Arc<Report> {
        match &self.report {
            Some(report) if now <= report.at + age => Arc::clone(report),
            _ => Arc::clone(self.report.insert(Arc::new(self.engine.look(now)))),
        }
    }

    /// Lets notify scripts and readers of FIFOs end and mails go, within limits.
    fn drain(&mut self) {
        let begin = sys::now();
        let mut asked = false;
        self.engine.notifier.fifos.close();
        let open = |engine: &Engine, passed: Duration| {
            let busy = !engine.notifier.idle() || !engine.notifier.fifos.idle();
            (busy && passed < STOP_PATIENCE) || (!engine.mailer.idle() && passed < MAIL_PATIENCE)
        };
        let leftover = |engine: &Engine, passed: Duration| !engine.is_clean() && passed < LEFTOVER_PATIENCE;
        while open(&self.engine, sys::now() - begin) || leftover(&self.engine, sys::now() - begin) {
            let mut poll = libc::pollfd {
                fd: self.signals.as_fd().as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, 100) };
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
            self.engine.notifier.tick(sys::now());
            self.engine.retry(sys::now());
            // Most readers end with their FIFO.
            if !asked && sys::now() - begin > READER_PATIENCE {
                self.engine.notifier.fifos.signal(libc::SIGTERM);
                asked = true;
            }
        }
        self.engine.notifier.fifos.signal(libc::SIGKILL);
    }
}

/// The VIPs matter more than being measured: without the address the daemon runs on.
fn serve_metrics(address: SocketAddr, control: &Control) {
    match control.asker().and_then(|asker| metrics_http::serve(address, asker)) {
        Ok(address) => log::event("info", "metrics are served", &[("address", json!(address))]),
        Err(e) => {
            let fields = [("address", json!(address)), ("error", json!(e.to_string()))];
            log::event("error", "cannot serve metrics", &fields);
        }
    }
}

fn result_line(result: Result<(), String>) -> Answer {
    Answer::Line(match result {
        Ok(()) => "{\"ok\":true}\n".to_owned(),
        Err(error) => format!("{}\n", json!({"ok": false, "error": error})),
    })
}
