//! The control socket: one request a line, one answer a connection. A thread of its own talks to clients and puts the
//! answers into words, so that neither a slow client nor a long answer holds up the packets.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::metrics;
use super::report::Report;
use crate::agent::os::deadline_stream::WithDeadline;

/// Timeout for a client to send its request, and for it to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request that waits for its answer.
pub(crate) struct Request {
    /// `status`, `handover 30`, …
    pub(crate) line: String,
    /// Where the answer goes.
    pub(crate) answer: SyncSender<Answer>,
}

/// What the packet thread answers.
pub(crate) enum Answer {
    /// As it is.
    Line(String),
    /// As JSON.
    Status(Arc<Report>),
    /// In Prometheus' text form.
    Metrics(Arc<Report>),
}

impl Answer {
    fn text(self) -> String {
        match self {
            Answer::Line(line) => line,
            Answer::Status(report) => format!("{}\n", report.json()),
            Answer::Metrics(report) => metrics::render(&report.json()),
        }
    }
}

/// The daemon's side.
pub(crate) struct Control {
    requests: Receiver<Request>,
    wake: UnixStream,
    asker: Asker,
}

/// How another thread of the daemon asks it something.
pub(crate) struct Asker {
    sender: SyncSender<Request>,
    waker: UnixStream,
}

impl Asker {
    /// Another one, for another thread.
    pub(crate) fn another(&self) -> io::Result<Asker> {
        Ok(Asker {
            sender: self.sender.clone(),
            waker: self.waker.try_clone()?,
        })
    }

    /// One request and its answer; the daemon may take [`PATIENCE`].
    pub(crate) fn ask(&self, line: &str) -> io::Result<String> {
        let (answer, wait) = sync_channel(1);
        let request = Request {
            line: line.to_owned(),
            answer,
        };
        self.sender
            .send(request)
            .map_err(|_| io::Error::other("the daemon is gone"))?;
        (&self.waker).write_all(&[1])?;
        let answer = wait.recv_timeout(PATIENCE).map_err(|_| io::Error::other("no answer"))?;
        Ok(answer.text())
    }
}

impl Control {
    /// For threads of the daemon; nobody listens yet.
    pub(crate) fn new() -> io::Result<Control> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (sender, requests) = sync_channel(16);
        let asker = Asker { sender, waker };
        Ok(Control { requests, wake, asker })
    }

    /// Listens; whoever may use the socket is root (mode 0600).
    pub(crate) fn listen(&self, path: &Path) -> io::Result<()> {
        drop(std::fs::remove_file(path));
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let own = self.asker.another()?;
        std::thread::Builder::new()
            .name("control".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || {
                for client in listener.incoming() {
                    match client {
                        // A client that goes away harms nobody.
                        Ok(client) => drop(serve(&client, &own)),
                        Err(_) => std::thread::sleep(Duration::from_millis(100)),
                    }
                }
            })?;
        Ok(())
    }

    /// For another thread.
    pub(crate) fn asker(&self) -> io::Result<Asker> {
        self.asker.another()
    }

    /// Requests that wait.
    pub(crate) fn take(&self) -> Vec<Request> {
        let mut rest = [0; 64];
        while matches!((&self.wake).read(&mut rest), Ok(n) if n > 0) {}
        self.requests.try_iter().collect()
    }
}

/// For epoll: readable when [`Control::take`] has something.
impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn serve(client: &UnixStream, asker: &Asker) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(WithDeadline::new(client, PATIENCE).take(4096)).read_line(&mut line)?;
    let text = asker.ask(line.trim())?;
    WithDeadline::new(client, PATIENCE).write_all(text.as_bytes())
}

/// The client's side: one request to the daemon of that state directory, its whole answer.
///
/// # Errors
/// No daemon listens there, or it does not answer in time.
pub fn ask(state_dir: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(crate::agent::os::state_dir::socket_in(state_dir))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
