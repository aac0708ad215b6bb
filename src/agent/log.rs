//! Log lines as JSON on standard error, written by a thread of its own: a reader that does not read never holds up the
//! packets.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// Lines that may wait; more are counted and dropped.
const QUEUE: usize = 4096;

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

static SENDER: OnceLock<SyncSender<Message>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since start because nobody read them.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn sender() -> &'static SyncSender<Message> {
    SENDER.get_or_init(|| {
        let (sender, receiver) = sync_channel::<Message>(QUEUE);
        let spawned = std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                for message in receiver {
                    match message {
                        Message::Line(line) => drop(std::io::stderr().write_all(line.as_bytes())),
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
pub(super) fn event(level: &str, message: &str, fields: &[(&str, Value)]) {
    let mut object = Map::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    object.insert("time".to_owned(), Value::String(utc(since)));
    object.insert("level".to_owned(), level.into());
    object.insert("message".to_owned(), message.into());
    for (key, value) in fields {
        object.insert((*key).to_owned(), value.clone());
    }
    let line = format!("{}\n", Value::Object(object));
    if sender().try_send(Message::Line(line)).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until what was logged is written, but not for ever.
pub(super) fn flush() {
    let (done, wait) = sync_channel(1);
    if sender().try_send(Message::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_millis(500));
    }
}

/// RFC 3339 with milliseconds, UTC; civil date from days as in the proleptic Gregorian calendar.
fn utc(since: Duration) -> String {
    let seconds = since.as_secs();
    let (days, time) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days since 0000-03-01; years begin in March, so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z",
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_763_830_799, "2025-11-22T16:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(Duration::from_secs(seconds)), text);
        }
    }
}
