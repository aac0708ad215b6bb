//! The event loop.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::json;

use super::control::Control;
use super::engine::Engine;
use super::harden::{self, Hardening};
use super::netlink::Monitor;
use super::release;
use super::{config, log, metrics_http, sys};
use crate::vrrp::{Input, Time};

/// Where the daemon as installed keeps its socket and the mark of a run.
pub const STATE_DIR: &str = "/run/hapair";

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
    /// Asked for by whoever starts the daemon, apart from the configuration.
    pub hardening: Hardening,
}

impl RunOptions {
    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.state_dir)
    }

    fn mark(&self) -> PathBuf {
        mark_in(&self.state_dir)
    }
}

pub(super) fn socket_in(dir: &Path) -> PathBuf {
    dir.join("agent.sock")
}

/// Is there while the daemon runs: found at a start or by the stop step, it means a crash.
pub(super) fn mark_in(dir: &Path) -> PathBuf {
    dir.join("agent.running")
}

/// After SIGTERM, notify scripts may take so long.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Readers of FIFOs may take so long until they are told to end.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// After SIGTERM, mails may take so long: a server that is down must not hold up a restart.
const MAIL_PATIENCE: Duration = Duration::from_secs(2);

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
    epoll: Epoll,
    signals: SignalFd,
    timer: TimerFd,
    /// When the timer ends; `None`: it has ended.
    armed: Option<Time>,
    monitor: Monitor,
    control: Control,
    /// [`Engine::opened`] when epoll was last told.
    opened: u64,
    /// [`Engine::processes_fd`] when epoll was last told.
    processes: Option<(u64, RawFd)>,
    watchdog: Option<Duration>,
    next_watchdog: Duration,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &RunOptions) -> anyhow::Result<()> {
    // Before any thread: all of them inherit it, and signals arrive only at the descriptor.
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        mask.add(signal);
    }
    mask.thread_block().context("cannot block signals")?;
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
    fs::create_dir_all(&options.state_dir).with_context(|| format!("cannot make {}", options.state_dir.display()))?;
    if super::control::ask(&options.state_dir, "status").is_ok() {
        bail!("another agent answers on {}", options.socket().display());
    }
    let crashed = options.mark().exists();
    fs::write(options.mark(), format!("{}\n", std::process::id())).context("cannot mark the run")?;
    let control = Control::listen(&options.socket()).context("cannot listen on the control socket")?;
    if let Some(address) = options.metrics_listen {
        serve_metrics(address, &control);
    }
    // After the threads that others can keep busy, although none of them would inherit it.
    harden::apply(options.hardening, &loaded.config.global);
    // The monitor first: what changes while the state is read is not missed.
    let monitor = Monitor::open().context("cannot watch interfaces")?;
    let engine = Engine::new(options.config.clone(), options.config_id.clone(), loaded.config)
        .context("cannot open sockets (the agent needs CAP_NET_ADMIN and CAP_NET_RAW)")?;
    let mut daemon = Daemon {
        engine,
        state_dir: options.state_dir.clone(),
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        signals: SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        timer: TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?,
        armed: None,
        monitor,
        control,
        opened: 0,
        processes: None,
        watchdog: watchdog(),
        next_watchdog: sys::now(),
    };
    log::event(
        "info",
        "started",
        &[("crashed_before", json!(crashed)), ("config", json!(options.config))],
    );
    daemon.engine.start(sys::now(), crashed);
    daemon.remember();
    notify_systemd("READY=1");
    let result = daemon.serve();
    notify_systemd("STOPPING=1");
    daemon.engine.stop(sys::now());
    daemon.drain();
    if result.is_ok() {
        drop(fs::remove_file(options.mark()));
    }
    drop(fs::remove_file(options.socket()));
    log::event("info", "stopped", &[]);
    log::flush();
    result
}

impl Daemon {
    fn serve(&mut self) -> anyhow::Result<()> {
        self.epoll
            .add(&self.signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        self.epoll
            .add(&self.timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        self.watch(self.monitor.raw(), NETLINK)?;
        self.watch(self.control.raw(), CONTROL)?;
        let mut events = [EpollEvent::empty(); 32];
        loop {
            self.watch_packets()?;
            self.arm()?;
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(e) => return Err(e).context("epoll"),
            };
            let has = |token: u64| events[..ready].iter().any(|e| e.data() == token);
            // Packets before timers: what has piled up while we did not run decides whether a timer still counts. That epoll
            // was silent about them says nothing if we were kept from running after it.
            let now = sys::now();
            if has(PACKETS) || ready == events.len() || self.armed.is_some_and(|at| now > at + PUNCTUAL) {
                self.engine.receive(now);
            }
            if has(NETLINK) {
                let changes = self.monitor.changes().context("netlink")?;
                self.engine.changed(sys::now(), &changes);
            }
            if has(PROCESSES) {
                self.engine.processes_told(sys::now());
            }
            if has(TIMER) {
                // Not read: setting it again makes it unreadable.
                self.armed = None;
            }
            // Nothing is due before the timer ends; what has been set since ends it earlier in the next round.
            let now = sys::now();
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
        }
    }

    fn watch(&self, fd: i32, token: u64) -> io::Result<()> {
        // SAFETY: the descriptor belongs to a socket that `self` keeps open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Sockets come and go with their interfaces. A closed one leaves epoll by itself.
    fn watch_packets(&mut self) -> io::Result<()> {
        let processes = self.engine.processes_fd();
        if processes != self.processes {
            if let Some((_, fd)) = processes {
                self.watch(fd, PROCESSES)?;
            }
            self.processes = processes;
        }
        if self.opened == self.engine.opened {
            return Ok(());
        }
        self.opened = self.engine.opened;
        for fd in self.engine.socket_fds() {
            match self.watch(fd, PACKETS) {
                Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn arm(&mut self) -> anyhow::Result<()> {
        let mut next = self.engine.next_timer();
        if let Some(every) = self.watchdog {
            if sys::now() >= self.next_watchdog {
                notify_systemd("WATCHDOG=1");
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

    /// Notes for the stop step which addresses this run may have on: the configuration may be another one, or broken, by
    /// the time it is needed.
    fn remember(&self) {
        let path = release::addresses_in(&self.state_dir);
        if let Err(e) = fs::write(&path, self.engine.addresses_of_all()) {
            log::event(
                "warning",
                "the stop step will have to rely on the configuration",
                &[("path", json!(path)), ("error", json!(e.to_string()))],
            );
        }
    }

    fn reload(&mut self) -> Result<(), String> {
        notify_systemd("RELOADING=1");
        let result = self.engine.reload(sys::now());
        self.remember();
        match &result {
            Ok(()) => log::event("info", "reloaded", &[]),
            Err(e) => log::event("error", "reload failed", &[("error", json!(e))]),
        }
        notify_systemd("READY=1");
        result
    }

    fn answer(&mut self, line: &str) -> String {
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
            "status" => return format!("{}\n", self.engine.status(now)),
            "metrics" => return super::metrics::render(&self.engine.status(now)),
            "reload" => return result_line(self.reload()),
            "handover" => Input::Handover(hold),
            "hold" => Input::Hold(hold),
            "resume" => Input::Resume,
            _ => return result_line(Err(format!("unknown request `{command}`"))),
        };
        let reached = self.engine.command(now, instance, &input);
        log::event(
            "info",
            "command",
            &[("line", json!(line)), ("instances", json!(reached))],
        );
        result_line(if reached > 0 {
            Ok(())
        } else {
            Err("there is no such instance".to_owned())
        })
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
        while open(&self.engine, sys::now() - begin) {
            let mut poll = libc::pollfd {
                fd: self.signals.as_fd().as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, 100) };
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
            self.engine.notifier.tick(sys::now());
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

fn result_line(result: Result<(), String>) -> String {
    match result {
        Ok(()) => "{\"ok\":true}\n".to_owned(),
        Err(error) => format!("{}\n", json!({"ok": false, "error": error})),
    }
}

/// sd_notify(3): a datagram to the socket that systemd names.
fn notify_systemd(text: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").map(|n| n.to_string_lossy().into_owned()) else {
        return;
    };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        // A manager that does not read must not hold up the packets.
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        drop(socket.send_to_addr(text.as_bytes(), &address));
    }
}

/// Half of what systemd gives us between two signs of life.
fn watchdog() -> Option<Duration> {
    let pid: Option<u32> = std::env::var("WATCHDOG_PID").ok().and_then(|p| p.parse().ok());
    if pid.is_some_and(|pid| pid != std::process::id()) {
        return None;
    }
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}
