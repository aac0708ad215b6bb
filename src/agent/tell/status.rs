//! What `status` and the metrics are made of: taken in the packet thread, put into words in the thread of whoever asked.

use serde_json::{Value, json};

use super::notify::word;
use super::report::{Report, Row};
use super::{auth_hmac, neighbours};
use crate::agent::os::log;

impl Report {
    /// For `status --json`.
    pub(crate) fn json(&self) -> Value {
        let instances: Vec<Value> = self.rows.iter().map(|row| self.instance(row)).collect();
        json!({
            "engine": "agent", "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "config": self.config,
            "instances": instances, "other_routers": neighbours::other_routers(self),
            "uninvited_vips": self.uninvited.iter().map(|(ip, interface)| json!({"address": ip, "interface": interface})).collect::<Vec<_>>(),
            "duplicate_addresses": self.duplicates.iter().map(|d| d.json(self.at)).collect::<Vec<_>>(),
            "warnings": neighbours::warnings(self), "scripts": self.scripts, "processes": self.processes,
            "worst_timer_lag_seconds": self.worst_lag.as_secs_f64(), "dropped_log_lines": log::dropped(),
            "netlink_overruns": self.netlink_overruns,
        })
    }

    fn instance(&self, row: &Row) -> Value {
        let (i, s) = (&row.instance, &row.router);
        let n = s.statistics;
        json!({
            "name": i.name, "state": word(s.state).replace("STOP", "STOPPED"),
            "priority": s.priority, "base_priority": i.priority, "interface": i.interface,
            "virtual_router_id": i.vrid, "version": i.version, "source": row.source,
            "vips": i.vips.iter().map(|v| v.ip).collect::<Vec<_>>(), "owns_vip": row.owns,
            "owner": s.owner.map(|(ip, priority)| json!({"address": ip, "priority": priority})),
            "cause": format!("{:?}", s.cause), "seconds_in_state": self.at.saturating_sub(s.since).as_secs_f64(),
            "held": s.held, "raised_priority": s.raised, "waits_for_checks": s.pending, "sync_group": row.group,
            "neighbours": neighbours::neighbours(row, self.at), "second_owner": row.second_owner,
            "auth_hmac": i.auth_hmac.as_ref().map(|auth| auth_hmac::status(auth, s)),
            "statistics": {
                "received": n.received, "sent": n.sent, "ignored": n.ignored, "foreign": n.foreign, "auth_failures": n.auth_failures,
                "hmac_missing": n.hmac_missing, "hmac_malformed": n.hmac_malformed, "hmac_unknown_key": n.hmac_unknown_key,
                "hmac_wrong_key": n.hmac_wrong_key, "hmac_stale": n.hmac_stale, "hmac_replayed": n.hmac_replayed,
                "checksum_errors": n.checksum_errors, "zero_received": n.zero_received, "zero_sent": n.zero_sent,
                "became_master": n.became_master, "left_master": n.left_master,
            },
        })
    }
}
