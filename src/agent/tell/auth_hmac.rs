//! `auth_hmac`, between the configuration, the routers and who asks for their status.

use serde_json::{Value, json};

use super::report::Row;
use crate::keepalived;
use crate::vrrp::Snapshot;
use crate::vrrp::hmac::Ahead;

/// For `status --json`: everything but the keys.
pub(crate) fn status(written: &keepalived::AuthHmac, router: &Snapshot) -> Value {
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let clocks: Vec<Value> = router
        .clocks
        .iter()
        .map(|(address, ahead)| {
            let near = written.window.is_some_and(|window| is_near(*ahead, window));
            json!({"address": address, "ahead_seconds": seconds(ahead.millis()), "near_the_window": near})
        })
        .collect();
    json!({
        "mode": written.mode.word(), "active_key": written.active_key,
        "keys": written.keys.iter().map(|k| k.id).collect::<Vec<_>>(), "time_window": written.window, "clocks": clocks,
    })
}

/// Clocks that are so far off that the peers of an instance will soon refuse each other, a line each.
pub(crate) fn warnings(row: &Row) -> Vec<String> {
    let Some(window) = row.instance.auth_hmac.as_ref().and_then(|auth| auth.window) else {
        return Vec::new();
    };
    let name = &row.instance.name;
    let clocks = row.router.clocks.iter().filter(|(_, ahead)| is_near(*ahead, window));
    clocks
        .map(|(address, ahead)| {
            format!(
                "{name}: the clock of {address} is {:.1} s off ours; from {window} s on (time_window) both hosts own the VIPs: set \
                 the clocks right",
                ahead.millis().unsigned_abs() as f64 / 1000.0,
            )
        })
        .collect()
}

/// Beyond half of the window, which is in seconds.
fn is_near(ahead: Ahead, window: u16) -> bool {
    ahead.millis().unsigned_abs() > u64::from(window) * 500
}
