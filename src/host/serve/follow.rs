//! Telling the controller of a transaction: its journal as it is written, beside everything else that is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::host::os::systemd;
use crate::host::record::tail::Tail;
use crate::host::record::txn::Txn;
use crate::host::serve::output::Output;
use crate::state::{EventKind, Reply};

/// A transaction whose events are sent until it ends, or this is dropped.
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
}

impl Following {
    /// Begins with the events after `after`.
    pub(crate) fn start(txn: Txn, after: u64, output: Output) -> Following {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || follow(&txn, after, &stopped, &output));
        Following { stop }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn follow(txn: &Txn, after: u64, stop: &AtomicBool, output: &Output) {
    let mut tail = Tail::new(&txn.file("journal"), after);
    let mut looked = Instant::now();
    let mut dead_once = false;
    while !stop.load(Ordering::Relaxed) && !output.is_dead() {
        let events = tail.read();
        let progressed = !events.is_empty();
        for event in events {
            let ended = matches!(event.kind, EventKind::Finished { .. });
            output.send(&Reply::Event {
                txn: txn.id.clone(),
                event,
            });
            if ended {
                return;
            }
        }
        if progressed {
            dead_once = false;
            looked = Instant::now();
        }
        // A transaction that was killed writes no end. (One that is armed is ended by its timer.)
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            let runs = systemd::one(&format!("{}.service", txn.unit())).is_active();
            if !runs && !txn.has("armed") && !txn.has("reverting") {
                if dead_once && !txn.is_finished() {
                    output.send(&Reply::Error {
                        message: format!("transaction {} was interrupted on the host", txn.id),
                        hints: vec!["plan and apply again: the new run continues where this one stopped".to_owned()],
                    });
                    return;
                }
                dead_once = true;
            }
        }
        std::thread::sleep(Duration::from_millis(15));
    }
}
