//! `auth_hmac`, between the configuration, the routers and who asks for their status.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::keepalived::{self, HmacMode, Instance};
use crate::vrrp::hmac::{AntiReplay, Key, Mode};
use crate::vrrp::{AuthHmac, Snapshot};

/// What the router of an instance signs and checks with.
pub(super) fn auth_hmac(instance: &Instance) -> Option<Arc<AuthHmac>> {
    let written = instance.auth_hmac.as_ref()?;
    Some(Arc::new(AuthHmac {
        // A key that is none is an error of the configuration, with which nothing runs.
        keys: written.keys.iter().filter_map(|k| Key::new(k.id, &k.secret)).collect(),
        active: written.active_key,
        mode: match written.mode {
            HmacMode::Enforce => Mode::Enforce,
            HmacMode::Permissive => Mode::Permissive,
            HmacMode::ReceiveOnly => Mode::ReceiveOnly,
        },
        anti_replay: match written.window {
            Some(window) => AntiReplay::Time { window },
            None => AntiReplay::Monotonic,
        },
    }))
}

/// For `status --json`: everything but the keys.
pub(super) fn status(written: &keepalived::AuthHmac, router: &Snapshot) -> Value {
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let clocks: Vec<Value> = router
        .clocks
        .iter()
        .map(|(address, ahead)| {
            let near = written
                .window
                .is_some_and(|window| ahead.millis().unsigned_abs() > u64::from(window) * 500);
            json!({"address": address, "ahead_seconds": seconds(ahead.millis()), "near_the_window": near})
        })
        .collect();
    json!({
        "mode": written.mode.word(), "active_key": written.active_key,
        "keys": written.keys.iter().map(|k| k.id).collect::<Vec<_>>(), "time_window": written.window, "clocks": clocks,
    })
}

/// For `status`: the clocks of an instance that will soon be too far away, a line each.
pub(super) fn warnings(instance: &Value) -> String {
    let auth = &instance["auth_hmac"];
    let clocks = auth["clocks"].as_array().into_iter().flatten();
    clocks
        .filter(|clock| clock["near_the_window"] == true)
        .map(|clock| {
            format!(
                "  the clock of {} is {:.1} s off ours; from {} s on (time_window) both hosts own the VIPs: set the clocks right\n",
                clock["address"].as_str().unwrap_or_default(),
                clock["ahead_seconds"].as_f64().unwrap_or_default().abs(),
                auth["time_window"],
            )
        })
        .collect()
}
