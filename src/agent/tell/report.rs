//! The whole daemon at one moment, for whoever asks.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::agent::net::duplicate::Duplicate;
use crate::agent::tell::other_router::OtherRouter;
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
