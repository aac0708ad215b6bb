//! What a configuration says, with keepalived's defaults filled in.

mod auth;
mod notify;
mod tracks;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::diag::Place;
use super::family::Family;

pub use auth::{Auth, AuthHmac, HmacKey, HmacMode};
pub use notify::{Command, Deleted, Fifo, Notify, User};
pub use tracks::{ParamMatch, Script, Track, TrackFile, TrackProcess, Tracks, Weight};

/// A whole configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// `global_defs`.
    pub global: GlobalDefs,
    /// `vrrp_script`, in order.
    pub scripts: Vec<Script>,
    /// `vrrp_track_process`, in order.
    pub track_processes: Vec<TrackProcess>,
    /// `track_file`, in order.
    pub track_files: Vec<TrackFile>,
    /// `vrrp_sync_group`, in order.
    pub sync_groups: Vec<SyncGroup>,
    /// `garp_group`, in order.
    pub garp_groups: Vec<GarpGroup>,
    /// `vrrp_instance`, in order; shared with the engine that runs them.
    pub instances: Vec<Arc<Instance>>,
    /// `interface_up_down_delays`: interface to delays before down and before up count.
    pub up_down_delays: BTreeMap<String, (Duration, Duration)>,
    /// Blocks of load balancing and BFD that were skipped.
    pub skipped_blocks: usize,
}

/// `global_defs`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalDefs {
    /// Where; of the last block if there are several.
    pub place: Place,
    /// Name of the machine in mails; `None`: the host name.
    pub router_id: Option<String>,
    /// Recipients.
    pub notification_email: Vec<String>,
    /// Sender.
    pub notification_email_from: Option<String>,
    /// Host and port (25 unless written).
    pub smtp_server: Option<(String, u16)>,
    /// Name in HELO.
    pub smtp_helo_name: Option<String>,
    /// 30 s unless written.
    pub smtp_connect_timeout: Option<Duration>,
    /// Default of every `smtp_alert`; `None`: off, as keepalived does from 2.0 on.
    pub smtp_alert: Option<bool>,
    /// Default of the instances' `smtp_alert`.
    pub smtp_alert_vrrp: Option<bool>,
    /// No mail for FAULT.
    pub no_email_faults: bool,
    /// 224.0.0.18 unless written.
    pub mcast_group4: Option<IpAddr>,
    /// ff02::12 unless written.
    pub mcast_group6: Option<IpAddr>,
    /// Defaults of the instances.
    pub garp: Garp,
    /// Pause between two gratuitous ARPs on an interface.
    pub garp_interval: Duration,
    /// Pause between two unsolicited neighbour advertisements on an interface.
    pub gna_interval: Duration,
    /// One gratuitous ARP, no second burst.
    pub min_garp: bool,
    /// 2 or 3; `None`: 2 for IPv4, 3 for IPv6.
    pub version: Option<u8>,
    /// Adverts that may be missing; 3 unless written.
    pub down_timer_adverts: Option<u8>,
    /// Do not answer an advert of lower priority.
    pub lower_prio_no_advert: bool,
    /// Send one advert before yielding to a higher priority; `None`: as the engine does.
    pub higher_prio_send_advert: Option<bool>,
    /// Adverts by unicast must come from a peer that is written.
    pub check_unicast_src: bool,
    /// Compare the VIP list only when the sender changes.
    pub skip_check_adv_addr: bool,
    /// Priority changes go to the FIFOs too.
    pub notify_priority_changes: bool,
    /// States go to the FIFOs at a reload too.
    pub fifo_write_states_on_reload: bool,
    /// `vrrp_strict`, the default of the instances.
    pub strict: bool,
    /// Time between start and taking part.
    pub startup_delay: Duration,
    /// Who runs scripts.
    pub script_user: Option<User>,
    /// Refuse root scripts that others can change.
    pub script_security: bool,
    /// `notify_fifo` and `notify_fifo_script`.
    pub notify_fifo: Fifo,
    /// `vrrp_notify_fifo` and `vrrp_notify_fifo_script`.
    pub vrrp_notify_fifo: Fifo,
    /// 1 to 99: SCHED_RR.
    pub rt_priority: Option<u8>,
    /// -20 to 19.
    pub nice: Option<i8>,
    /// Lock the memory.
    pub no_swap: bool,
}

/// `vrrp_sync_group`.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroup {
    /// Name.
    pub name: String,
    /// Names of instances.
    pub members: Vec<(String, Place)>,
    /// What all of them track.
    pub tracks: Tracks,
    /// Notifications.
    pub notify: Notify,
    /// What one member tracks counts for all.
    pub global_tracking: bool,
    /// Weights other than 0 are allowed for the members.
    pub tracking_weight: bool,
    /// Where it is written.
    pub place: Place,
}

/// `garp_group`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GarpGroup {
    /// Interfaces that share the pauses.
    pub interfaces: Vec<String>,
    /// Pause between two gratuitous ARPs.
    pub garp_interval: Option<Duration>,
    /// Pause between two unsolicited neighbour advertisements.
    pub gna_interval: Option<Duration>,
}

/// Gratuitous ARP and neighbour advertisement; `None`: the next more general default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Garp {
    /// Second burst after becoming MASTER; 5 s, 0: none.
    pub master_delay: Option<Duration>,
    /// Messages of a burst; 5.
    pub master_repeat: Option<u32>,
    /// Second burst after hearing a lower priority; as master_delay.
    pub lower_prio_delay: Option<Duration>,
    /// Messages of that burst; as master_repeat.
    pub lower_prio_repeat: Option<u32>,
    /// Refresh while MASTER; 0: none. Not written: none in keepalived, 60 s in the agent.
    pub refresh: Option<Duration>,
    /// Messages of a refresh; 1.
    pub refresh_repeat: Option<u32>,
}

/// `state`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InitState {
    /// `MASTER`.
    Master,
    /// `BACKUP`.
    #[default]
    Backup,
}

/// A line of `virtual_ipaddress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// 32 or 128 unless written.
    pub prefix: u8,
    /// `dev`; `None`: the instance's interface.
    pub dev: Option<String>,
    /// `label`.
    pub label: Option<String>,
    /// `brd`: an address, `+` or `-`.
    pub broadcast: Option<String>,
    /// `scope`, as a number of rtnetlink(7).
    pub scope: Option<u8>,
    /// `preferred_lft`; `None`: forever. IPv6 /128: 0, so that it is not chosen as a source.
    pub preferred_lft: Option<u32>,
    /// `peer`: the other end, which the agent does not set.
    pub peer: Option<(IpAddr, u8)>,
    /// `noprefixroute`.
    pub noprefixroute: bool,
    /// `home`.
    pub home: bool,
    /// `mngtmpaddr`.
    pub mngtmpaddr: bool,
    /// `autojoin`.
    pub autojoin: bool,
    /// `-nodad`: duplicate address detection of IPv6, which is off unless this is written.
    pub dad: bool,
    /// `no_track`: the interface of `dev` may be down.
    pub no_track: bool,
    /// Where it is written.
    pub place: Place,
}

/// A line of `unicast_peer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The peer.
    pub ip: IpAddr,
    /// Adverts of a lower TTL are ignored.
    pub min_ttl: u8,
    /// Adverts of a higher TTL are ignored.
    pub max_ttl: u8,
}

/// `vrrp_instance`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Name.
    pub name: String,
    /// `state`, or what follows from the priority.
    pub state: Option<InitState>,
    /// Empty if it is not written (an error).
    pub interface: String,
    /// 0 if it is not written (an error).
    pub vrid: u8,
    /// 1 to 255. Unless written: 255 with `state MASTER`, else 100.
    pub priority: u8,
    /// 2 or 3, resolved.
    pub version: u8,
    /// Resolution 10 ms for version 3, 1 s for version 2.
    pub advert_int: Duration,
    /// What is really used: version 2 only, and not in strict mode.
    pub auth: Option<Auth>,
    /// Signed adverts; then `auth` is `None`.
    pub auth_hmac: Option<AuthHmac>,
    /// Advertised addresses, in order. One that is written twice is here twice.
    pub vips: Vec<Address>,
    /// Addresses that move too.
    pub vips_excluded: Vec<Address>,
    /// Having none is meant (`no_virtual_ipaddress`).
    pub no_vips: bool,
    /// `mcast_src_ip` or `unicast_src_ip`.
    pub source: Option<IpAddr>,
    /// Not empty: unicast.
    pub unicast_peers: Vec<Peer>,
    /// There are peers.
    pub unicast: bool,
    /// `unicast_ttl`; `None`: 255 for IPv4, 64 for IPv6 as keepalived.
    pub unicast_ttl: Option<u8>,
    /// `mcast_dst_ip`.
    pub mcast_dst: Option<IpAddr>,
    /// The source must be a written peer.
    pub check_unicast_src: bool,
    /// Never take over from a lower priority.
    pub nopreempt: bool,
    /// Wait before taking over from a lower priority.
    pub preempt_delay: Duration,
    /// Resolved against `global_defs`: every field but `refresh` is `Some`.
    pub garp: Garp,
    /// Adverts that may be missing.
    pub down_timer_adverts: u8,
    /// Do not answer an advert of lower priority.
    pub lower_prio_no_advert: bool,
    /// Send one advert before yielding to a higher priority; `None`: as the engine does (keepalived: no).
    pub higher_prio_send_advert: Option<bool>,
    /// Compare the VIP list only when the sender changes.
    pub skip_check_adv_addr: bool,
    /// `vrrp_strict` or `strict_mode`. What it changes is changed in the other fields.
    pub strict: bool,
    /// Packets to the VIPs are accepted.
    pub accept: Option<bool>,
    /// Version 3 over IPv4: checksum without pseudo-header (RFC 9568).
    pub v3_checksum_as_v2: bool,
    /// Of the adverts: IPv6 with `native_ipv6`, or where the first VIP is IPv6.
    pub family: Family,
    /// Losing the own interface is not FAULT.
    pub dont_track_primary: bool,
    /// FAULT while the source address is not there.
    pub track_src_ip: bool,
    /// What it tracks.
    pub tracks: Tracks,
    /// Notifications.
    pub notify: Notify,
    /// Where it is written.
    pub place: Place,
}

impl Config {
    /// Whether an instance or a group tracks the script of that name.
    pub fn tracks_script(&self, name: &str) -> bool {
        let groups = self.sync_groups.iter().map(|g| &g.tracks);
        let mut all = self.instances.iter().map(|i| &i.tracks).chain(groups);
        all.any(|t| t.scripts.iter().any(|t| t.name == name))
    }

    /// The instance of that name.
    pub fn instance(&self, name: &str) -> Option<&Arc<Instance>> {
        self.instances.iter().find(|i| i.name == name)
    }

    /// The script of that name.
    pub fn script(&self, name: &str) -> Option<&Script> {
        self.scripts.iter().find(|s| s.name == name)
    }

    /// The sync group that an instance is a member of.
    pub fn group_of(&self, instance: &str) -> Option<&SyncGroup> {
        self.sync_groups
            .iter()
            .find(|g| g.members.iter().any(|(m, _)| m == instance))
    }
}
