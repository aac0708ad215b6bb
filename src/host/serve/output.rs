//! Where the executor's replies go: frames on standard output.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::state::Reply;

/// Where replies go; shared by everything that has something to say.
#[derive(Debug, Clone)]
pub struct Output {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stdout: Mutex<std::io::Stdout>,
    dead: AtomicBool,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output {
            inner: Arc::new(Inner {
                stdout: Mutex::new(std::io::stdout()),
                dead: AtomicBool::new(false),
            }),
        }
    }

    /// Sends one frame. A reader that is gone is noted, not an error: the conversation ends soon.
    pub fn send(&self, reply: &Reply) {
        let Ok(mut line) = serde_json::to_vec(reply) else {
            return;
        };
        line.push(b'\n');
        let Ok(mut stdout) = self.inner.stdout.lock() else {
            return;
        };
        if stdout.write_all(&line).and_then(|()| stdout.flush()).is_err() {
            self.inner.dead.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.inner.dead.load(Ordering::Relaxed)
    }
}
