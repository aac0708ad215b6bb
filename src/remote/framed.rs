//! Bytes to lines and back: full duplex over a [`Wire`], with poll(2), never blocking on one direction while the other
//! has something to say.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tail::Tail;
use super::wire::{Ending, Stream, Wire};

/// A line longer than this is not a frame but a fault.
const LONGEST_LINE: usize = 256 << 20;
/// What is kept of the peer's stderr.
const STDERR_KEPT: usize = 16 << 10;
/// How long the peer may take to say how it ended after closing its output.
const ENDING_WITHIN: Duration = Duration::from_secs(2);
/// How many bytes are taken from one stream before the others get their turn.
const TURN: usize = 1 << 20;

/// Wakes the host's thread out of poll(2). Cloned to every sender.
#[derive(Debug, Clone)]
pub(super) struct Wake(Arc<UnixStream>);

impl Wake {
    /// Both ends: to wake, and to be woken.
    pub(super) fn pair() -> io::Result<(Wake, UnixStream)> {
        let (a, b) = UnixStream::pair()?;
        a.set_nonblocking(true)?;
        b.set_nonblocking(true)?;
        Ok((Wake(Arc::new(a)), b))
    }

    /// Never blocks: a full socket means that enough wakes wait already.
    pub(super) fn wake(&self) {
        let _ = (&*self.0).write(&[1]);
    }
}

/// When an idle peer must answer a keepalive, and when it counts as gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Idle time before a keepalive.
    pub(super) probe_after: Duration,
    /// Idle time, in spite of keepalives, that ends the connection.
    pub(super) give_up_after: Duration,
}

/// What one turn brought.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whole lines, without newline.
    pub(super) lines: Vec<Vec<u8>>,
    /// Somebody called [`Wake::wake`].
    pub(super) woken: bool,
    /// The peer closed its output; this is how it ended.
    pub(super) ended: Option<Ending>,
    /// Bytes of ours that went out.
    pub(super) sent: usize,
}

/// One exec's standard streams.
pub(super) struct Conversation<W> {
    /// What it runs over.
    pub(super) wire: W,
    woken: UnixStream,
    outgoing: Vec<u8>,
    gone: usize,
    partial: Vec<u8>,
    /// How much of `partial` is known to hold no newline.
    searched: usize,
    /// The end of what the peer wrote to stderr.
    pub(super) stderr: Tail,
    prompt: Option<Prompt>,
    output_ended: Option<Instant>,
    errors_ended: bool,
    input_broken: bool,
    heard: Instant,
    probed: Instant,
    patience: Patience,
}

/// A string whose appearance is counted, in either stream: sudo's password prompt, which has no newline.
#[derive(Debug)]
struct Prompt {
    text: Vec<u8>,
    carry: [Vec<u8>; 2],
    seen: usize,
    told: usize,
}

impl Prompt {
    fn scan(&mut self, stream: Stream, bytes: &[u8]) {
        let carry = &mut self.carry[stream as usize];
        carry.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = find(&carry[from..], &self.text) {
            self.seen += 1;
            from += at + self.text.len();
        }
        let keep = (carry.len() - from).min(self.text.len() - 1);
        carry.drain(..carry.len() - keep);
    }
}

/// Where `needle` begins in `hay`.
pub(super) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

impl<W: Wire> Conversation<W> {
    /// Begins; `prompt` is counted in what the peer writes.
    pub(super) fn new(wire: W, woken: UnixStream, prompt: Option<&str>, patience: Patience) -> Conversation<W> {
        let now = Instant::now();
        Conversation {
            wire,
            woken,
            outgoing: Vec::new(),
            gone: 0,
            partial: Vec::new(),
            searched: 0,
            stderr: Tail::new(STDERR_KEPT),
            prompt: prompt.map(|text| Prompt {
                text: text.into(),
                carry: Default::default(),
                seen: 0,
                told: 0,
            }),
            output_ended: None,
            errors_ended: false,
            input_broken: false,
            heard: now,
            probed: now,
            patience,
        }
    }

    /// Puts bytes into the queue; they leave with the next turns.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.gone > 0 && self.gone == self.outgoing.len() {
            self.outgoing.clear();
            self.gone = 0;
        }
        self.outgoing.extend_from_slice(bytes);
    }

    /// Everything queued has left.
    pub(super) fn all_sent(&self) -> bool {
        self.gone == self.outgoing.len()
    }

    /// How often the prompt was seen.
    pub(super) fn prompts(&self) -> usize {
        self.prompt.as_ref().map_or(0, |p| p.seen)
    }

    /// From now on nothing is taken for a prompt.
    pub(super) fn no_more_prompts(&mut self) {
        self.prompt = None;
    }

    /// What came after the last newline.
    pub(super) fn unfinished(&self) -> &[u8] {
        &self.partial
    }

    /// Waits at most `for_at_most` for something to happen, and moves all that can be moved.
    ///
    /// # Errors
    /// The connection broke, or the peer sent nothing for longer than patience allows.
    pub(super) fn turn(&mut self, for_at_most: Option<Duration>) -> io::Result<Turn> {
        let mut turn = Turn::default();
        let end = for_at_most.map(|d| Instant::now() + d);
        loop {
            self.move_all(&mut turn)?;
            if self.output_ended.is_some() {
                turn.ended = self.how_it_ended();
            }
            turn.woken |= self.drain_wakes();
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let happened = !turn.lines.is_empty() || turn.woken || turn.ended.is_some() || turn.sent > 0;
            if self.prompts_changed() || happened || left.is_some_and(|l| l.is_zero()) {
                return Ok(turn);
            }
            self.wait(left)?;
        }
    }

    /// A prompt came that no turn has ended for yet.
    fn prompts_changed(&mut self) -> bool {
        self.prompt
            .as_mut()
            .is_some_and(|p| std::mem::replace(&mut p.told, p.seen) < p.seen)
    }

    /// Reads both streams and writes, until none of them moves.
    fn move_all(&mut self, turn: &mut Turn) -> io::Result<()> {
        loop {
            let mut moved = self.write_some(turn)?;
            if self.output_ended.is_none() {
                moved |= self.read_some(Stream::Out, turn)?;
            }
            if !self.errors_ended {
                moved |= self.read_some(Stream::Err, turn)?;
            }
            // Reading one stream may have pulled the other's bytes off the socket: poll(2) would never tell of those.
            if !moved && !self.wire.has_queued() {
                return Ok(());
            }
            if !moved && self.output_ended.is_some() && self.errors_ended {
                return Ok(());
            }
        }
    }

    fn write_some(&mut self, turn: &mut Turn) -> io::Result<bool> {
        let mut moved = 0;
        while self.gone < self.outgoing.len() && moved < TURN && !self.input_broken {
            match self.wire.write(&self.outgoing[self.gone..]) {
                Ok(n) => {
                    self.gone += n;
                    moved += n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The peer may have left with last words that are still to be read.
                Err(_) => self.input_broken = true,
            }
        }
        if self.input_broken {
            self.gone = self.outgoing.len();
        }
        turn.sent += moved;
        Ok(moved > 0)
    }

    fn read_some(&mut self, stream: Stream, turn: &mut Turn) -> io::Result<bool> {
        let mut buffer = [0u8; 64 << 10];
        let mut moved = 0;
        while moved < TURN {
            match self.wire.read(stream, &mut buffer) {
                Ok(0) => {
                    match stream {
                        Stream::Out => self.output_ended = Some(Instant::now()),
                        Stream::Err => self.errors_ended = true,
                    }
                    return Ok(true);
                }
                Ok(n) => {
                    moved += n;
                    self.heard = Instant::now();
                    let bytes = &buffer[..n];
                    if let Some(prompt) = &mut self.prompt {
                        prompt.scan(stream, bytes);
                    }
                    match stream {
                        Stream::Out => self.take_lines(bytes, turn)?,
                        Stream::Err => self.stderr.push(bytes),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(moved > 0)
    }

    fn take_lines(&mut self, bytes: &[u8], turn: &mut Turn) -> io::Result<()> {
        self.partial.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = self.partial[self.searched..].iter().position(|b| *b == b'\n') {
            let end = self.searched + at;
            turn.lines.push(self.partial[from..end].to_vec());
            from = end + 1;
            self.searched = from;
        }
        self.partial.drain(..from);
        self.searched = self.partial.len();
        if self.partial.len() > LONGEST_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the host sent a line without an end",
            ));
        }
        Ok(())
    }

    fn how_it_ended(&mut self) -> Option<Ending> {
        let since = self.output_ended?;
        self.wire
            .ending()
            .or_else(|| (since.elapsed() > ENDING_WITHIN).then_some(Ending::Unknown))
    }

    fn drain_wakes(&mut self) -> bool {
        let mut buffer = [0; 256];
        let mut any = false;
        while let Ok(n @ 1..) = self.woken.read(&mut buffer) {
            any = n > 0;
        }
        any
    }

    /// Waits for the wire, a wake, or the next point in time at which something is due.
    fn wait(&mut self, left: Option<Duration>) -> io::Result<()> {
        let mut fds: Vec<libc::pollfd> = Vec::with_capacity(4);
        let wake = (self.woken.as_raw_fd(), libc::POLLIN);
        // With its output at the end, only the wire's own word on how it ended is waited for.
        let polling = self.output_ended.is_some().then_some(Duration::from_millis(20));
        for (fd, events) in self.wire.waits_for(!self.all_sent()).into_iter().chain([wake]) {
            fds.push(libc::pollfd { fd, events, revents: 0 });
        }
        if polling.is_some() {
            fds.drain(..fds.len() - 1);
        }
        let probe = self.due_probe()?;
        let timeout = [left, polling, probe].into_iter().flatten().min();
        // Rounded up: a timeout of 0 would spin.
        let timeout = timeout.map_or(-1, |t| i32::try_from(t.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: `fds` is a valid array of that length for the whole call.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            };
        }
        if fds.len() > 1 && fds[..fds.len() - 1].iter().any(|f| f.revents & libc::POLLIN != 0) {
            // Also the answer to a probe, which libssh2 keeps to itself.
            self.heard = Instant::now();
        }
        Ok(())
    }

    /// Sends an idle peer a keepalive; returns when to look again.
    fn due_probe(&mut self) -> io::Result<Option<Duration>> {
        let silent = self.heard.elapsed();
        if silent >= self.patience.give_up_after {
            let why = format!("no answer from the host for {} s", silent.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        if self.output_ended.is_some() {
            return Ok(None);
        }
        let due = self
            .patience
            .probe_after
            .saturating_sub(silent.min(self.probed.elapsed()));
        if due.is_zero() {
            self.probed = Instant::now();
            if !self.wire.probe() {
                // A local child needs none, and may send nothing for as long as it likes.
                self.heard = Instant::now();
            }
            return Ok(Some(self.patience.probe_after));
        }
        Ok(Some(due))
    }
}
