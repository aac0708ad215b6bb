//! Delays every packet between two network namespaces: the kernel at hand has no netem.
//!
//! ```text
//! relay NAMESPACE_A TUN_A NAMESPACE_B TUN_B ROUND_TRIP_MS
//! ```
//!
//! The namespaces are paths (`/run/netns/NAME`). In each a TUN device of the given name is made; whoever started the
//! relay gives them addresses and routes once `ready` was printed. A packet read from one device is written to the
//! other half a round trip after it was read, in order, by an absolute time, so that the relay's own work does not add
//! up. Nothing is lost and there is no limit of bandwidth.
//!
//! A line on standard input sets a new round trip in milliseconds and is answered by `delay MS`; end of file ends
//! the relay, so that it cannot outlive the script that holds the pipe.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns};
use nix::sys::time::TimeSpec;

/// Largest packet: TUN devices have an MTU of 1500 unless told otherwise, IP has 65535.
const PACKET: usize = 65536;

/// Packets taken from one device before the other is looked at.
const BATCH: usize = 64;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [space_a, tun_a, space_b, tun_b, round_trip] = args.as_slice() else {
        bail!("usage: relay NAMESPACE_A TUN_A NAMESPACE_B TUN_B ROUND_TRIP_MS");
    };
    let mut delay = one_way(round_trip)?;
    let a = tun_in(space_a, tun_a)?;
    let b = tun_in(space_b, tun_b)?;
    // Timers may fire 50 microseconds late by default; 1 ns of slack asks for the hardware's own precision.
    nix::sys::prctl::set_timerslack(1).context("cannot set the timer slack")?;
    println!("ready");

    let mut lanes = [Lane::new(&a, &b), Lane::new(&b, &a)];
    // Not through std's buffer, which poll cannot see into.
    let mut stdin = File::from(
        std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .context("cannot read standard input")?,
    );
    let mut typed = Vec::new();
    loop {
        let now = Instant::now();
        for lane in &mut lanes {
            lane.deliver(now);
        }
        let due = lanes.iter().filter_map(Lane::next_due).min();
        let wait = due.map(|due| TimeSpec::from_duration(due.saturating_duration_since(Instant::now())));
        let mut fds = [
            PollFd::new(a.as_fd(), PollFlags::POLLIN),
            PollFd::new(b.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut fds, wait, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).context("cannot wait for packets"),
        }
        let ready = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        for (lane, ready) in lanes.iter_mut().zip(ready) {
            if ready {
                lane.collect(delay)?;
            }
        }
        if ready[2] {
            let mut bytes = [0; 256];
            let count = stdin.read(&mut bytes).context("cannot read standard input")?;
            if count == 0 {
                return Ok(());
            }
            typed.extend_from_slice(&bytes[..count]);
            while let Some(end) = typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = typed.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                delay = one_way(line.trim())?;
                println!("delay {}", line.trim());
            }
        }
    }
}

/// Half of a round trip given in milliseconds.
fn one_way(round_trip: &str) -> anyhow::Result<Duration> {
    let ms: f64 = round_trip
        .parse()
        .with_context(|| format!("`{round_trip}` is not a round trip in milliseconds"))?;
    if !(0.0..=10_000.0).contains(&ms) {
        bail!("a round trip is 0 to 10000 ms, not {ms}");
    }
    Ok(Duration::from_secs_f64(ms / 2000.0))
}

/// Makes a TUN device in another network namespace. The descriptor works from everywhere afterwards.
fn tun_in(namespace: &str, name: &str) -> anyhow::Result<File> {
    let space = File::open(namespace).with_context(|| format!("no network namespace `{namespace}`"))?;
    setns(&space, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter `{namespace}`"))?;
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?;
    // SAFETY: ifreq is plain data of C; all bytes zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        bail!("`{name}` is no interface name");
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads an ifreq from the pointer, which is valid for the call.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &request) };
    if done < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("cannot make `{name}` in `{namespace}`"));
    }
    fcntl(&tun, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot make the device non-blocking")?;
    Ok(tun)
}

/// One direction.
struct Lane<'a> {
    from: &'a File,
    to: &'a File,
    /// Ordered by due time unless the delay was lowered meanwhile; order of arrival is kept then too.
    waiting: VecDeque<(Instant, Vec<u8>)>,
    buffer: Box<[u8]>,
}

impl<'a> Lane<'a> {
    fn new(from: &'a File, to: &'a File) -> Self {
        Lane {
            from,
            to,
            waiting: VecDeque::new(),
            buffer: vec![0; PACKET].into_boxed_slice(),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// Takes what the device has and notes when it is due.
    fn collect(&mut self, delay: Duration) -> anyhow::Result<()> {
        for _ in 0..BATCH {
            match self.from.read(&mut self.buffer) {
                Ok(count) => self
                    .waiting
                    .push_back((Instant::now() + delay, self.buffer[..count].to_vec())),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e).context("cannot read a packet"),
            }
        }
        Ok(())
    }

    /// Hands over what is due. A device that is down, or refuses the packet, loses it, as a wire would.
    fn deliver(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            if let Some((_, packet)) = self.waiting.pop_front() {
                self.to.write_all(&packet).ok();
            }
        }
    }
}
