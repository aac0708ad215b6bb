//! What `status` and the metrics are made of: taken in the packet thread, put into words in the thread of whoever asked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::neighbours;
use super::notify::word;
use crate::agent::engine::OtherRouter;
use crate::agent::net::duplicate::Duplicate;
use crate::agent::os::log;
use crate::agent::signing;
use crate::keepalived::Instance;
use crate::vrrp::{Neighbour, Snapshot, Time};

/// An instance at a moment.
pub(crate) struct Row {
    /// As configured.
    pub(crate) instance: Arc<Instance>,
    /// Its router.
    pub(crate) router: Snapshot,
    /// Who was heard lately.
    pub(crate) neighbours: Vec<Neighbour>,
    /// Who seems to own the VIPs too.
    pub(crate) second_owner: Option<IpAddr>,
    /// Where its adverts come from, if it has an address.
    pub(crate) source: Option<IpAddr>,
    /// One of its addresses is on this host.
    pub(crate) owns: bool,
    /// Name of its sync group.
    pub(crate) group: Option<String>,
}

/// Everything at a moment.
pub(crate) struct Report {
    /// The moment.
    pub(crate) at: Time,
    /// Path of the configuration.
    pub(crate) config: PathBuf,
    /// In the order of the configuration, sync groups first.
    pub(crate) rows: Vec<Row>,
    /// Tracked scripts.
    pub(crate) scripts: Value,
    /// Tracked processes.
    pub(crate) processes: Value,
    /// Who announces our VIPs under an id that is not ours.
    pub(crate) other_routers: Vec<OtherRouter>,
    /// Other hosts with our own addresses.
    pub(crate) duplicates: Vec<Duplicate>,
    /// VIPs on interfaces of this host that none of its instances put there.
    pub(crate) uninvited: Vec<(IpAddr, String)>,
    /// How late the latest timer since start was.
    pub(crate) worst_lag: Duration,
    /// Times the kernel dropped netlink messages.
    pub(crate) netlink_overruns: u64,
}

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
            "auth_hmac": i.auth_hmac.as_ref().map(|auth| signing::status(auth, s)),
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
