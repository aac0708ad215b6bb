//! `vrrp`: keepalived's words.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::secret::SecretSource;
use crate::keepalived::{Family, HmacMode};
use crate::state::Engine;

/// VRRP: keepalived's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Vrrp {
    /// The program that speaks it.
    pub engine: Engine,
    /// Where the agent serves metrics over HTTP; never with keepalived.
    pub metrics_listen: Option<SocketAddr>,
    /// `global_defs`.
    pub global_defs: GlobalDefs,
    /// `vrrp_script`.
    pub scripts: Vec<Script>,
    /// `vrrp_track_process`.
    pub track_processes: Vec<TrackProcess>,
    /// `vrrp_instance`.
    pub instances: Vec<Instance>,
}

/// keepalived's `global_defs`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalDefs {
    /// By host name; a host not named gets its own name.
    pub router_id: BTreeMap<String, String>,
    /// Mail addresses.
    pub notification_email: Vec<String>,
    /// Sender.
    pub notification_email_from: Option<String>,
    /// Address or name, optionally with port.
    pub smtp_server: Option<String>,
    /// Seconds.
    pub smtp_connect_timeout: Option<u16>,
    /// Seconds between gratuitous ARPs, in steps of 1 µs.
    pub vrrp_garp_interval: Option<f64>,
    /// Seconds between unsolicited NAs.
    pub vrrp_gna_interval: Option<f64>,
    /// Check the VIP list of an advert only when its sender changes.
    pub vrrp_skip_check_adv_addr: bool,
    /// Refuse root scripts whose path others can write.
    pub enable_script_security: bool,
    /// `user [group]`.
    pub script_user: Option<String>,
}

/// keepalived's `vrrp_script`.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Word.
    pub name: String,
    /// What it does.
    pub kind: ScriptKind,
    /// Seconds, above 0.
    pub interval: f64,
    /// Seconds; computed when not written.
    pub timeout: u32,
    /// -253 to 253; 0: failure means FAULT.
    pub weight: i16,
    /// Failures in a row until it counts as failed.
    pub fall: u32,
    /// Successes in a row until it counts as good.
    pub rise: u32,
    /// `user [group]`.
    pub user: Option<String>,
    /// Starts as failed.
    pub init_fail: bool,
}

/// The three check kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum ScriptKind {
    /// The seed's check_ng.sh: start nginx if it is down; if it stays down give up the VIP until it is back.
    Restart {
        /// `nginx.service`, when nginx was installed as a package.
        unit: Option<String>,
        /// `/usr/local/nginx/sbin/nginx`, when it was built from source.
        binary: Option<String>,
    },
    /// The seed's curl probe.
    Http {
        /// `None`: the node-local health location that hapair renders.
        url: Option<String>,
        /// Seconds for one try.
        try_timeout: u32,
        /// Tries.
        tries: u32,
        /// Seconds between tries.
        pause: u32,
    },
    /// The operator's own command line, run on the host.
    Command {
        /// As keepalived's `script`.
        command: String,
    },
}

/// keepalived's `vrrp_track_process`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackProcess {
    /// Word.
    pub name: String,
    /// Process name as in /proc/PID/comm.
    pub process: String,
    /// -253 to 253.
    pub weight: i16,
    /// Seconds of grace after a death.
    pub delay: Option<f64>,
}

/// keepalived's `vrrp_instance`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Word.
    pub name: String,
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// By host name, 1 to 254, different.
    pub priorities: BTreeMap<String, u8>,
    /// 2 or 3.
    pub version: u8,
    /// Seconds: whole ones for version 2, 0.01 to 40.95 for version 3.
    pub advert_int: f64,
    /// `None`: one is generated and kept. At most 8 bytes. Only version 2 sends it.
    pub auth_pass: Option<SecretSource>,
    /// keepalived's `auth_hmac`, in place of a password; `None`: adverts are not signed.
    pub auth_hmac: Option<AuthHmac>,
    /// `None`: the host's network interface.
    pub interface: Option<String>,
    /// `None`: MASTER on the host of higher priority, BACKUP on the other (BACKUP on both with `nopreempt`).
    pub state: Option<InitialState>,
    /// Adverts go to the peer's address instead of the multicast group.
    pub unicast: bool,
    /// Source address of adverts, by host name.
    pub mcast_src_ip: BTreeMap<String, IpAddr>,
    /// Do not preempt.
    pub nopreempt: bool,
    /// Seconds to wait before preempting.
    pub preempt_delay: Option<u32>,
    /// Seconds; 60 unless written.
    pub garp_master_refresh: u32,
    /// Advertised addresses.
    pub virtual_ipaddress: Vec<Vip>,
    /// Addresses that move with the VIPs and are not advertised.
    pub virtual_ipaddress_excluded: Vec<Vip>,
    /// Names of scripts.
    pub track_script: Vec<String>,
    /// Interfaces, each with an optional weight.
    pub track_interface: Vec<(String, Option<i16>)>,
    /// Names of track processes.
    pub track_process: Vec<String>,
    /// Paths of the operator's notify scripts on the host.
    pub notify: Notify,
}

/// keepalived's `auth_hmac`: signed adverts.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthHmac {
    /// At least one, each id once.
    pub keys: Vec<HmacKey>,
    /// Id of the key that signs; one of `keys`.
    pub active_key: u8,
    /// Who must sign.
    pub mode: HmacMode,
    /// Seconds, 1 to 300: how old an advert may be by the receiver's clock. `None`: three adverts, at least 5 s.
    pub time_window: Option<u16>,
}

impl AuthHmac {
    /// `time_window` in seconds as keepalived derives it, for adverts every `advert_int` seconds.
    pub fn window(&self, advert_int: f64) -> u16 {
        // The whole seconds of the interval count.
        self.time_window.unwrap_or((advert_int as u16 * 3).clamp(5, 300))
    }
}

/// A key of `auth_hmac`.
#[derive(Debug, Clone, PartialEq)]
pub struct HmacKey {
    /// 1 to 255.
    pub id: u8,
    /// `None`: one is generated and kept.
    pub key: Option<SecretSource>,
}

impl Instance {
    /// The family of the addresses that its adverts carry; IPv4 where it has none.
    pub fn family(&self) -> Family {
        let first = self.virtual_ipaddress.first();
        first.map_or(Family::V4, |vip| Family::of(vip.address.addr()))
    }

    /// It sends a password: version 2 without `auth_hmac`, which takes the password's place.
    pub fn has_password(&self) -> bool {
        self.version == 2 && self.auth_hmac.is_none()
    }

    /// Name of the host with the higher priority.
    pub fn preferred(&self) -> &str {
        self.priorities
            .iter()
            .max_by_key(|(_, p)| **p)
            .map(|(h, _)| h.as_str())
            .unwrap_or_default()
    }
}

/// keepalived's `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// `MASTER`.
    Master,
    /// `BACKUP`.
    Backup,
}

/// keepalived's notify scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notify {
    /// Every transition.
    pub notify: Option<String>,
    /// To MASTER.
    pub notify_master: Option<String>,
    /// To BACKUP.
    pub notify_backup: Option<String>,
    /// To FAULT.
    pub notify_fault: Option<String>,
    /// At stop.
    pub notify_stop: Option<String>,
}

/// A virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vip {
    /// A VIP without prefix is a /32 (or /128), as in the seed.
    pub address: IpNet,
    /// The prefix was written.
    pub prefix_written: bool,
}
