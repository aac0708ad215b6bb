//! Stops a transaction after a chosen event for as long as its file is there. This is how the crash sweep cuts runs after
//! every single step: a process that waits can be killed at a known place, one that runs cannot.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// How many events may still be written, then `held`. Only root can make it; nothing but a test does.
pub(crate) const FILE: &str = "/run/hapair-txn.hold";

/// Content while a transaction waits.
const HELD: &str = "held";

/// Counts one event. After the last of them it waits until the file is gone. Another process that comes by meanwhile
/// (the revert that ends the waiting one) goes on.
pub(crate) fn after_event(file: &Path) {
    let Ok(text) = fs::read_to_string(file) else { return };
    match text.trim().parse::<u64>() {
        Err(_) => {}
        Ok(left) if left > 1 => {
            let _ = fs::write(file, (left - 1).to_string());
        }
        Ok(_) => {
            let _ = fs::write(file, HELD);
            while file.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
