//! What the kernel refused, and when it is tried again.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use serde_json::json;

use crate::agent::net::netlink::Assigned;
use crate::agent::os::log;
use crate::vrrp::Time;

/// What failed is tried again after this, and then after twice as long each time.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

/// So often the wait doubles, up to 0.8 s: what has failed for long must not keep an address that has just failed from being
/// taken off.
pub(super) const DOUBLINGS: u32 = 3;

/// What the kernel was asked for and did not do.
#[derive(Default)]
pub(super) struct Undone {
    /// When it is tried again.
    pub(super) at: Option<Time>,
    pub(super) tries: u32,
    /// Addresses that should not be there any more.
    pub(super) leftover: BTreeSet<Assigned>,
    /// Addresses that could not be put on, or so it was said: without an answer they may be there.
    pub(super) unsure: BTreeSet<Assigned>,
    /// Changes were missed, and what there is could not be read.
    pub(super) stale: bool,
    /// Said once, not with every try.
    pub(super) said: Option<String>,
}

impl Undone {
    pub(super) fn next_timer(&self) -> Option<Time> {
        self.at
    }

    pub(super) fn leftover(&self) -> impl Iterator<Item = &Assigned> {
        self.leftover.iter()
    }

    /// Something failed.
    pub(super) fn failed(&mut self, now: Time, message: &str, error: &io::Error) {
        let text = format!("{message}: {error}");
        if self.said.as_ref() != Some(&text) {
            log::event("error", message, &[("error", json!(error.to_string()))]);
            self.said = Some(text);
        }
        if self.at.is_none() {
            self.at = Some(now + AGAIN * (1 << self.tries.min(DOUBLINGS)));
            self.tries += 1;
        }
    }
}
