//! What a configuration says, with keepalived's defaults filled in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::diag::Place;

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
    /// `vrrp_instance`, in order; shared with whoever runs them.
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

/// A user and perhaps a group, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub user: String,
    /// Group; `None`: the user's own.
    pub group: Option<String>,
}

/// Something to execute, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `None`: `script_user`.
    pub user: Option<User>,
}

/// A FIFO for notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fifo {
    /// Its path; `None`: there is none.
    pub path: Option<String>,
    /// Its owner.
    pub user: Option<User>,
    /// Reads it; gets the path as its last argument.
    pub script: Option<Command>,
}

/// A weight: what a tracked thing does to the priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// -253 to 253; 0: failing means FAULT; above 0: added while good; below: subtracted while failing.
    pub value: i16,
    /// Without a weight, good and failing change places; else the weight's sign is turned round.
    pub reverse: bool,
}

/// `vrrp_script`.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Name.
    pub name: String,
    /// What runs, and as whom.
    pub command: Command,
    /// Start to start; 1 s unless written.
    pub interval: Duration,
    /// After it the run counts as failed; `interval` unless written.
    pub timeout: Duration,
    /// For who does not write one of his own.
    pub weight: Weight,
    /// Successes in a row.
    pub rise: u32,
    /// Failures in a row.
    pub fall: u32,
    /// Counts as failed until it succeeded.
    pub init_fail: bool,
    /// Where it is written.
    pub place: Place,
}

/// Which parameters a tracked process must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParamMatch {
    /// Whatever it has.
    #[default]
    Any,
    /// Those written and no others.
    Exact,
    /// `partial`: those written first, then perhaps others.
    Partial,
    /// `initial`: those written, where the last one may go on.
    Initial,
}

/// `vrrp_track_process`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackProcess {
    /// Name.
    pub name: String,
    /// Name as in /proc/PID/comm or, with `full_command`, as in /proc/PID/cmdline; then parameters.
    pub process: Vec<String>,
    /// `param_match`; parameters alone mean that no others may follow.
    pub params: ParamMatch,
    /// Compare /proc/PID/cmdline.
    pub full_command: bool,
    /// For who does not write one of his own.
    pub weight: Weight,
    /// So many must run; 1 unless written.
    pub quorum: u32,
    /// No more may run; `None`: any number.
    pub quorum_max: Option<u32>,
    /// Time before an appearance counts.
    pub fork_delay: Duration,
    /// Time before a disappearance counts.
    pub terminate_delay: Duration,
    /// Where it is written.
    pub place: Place,
}

/// `track_file`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackFile {
    /// Name.
    pub name: String,
    /// The file whose number is read.
    pub file: String,
    /// Multiplied with the number; `None`: 1.
    pub weight: Option<i32>,
    /// The sign is turned round.
    pub reverse: bool,
    /// Number that the file is created with.
    pub init: Option<i32>,
    /// Where it is written.
    pub place: Place,
}

/// A tracked thing and its own weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Name of script, process or file; or an interface.
    pub name: String,
    /// `None`: that of the tracked thing.
    pub weight: Option<Weight>,
    /// Where it is written.
    pub place: Place,
}

/// Everything that an instance or a group tracks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracks {
    /// `track_interface`.
    pub interfaces: Vec<Track>,
    /// `track_script`.
    pub scripts: Vec<Track>,
    /// `track_process`.
    pub processes: Vec<Track>,
    /// `track_file`.
    pub files: Vec<Track>,
}

/// What is said of an instance that a reload takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Deleted {
    /// That it is in FAULT.
    #[default]
    Fault,
    /// `notify_deleted`: that it is DELETED; the command runs too, if one is written.
    Deleted(Option<Command>),
}

/// Notifications of an instance or a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notify {
    /// Every transition; gets `INSTANCE|GROUP name STATE priority`.
    pub any: Option<Command>,
    /// To MASTER.
    pub master: Option<Command>,
    /// To BACKUP.
    pub backup: Option<Command>,
    /// To FAULT.
    pub fault: Option<Command>,
    /// At stop.
    pub stop: Option<Command>,
    /// Gone after a reload.
    pub deleted: Deleted,
    /// A lower priority was heard while MASTER.
    pub master_rx_lower_pri: Option<Command>,
    /// Mail; `None`: as in `global_defs`.
    pub smtp_alert: Option<bool>,
    /// Priority changes too.
    pub priority_changes: Option<bool>,
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

/// `authentication`.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// A password in the clear: 1 to 8 bytes.
    Pass(Vec<u8>),
    /// IPsec AH; the agent cannot speak it.
    Ah,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Pass(_) => "Pass(***)",
            Auth::Ah => "Ah",
        })
    }
}

/// `auth_hmac`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthHmac {
    /// Each id once.
    pub keys: Vec<HmacKey>,
    /// The id that signs.
    pub active_key: u8,
    /// Who must sign.
    pub mode: HmacMode,
    /// `time_window`, 1 to 300 s; `None`: `anti_replay monotonic`.
    pub window: Option<u16>,
}

/// `mode` of `auth_hmac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacMode {
    /// Nothing counts that is not signed.
    Enforce,
    /// Signs; what is not signed counts too.
    Permissive,
    /// Signs nothing; what is not signed counts too.
    ReceiveOnly,
}

impl HmacMode {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            HmacMode::Enforce => "enforce",
            HmacMode::Permissive => "permissive",
            HmacMode::ReceiveOnly => "receive-only",
        }
    }
}

/// `key` of `auth_hmac`.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    /// 1 to 255.
    pub id: u8,
    /// `hex:…`, `file:…` or the secret itself.
    pub written: String,
    /// 32 to 64 bytes; none if it could not be had (an error).
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HmacKey({}, ***)", self.id)
    }
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
    /// Address family of the adverts is IPv6: `native_ipv6`, or the first VIP is.
    pub ipv6: bool,
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

impl Notify {
    /// Every command that is written, with its keyword.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &Command)> {
        let deleted = match &self.deleted {
            Deleted::Deleted(command) => command.as_ref(),
            Deleted::Fault => None,
        };
        let all = [
            ("notify", self.any.as_ref()),
            ("notify_master", self.master.as_ref()),
            ("notify_backup", self.backup.as_ref()),
            ("notify_fault", self.fault.as_ref()),
            ("notify_stop", self.stop.as_ref()),
            ("notify_deleted", deleted),
            ("notify_master_rx_lower_pri", self.master_rx_lower_pri.as_ref()),
        ];
        all.into_iter()
            .filter_map(|(keyword, command)| Some((keyword, command?)))
    }
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
