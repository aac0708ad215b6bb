//! Log lines as JSON on standard error, written by a thread of its own: a reader that does not read never holds up the
//! packets.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::state::time::Utc;

/// Lines that may wait; more are counted and dropped.
const QUEUE: usize = 4096;

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

static SENDER: OnceLock<Sender<Message>> = OnceLock::new();
/// Lines that wait. The channel itself has no limit: one with a limit would hold the memory for all of them from the start.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since start because nobody read them.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn sender() -> &'static Sender<Message> {
    SENDER.get_or_init(|| {
        let (sender, receiver) = channel::<Message>();
        let spawned = std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                for message in receiver {
                    match message {
                        Message::Line(line) => {
                            drop(std::io::stderr().write_all(line.as_bytes()));
                            WAITING.fetch_sub(1, Ordering::Relaxed);
                        }
                        Message::Flush(done) => drop(done.try_send(())),
                    }
                }
            });
        // Without a thread the channel is closed, and every line counts as dropped.
        drop(spawned);
        sender
    })
}

/// One line: level, what happened, and what belongs to it.
pub(crate) fn event(level: &str, message: &str, fields: &[(&str, Value)]) {
    let mut object = Map::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    object.insert("time".to_owned(), Value::String(utc(since)));
    object.insert("level".to_owned(), level.into());
    object.insert("message".to_owned(), message.into());
    for (key, value) in fields {
        object.insert((*key).to_owned(), value.clone());
    }
    let line = format!("{}\n", Value::Object(object));
    // Several threads may be here at once: a few lines more than QUEUE do no harm.
    if WAITING.fetch_add(1, Ordering::Relaxed) >= QUEUE || sender().send(Message::Line(line)).is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until what was logged is written, but not for ever.
pub(crate) fn flush() {
    let (done, wait) = sync_channel(1);
    if sender().send(Message::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_millis(500));
    }
}

/// RFC 3339 with milliseconds, UTC.
fn utc(since: Duration) -> String {
    let seconds = Utc::since_epoch(since).rfc3339();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(
            utc(Duration::from_millis(1_763_830_799_042)),
            "2025-11-22T16:59:59.042Z"
        );
    }
}
