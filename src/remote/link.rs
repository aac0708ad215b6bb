//! What the rest of the program holds of a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::ask::Ask;
use super::deadline::Deadline;
use super::error::{RemoteError, RemoteErrorKind, accepted};
use super::framed::Wake;
use super::host_thread::{Ends, Opened, Order, Report, run_local, run_ssh, timed_out};
use super::target::Target;
use super::tuning::Tuning;
use crate::state::{Facts, Reply, Request, Secret};

/// One open conversation with the executor of one host: one SSH connection, one exec.
///
/// Dropping it says goodbye in the background; [`Link::close`] waits for that.
#[derive(Debug)]
pub struct Link {
    host: String,
    facts: Facts,
    host_key: String,
    orders: mpsc::UnboundedSender<Order>,
    replies: mpsc::UnboundedReceiver<Reply>,
    /// Replies that came while [`Link::request`] waited for another.
    aside: VecDeque<Reply>,
    failure: Arc<Mutex<Option<RemoteError>>>,
    wake: Wake,
    finished: Option<oneshot::Receiver<()>>,
}

/// Cuts a connection whose opening is not waited for any more.
struct CutUnlessOpened(Option<Arc<Deadline>>);

impl Drop for CutUnlessOpened {
    fn drop(&mut self) {
        if let Some(deadline) = &self.0 {
            deadline.cut();
        }
    }
}

/// For conversations in which nobody is to be asked.
struct NoQuestions;

impl Ask for NoQuestions {
    fn accept_host_key(&self, _host: &str, _key_type: &str, _fingerprint: &str) -> bool {
        false
    }

    fn secret(&self, _prompt: &str) -> Option<Secret> {
        None
    }
}

impl Link {
    /// Connects, checks the host key, authenticates, delivers the executor if it is missing, and reads its facts.
    ///
    /// # Errors
    /// Every failure ends within `connect_timeout` (plus the time for streaming the executor).
    pub async fn connect(target: &Target, ask: Arc<dyn Ask>) -> Result<Link, RemoteError> {
        Link::connect_with(target, ask, Tuning::default()).await
    }

    /// As [`Link::connect`], with another executor or other limits.
    ///
    /// # Errors
    /// As [`Link::connect`].
    pub async fn connect_with(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> Result<Link, RemoteError> {
        let owned = target.clone();
        Link::open(&target.host, target.connect_timeout, move |ends| {
            run_ssh(ends, &owned, &*ask, &tuning)
        })
        .await
    }

    /// The same conversation over the standard streams of a child process, as `hapair-agent serve` on this machine. The
    /// child is killed if it does not end with the conversation.
    ///
    /// # Errors
    /// The child cannot be started, or does not greet within 30 s.
    pub async fn local(host: &str, command: std::process::Command) -> Result<Link, RemoteError> {
        let within = Duration::from_secs(30);
        let run = move |ends| run_local(ends, command, &NoQuestions, within, &Tuning::default());
        Link::open(host, within, run).await
    }

    async fn open(host: &str, within: Duration, run: impl FnOnce(Ends) + Send + 'static) -> Result<Link, RemoteError> {
        let broken = |e: std::io::Error| {
            RemoteError::on(host, RemoteErrorKind::Unreachable, "cannot start a thread")
                .because(e)
                .hint("raise `ulimit -n` or `-u`")
        };
        let (tell, told) = oneshot::channel();
        let (orders, taken) = mpsc::unbounded_channel();
        let (answer, replies) = mpsc::unbounded_channel();
        let (end, finished) = oneshot::channel();
        let (wake, woken) = Wake::pair().map_err(broken)?;
        let deadline = Deadline::new(within);
        let report = Report::new(tell);
        let failure = Arc::new(Mutex::new(None));
        let ends = Ends {
            host: host.to_owned(),
            deadline: Arc::clone(&deadline),
            report: Arc::clone(&report),
            orders: taken,
            replies: answer,
            failure: Arc::clone(&failure),
            woken,
            finished: end,
        };
        let name = host.to_owned();
        let late = move |deadline: &Deadline| {
            report.tell(Err(timed_out(&name, within, deadline)));
        };
        deadline.watch(host, late).map_err(broken)?;
        let mut guard = CutUnlessOpened(Some(deadline));
        std::thread::Builder::new()
            .name(format!("host:{host}"))
            .spawn(move || run(ends))
            .map_err(broken)?;
        let Opened { facts, host_key } = told.await.unwrap_or_else(|_| {
            let error = std::io::Error::other("it ended without a message, which is a bug in hapair");
            Err(broken(error))
        })?;
        guard.0 = None;
        Ok(Link {
            host: host.to_owned(),
            facts,
            host_key,
            orders,
            replies,
            aside: VecDeque::new(),
            failure,
            wake,
            finished: Some(finished),
        })
    }

    /// The host's name in the inventory.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the executor said of the host when the conversation opened.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The host key that was accepted, in OpenSSH's `SHA256:…` form; empty for [`Link::local`].
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Sends a request and does not wait. Works also while replies stream in.
    ///
    /// # Errors
    /// The conversation is over.
    pub async fn send(&self, request: &Request) -> Result<(), RemoteError> {
        let mut frame = serde_json::to_vec(request).map_err(|e| {
            let message = "the request cannot be written as a frame";
            RemoteError::on(&self.host, RemoteErrorKind::Refused, message).because(e)
        })?;
        frame.push(b'\n');
        self.orders.send(Order::Send(frame)).map_err(|_| self.why_over())?;
        self.wake.wake();
        Ok(())
    }

    /// The next reply; a [`Reply::Error`] arrives as a reply, not as an error. Cancel-safe: a reply that is not waited
    /// for any more is the next call's.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Lost`], and again at every further call.
    pub async fn recv(&mut self) -> Result<Reply, RemoteError> {
        match self.aside.pop_front() {
            Some(reply) => Ok(reply),
            None => self.replies.recv().await.ok_or_else(|| self.why_over()),
        }
    }

    /// Sends a request and returns its one reply; [`Reply::Error`] becomes [`RemoteErrorKind::Refused`]. What streams in
    /// meanwhile (events, watched addresses) is kept for [`Link::recv`].
    ///
    /// # Errors
    /// The host says no, or the conversation is over.
    pub async fn request(&mut self, request: &Request) -> Result<Reply, RemoteError> {
        self.send(request).await?;
        let streams = matches!(
            request,
            Request::Apply { .. } | Request::Attach { .. } | Request::Watch { .. }
        );
        loop {
            let reply = self.replies.recv().await.ok_or_else(|| self.why_over())?;
            match reply {
                Reply::Event { .. } | Reply::Owned { .. } if !streams => self.aside.push_back(reply),
                reply => return accepted(&self.host, reply),
            }
        }
    }

    /// Says goodbye and closes; never blocks longer than a second.
    pub async fn close(mut self) {
        let finished = self.finished.take();
        self.hang_up();
        if let Some(finished) = finished {
            // An error means that the thread is gone, which is what is waited for.
            let _ = finished.await;
        }
    }

    fn hang_up(&self) {
        let _ = self.orders.send(Order::Close);
        self.wake.wake();
    }

    fn why_over(&self) -> RemoteError {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .unwrap_or_else(|| RemoteError::on(&self.host, RemoteErrorKind::Lost, "the connection is closed"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hang_up();
    }
}
