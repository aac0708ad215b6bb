//! The time an opening connection has, and the switch that cuts it.
//!
//! libssh2's own timeout is an inactivity timer and is no deadline; shutting the socket down from another thread is:
//! every blocked call returns at once, and freeing the session afterwards does not block.

use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after the cut the host's thread may take to report by itself.
const GRACE: Duration = Duration::from_millis(700);

/// Shared between the host's thread, the watchdog and whoever holds the [`super::Link`].
#[derive(Debug)]
pub(super) struct Deadline {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    end: Option<Instant>,
    /// A person is being asked: the clock stands still.
    asking_since: Option<Instant>,
    cut: bool,
    expired: bool,
    cutter: Option<Cutter>,
    stage: String,
}

impl Deadline {
    /// A deadline that ends `within` from now.
    pub(super) fn new(within: Duration) -> Arc<Deadline> {
        Arc::new(Deadline {
            state: Mutex::new(State {
                end: Some(Instant::now() + within),
                asking_since: None,
                cut: false,
                expired: false,
                cutter: None,
                stage: "starting".to_owned(),
            }),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is being done now, for the message of a timeout: `exchanging keys`.
    pub(super) fn stage(&self, stage: impl Into<String>) {
        self.lock().stage = stage.into();
    }

    /// What was being done.
    pub(super) fn current_stage(&self) -> String {
        self.lock().stage.clone()
    }

    /// What to cut; cut at once if it is too late already.
    pub(super) fn attach(&self, cutter: Cutter) {
        let mut state = self.lock();
        if state.cut {
            cutter.cut();
        }
        state.cutter = Some(cutter);
    }

    /// Time left; zero when over, `None` when there is no deadline any more.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let state = self.lock();
        if state.expired {
            return Some(Duration::ZERO);
        }
        let now = state.asking_since.unwrap_or_else(Instant::now);
        state.end.map(|end| end.saturating_duration_since(now))
    }

    /// The deadline passed.
    pub(super) fn expired(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Somebody cut the connection.
    pub(super) fn is_cut(&self) -> bool {
        self.lock().cut
    }

    /// Runs a question to a person with the clock standing still.
    pub(super) fn paused<T>(&self, question: impl FnOnce() -> T) -> T {
        self.lock().asking_since = Some(Instant::now());
        let answer = question();
        let mut state = self.lock();
        if let (Some(since), Some(end)) = (state.asking_since.take(), state.end) {
            state.end = Some(end + since.elapsed());
        }
        drop(state);
        self.changed.notify_all();
        answer
    }

    /// Progress was made: at least this much time from now.
    pub(super) fn extend(&self, at_least: Duration) {
        let mut state = self.lock();
        let end = Instant::now() + at_least;
        if state.end.is_some_and(|old| old < end) {
            state.end = Some(end);
        }
    }

    /// The connection is open: no deadline any more, and the watchdog ends.
    pub(super) fn disarm(&self) {
        self.lock().end = None;
        self.changed.notify_all();
    }

    /// Cuts the connection now.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        // Whoever notices first that time is up, the reason stays the same.
        state.expired |= state.asking_since.is_none() && state.end.is_some_and(|end| end <= Instant::now());
        state.cut = true;
        state.end = None;
        if let Some(cutter) = &state.cutter {
            cutter.cut();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Starts the watchdog. `too_late` runs if the host's thread does not even notice the cut (a resolver or an SSH
    /// agent that hangs).
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn watch(
        self: &Arc<Self>,
        host: &str,
        too_late: impl FnOnce(&Deadline) + Send + 'static,
    ) -> std::io::Result<()> {
        let deadline = Arc::clone(self);
        std::thread::Builder::new()
            .name(format!("watch:{host}"))
            .spawn(move || {
                let mut state = deadline.lock();
                loop {
                    let Some(end) = state.end else { return };
                    let wait = match state.asking_since {
                        Some(_) => Duration::from_secs(3600),
                        None => end.saturating_duration_since(Instant::now()),
                    };
                    if wait.is_zero() {
                        break;
                    }
                    state = deadline
                        .changed
                        .wait_timeout(state, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                state.cut = true;
                state.expired = true;
                if let Some(cutter) = &state.cutter {
                    cutter.cut();
                }
                drop(state);
                std::thread::sleep(GRACE);
                too_late(&deadline);
            })?;
        Ok(())
    }
}

/// A second handle on the stream, only to cut it.
#[derive(Debug)]
pub(super) enum Cutter {
    /// Straight to the host.
    Tcp(TcpStream),
    /// To a child process.
    Unix(UnixStream),
}

impl Cutter {
    /// Ends every read and write on the stream, at once, whoever waits in it.
    pub(super) fn cut(&self) {
        // An error means that it is not connected any more.
        let _ = match self {
            Cutter::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Cutter::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_still_while_a_person_is_asked() {
        let deadline = Deadline::new(Duration::from_secs(100));
        let before = deadline.remaining().unwrap();
        deadline.paused(|| std::thread::sleep(Duration::from_millis(30)));
        let lost = before - deadline.remaining().unwrap();
        assert!(lost < Duration::from_millis(30), "{lost:?} were counted");
    }

    #[test]
    fn a_late_thread_is_reported_by_the_watchdog() {
        let (tell, told) = std::sync::mpsc::channel();
        let deadline = Deadline::new(Duration::from_millis(10));
        deadline.stage("resolving");
        deadline
            .watch("a", move |d| tell.send(d.current_stage()).unwrap())
            .unwrap();
        assert_eq!(told.recv().unwrap(), "resolving");
        assert!(deadline.expired() && deadline.is_cut());
    }
}
