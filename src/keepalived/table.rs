//! The language: every VRRP keyword, where it may stand, what follows it, since when keepalived knows it, what we do.
//!
//! Sources: keepalived.conf(5) of 2.2.7, parser sources of 1.3.5 to 2.4.3. `""` as version: 1.3.5 (CentOS 7) has it.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a keyword may stand (bits).
pub type In = u32;
/// The file itself.
pub const ROOT: In = 1;
/// `global_defs`.
pub const GLOBAL: In = 1 << 1;
/// `vrrp_script`.
pub const SCRIPT: In = 1 << 2;
/// `vrrp_track_process`.
pub const PROCESS: In = 1 << 3;
/// `track_file`.
pub const FILE: In = 1 << 4;
/// `vrrp_sync_group`.
pub const SYNC: In = 1 << 5;
/// `garp_group`.
pub const GARP: In = 1 << 6;
/// `vrrp_instance`.
pub const INSTANCE: In = 1 << 7;
/// `authentication`.
pub const AUTH: In = 1 << 8;
/// `track_group`.
pub const TRACK: In = 1 << 9;
/// `auth_hmac`.
pub const HMAC: In = 1 << 10;

/// What follows a keyword.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Args {
    /// Nothing; a value changes nothing, not even `off`.
    Flag,
    /// Nothing (true) or `on|off|true|false|yes|no`.
    Bool,
    /// A whole number in this range.
    Int(i64, i64),
    /// Seconds with a fraction, in this range.
    Secs(f64, f64),
    /// One word.
    Text,
    /// Between this many words.
    Words(usize, usize),
    /// A command line in one word, then user and group.
    Command,
    /// An address.
    Addr,
    /// No words, then a body of keywords from this table.
    Body(In),
    /// A name, then a body of keywords from this table.
    Named(In),
    /// A body of lines that are not keywords.
    Lines,
    /// Whatever there is.
    Any,
}

/// What the agent does with a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Obeys it.
    Obeys,
    /// Understands it and does not do it yet: a warning, but other programs find it in the model.
    Reads,
    /// Passes over it with a warning; it has no meaning for the agent (process names, SNMP, D-Bus, buffers, debugging).
    Ignores,
    /// Cannot do it, and the result differs from keepalived's: a warning.
    Lacks,
    /// Load balancing or BFD: skipped with one message for the whole file.
    Skips,
}

/// Keywords that share everything but the name.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Where.
    pub place: In,
    /// What follows.
    pub args: Args,
    /// First keepalived version, or nothing.
    pub since: &'static str,
    /// What the agent does.
    pub does: Does,
    /// The keywords.
    pub names: &'static str,
}

use Args::*;
use Does::*;

const fn r(place: In, args: Args, does: Does, since: &'static str, names: &'static str) -> Row {
    Row {
        place,
        args,
        since,
        does,
        names,
    }
}

const DAY: f64 = 86_400.0;

/// The whole language.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    // ---- blocks
    r(ROOT, Body(GLOBAL), Obeys, "", "global_defs"),
    r(ROOT, Named(SCRIPT), Obeys, "", "vrrp_script"),
    r(ROOT, Named(PROCESS), Obeys, "2.0.11", "vrrp_track_process"),
    r(ROOT, Named(FILE), Obeys, "1.4.0", "track_file vrrp_track_file"),
    r(ROOT, Named(SYNC), Obeys, "", "vrrp_sync_group"),
    r(ROOT, Body(GARP), Obeys, "1.4.1", "garp_group"),
    r(ROOT, Named(INSTANCE), Obeys, "", "vrrp_instance"),
    r(ROOT, Named(TRACK), Lacks, "2.0.7", "track_group"),
    r(ROOT, Lines, Lacks, "", "static_ipaddress static_routes static_rules"),
    r(ROOT, Lines, Ignores, "2.0.0", "linkbeat_interfaces"),
    r(ROOT, Lines, Obeys, "2.2.3", "interface_up_down_delays"),
    r(ROOT, Any, Skips, "", "virtual_server virtual_server_group SSL bfd_instance"),
    r(ROOT, Any, Lacks, "", "net_namespace"),
    r(ROOT, Any, Ignores, "", "net_namespace_ipvs namespace_with_ipsets instance use_pid_dir linkbeat_use_polling child_wait_time"),
    // ---- global_defs
    r(GLOBAL, Text, Obeys, "", "router_id notification_email_from smtp_helo_name"),
    r(GLOBAL, Lines, Obeys, "", "notification_email"),
    r(GLOBAL, Words(1, 2), Obeys, "", "smtp_server script_user"),
    r(GLOBAL, Secs(0.001, DAY), Obeys, "", "smtp_connect_timeout"),
    r(GLOBAL, Flag, Obeys, "", "no_email_faults vrrp_skip_check_adv_addr enable_script_security vrrp_check_unicast_src"),
    r(GLOBAL, Bool, Obeys, "", "smtp_alert smtp_alert_vrrp"),
    r(GLOBAL, Bool, Obeys, "", "vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert"),
    r(GLOBAL, Bool, Obeys, "2.0.12", "vrrp_min_garp"),
    r(GLOBAL, Bool, Obeys, "2.0.12", "vrrp_notify_priority_changes"),
    r(GLOBAL, Flag, Obeys, "2.0.12", "fifo_write_vrrp_states_on_reload"),
    r(GLOBAL, Addr, Obeys, "", "vrrp_mcast_group4 vrrp_mcast_group6"),
    r(GLOBAL, Secs(0.0, DAY), Obeys, "", "vrrp_garp_master_delay vrrp_garp_lower_prio_delay vrrp_garp_master_refresh"),
    r(GLOBAL, Secs(0.0, DAY), Obeys, "", "vrrp_garp_interval vrrp_gna_interval"),
    r(GLOBAL, Int(0, 1000), Obeys, "", "vrrp_garp_master_repeat vrrp_garp_lower_prio_repeat vrrp_garp_master_refresh_repeat"),
    r(GLOBAL, Int(2, 3), Obeys, "", "vrrp_version"),
    r(GLOBAL, Int(1, 100), Obeys, "2.2.3", "vrrp_down_timer_adverts"),
    r(GLOBAL, Secs(0.0, DAY), Obeys, "2.2.3", "vrrp_startup_delay"),
    r(GLOBAL, Secs(0.0, DAY), Lacks, "2.4.0", "vrrp_delay_after_boot"),
    r(GLOBAL, Words(1, 3), Obeys, "", "notify_fifo vrrp_notify_fifo"),
    r(GLOBAL, Command, Obeys, "", "notify_fifo_script vrrp_notify_fifo_script"),
    r(GLOBAL, Int(1, 99), Obeys, "2.0.11", "vrrp_rt_priority"),
    r(GLOBAL, Int(-20, 19), Obeys, "", "vrrp_priority"),
    r(GLOBAL, Flag, Obeys, "", "vrrp_no_swap"),
    r(GLOBAL, Flag, Obeys, "", "vrrp_strict"),
    r(GLOBAL, Any, Lacks, "2.3.3", "vrrp_owner_ignore_adverts"),
    r(GLOBAL, Any, Lacks, "2.0.7", "startup_script startup_script_timeout shutdown_script shutdown_script_timeout"),
    r(GLOBAL, Any, Lacks, "", "vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_counters nftables_ifindex disable_local_igmp"),
    r(GLOBAL, Any, Ignores, "", "tmp_config_directory config_save_dir process_names process_name vrrp_process_name checker_process_name bfd_process_name lvs_process_name default_interface vrrp_garp_extra_if vrrp_vmac_garp_intvl vmac_prefix vmac_addr_prefix"),
    r(GLOBAL, Any, Ignores, "", "max_auto_priority min_auto_priority_delay checker_priority bfd_priority checker_no_swap bfd_no_swap vrrp_cpu_affinity checker_cpu_affinity bfd_cpu_affinity checker_rt_priority bfd_rt_priority vrrp_rlimit_rttime vrrp_rlimit_rtime checker_rlimit_rttime checker_rlimit_rtime bfd_rlimit_rttime bfd_rlimit_rtime vrrp_rlimit_core"),
    r(GLOBAL, Any, Ignores, "", "snmp_socket enable_snmp_vrrp enable_snmp_keepalived enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_traps snmp_vrrp_traps enable_dbus dbus_service_name dbus_no_interface_name"),
    r(GLOBAL, Any, Ignores, "", "vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier dynamic_interfaces"),
    r(GLOBAL, Any, Ignores, "", "umask reload_check_config reload_time_file reload_repeat reload_file data_use_instance json_version log_unknown_vrids state_dump_file stats_dump_file json_dump_file random_seed keep_script_fds use_symlink_paths"),
    // Chooses how strict later includes are; whatever is wrong with one is said anyway.
    r(GLOBAL, Any, Obeys, "", "include_check"),
    r(GLOBAL, Any, Ignores, "", "lvs_sync_daemon lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force lvs_notify_fifo lvs_notify_fifo_script nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark smtp_alert_checker checker_log_all_failures no_checker_emails rs_init_notifies checker_delay_after_boot"),
    // ---- vrrp_script, vrrp_track_process, track_file
    r(SCRIPT, Text, Obeys, "", "script"),
    r(SCRIPT, Secs(0.001, 1_000_000.0), Obeys, "", "interval timeout"),
    r(SCRIPT | PROCESS, Words(1, 2), Obeys, "", "weight"),
    r(SCRIPT, Int(1, 1_000_000), Obeys, "", "rise fall"),
    r(SCRIPT, Words(1, 2), Obeys, "", "user"),
    r(SCRIPT, Flag, Obeys, "", "init_fail"),
    r(PROCESS, Words(1, 4096), Obeys, "2.0.11", "process"),
    r(PROCESS, Words(0, 1), Obeys, "2.0.11", "param_match"),
    r(PROCESS, Int(1, 65_535), Obeys, "2.0.11", "quorum"),
    r(PROCESS, Int(0, 65_535), Obeys, "2.0.13", "quorum_max"),
    r(PROCESS, Secs(0.0, 3600.0), Obeys, "2.0.11", "delay fork_delay terminate_delay"),
    r(PROCESS, Flag, Obeys, "2.0.11", "full_command"),
    r(FILE, Text, Obeys, "1.4.0", "file"),
    r(FILE, Words(1, 2), Obeys, "1.4.0", "weight"),
    r(FILE, Words(0, 2), Obeys, "1.4.0", "init_file"),
    // ---- vrrp_sync_group
    r(SYNC | TRACK, Lines, Obeys, "", "group"),
    r(SYNC | INSTANCE, Lines, Obeys, "", "track_interface track_script track_file track_process"),
    r(SYNC | INSTANCE, Lines, Lacks, "", "track_bfd"),
    r(SYNC | INSTANCE, Command, Obeys, "", "notify notify_master notify_backup notify_fault notify_stop"),
    r(INSTANCE, Words(0, 3), Obeys, "2.2.0", "notify_deleted"),
    r(SYNC, Words(0, 3), Ignores, "2.2.0", "notify_deleted"),
    r(SYNC | INSTANCE, Bool, Obeys, "", "smtp_alert"),
    r(SYNC | INSTANCE, Bool, Obeys, "2.0.12", "notify_priority_changes"),
    r(SYNC, Flag, Obeys, "", "global_tracking sync_group_tracking_weight"),
    // ---- garp_group
    r(GARP, Secs(0.0, 1_000_000.0), Obeys, "1.4.1", "garp_interval gna_interval"),
    r(GARP, Text, Obeys, "1.4.1", "interface"),
    r(GARP, Lines, Obeys, "1.4.1", "interfaces"),
    // ---- vrrp_instance
    r(INSTANCE, Text, Obeys, "", "state"),
    r(INSTANCE, Text, Obeys, "", "interface"),
    r(INSTANCE, Int(1, 255), Obeys, "", "virtual_router_id priority"),
    r(INSTANCE, Int(2, 3), Obeys, "", "version"),
    r(INSTANCE, Secs(0.01, 255.0), Obeys, "", "advert_int"),
    r(INSTANCE, Body(AUTH), Obeys, "", "authentication"),
    r(AUTH, Text, Obeys, "", "auth_type"),
    r(AUTH, Text, Obeys, "", "auth_pass"),
    // The trailer of 2.4.0 and 2.4.1 is another one.
    r(INSTANCE, Body(HMAC), Obeys, "2.4.2", "auth_hmac"),
    r(HMAC, Words(2, 2), Obeys, "2.4.2", "key"),
    r(HMAC, Int(1, 255), Obeys, "2.4.2", "active_key"),
    r(HMAC, Text, Obeys, "2.4.2", "anti_replay mode"),
    r(HMAC, Int(1, 300), Obeys, "2.4.2", "time_window"),
    r(INSTANCE, Lines, Obeys, "", "virtual_ipaddress virtual_ipaddress_excluded"),
    r(INSTANCE, Bool, Obeys, "2.2.8", "no_virtual_ipaddress"),
    r(INSTANCE, Lines, Lacks, "", "virtual_routes virtual_rules"),
    r(INSTANCE, Lines, Obeys, "", "unicast_peer"),
    r(INSTANCE, Addr, Obeys, "", "mcast_src_ip unicast_src_ip"),
    r(INSTANCE, Addr, Obeys, "2.2.0", "mcast_dst_ip"),
    r(INSTANCE, Int(0, 255), Obeys, "2.2.3", "unicast_ttl"),
    r(INSTANCE, Bool, Obeys, "", "lower_prio_no_advert higher_prio_send_advert skip_check_adv_addr strict_mode"),
    r(INSTANCE, Flag, Reads, "", "no_accept"),
    // Without the written source there is nothing to send from: FAULT whether it is written or not.
    r(INSTANCE, Flag, Obeys, "", "track_src_ip"),
    r(INSTANCE, Bool, Obeys, "2.2.8", "v3_checksum_as_v2"),
    r(INSTANCE, Flag, Obeys, "", "nopreempt preempt check_unicast_src accept dont_track_primary native_ipv6"),
    r(INSTANCE, Secs(0.0, 1000.0), Obeys, "", "preempt_delay"),
    r(INSTANCE, Secs(0.0, DAY), Obeys, "", "garp_master_delay garp_lower_prio_delay garp_master_refresh"),
    r(INSTANCE, Int(0, 1000), Obeys, "", "garp_master_repeat garp_lower_prio_repeat garp_master_refresh_repeat"),
    r(INSTANCE, Int(1, 100), Obeys, "2.2.3", "down_timer_adverts"),
    r(INSTANCE, Command, Obeys, "", "notify_master_rx_lower_pri"),
    r(INSTANCE, Words(0, 1), Ignores, "2.0.0", "old_unicast_checksum"),
    r(INSTANCE, Any, Lacks, "", "use_vmac use_vmac_addr vmac_xmit_base use_ipvlan vrf"),
    r(INSTANCE, Any, Lacks, "2.2.3", "unicast_fault_no_peer promote_secondaries"),
    r(INSTANCE, Any, Ignores, "", "debug kernel_rx_buf_size linkbeat_use_polling lvs_sync_daemon_interface garp_extra_if vmac_garp_intvl advert_lease timer_expired_backup dscp"),
];

/// The rows of every keyword. A file may have a million lines, and each asks.
static ROWS: LazyLock<HashMap<&'static str, Vec<&'static Row>>> = LazyLock::new(|| {
    let mut rows: HashMap<&'static str, Vec<&'static Row>> = HashMap::new();
    for row in TABLE {
        for name in row.names.split(' ') {
            rows.entry(name).or_default().push(row);
        }
    }
    rows
});

fn rows(name: &str) -> &'static [&'static Row] {
    ROWS.get(name).map_or(&[], Vec::as_slice)
}

/// The row of a keyword at a place.
pub fn lookup(place: In, name: &str) -> Option<&'static Row> {
    rows(name).iter().find(|row| row.place & place != 0).copied()
}

/// The places where a keyword may stand, if it exists at all.
pub fn places(name: &str) -> In {
    rows(name).iter().fold(0, |all, row| all | row.place)
}

/// The keyword at a place that is written most alike, for "did you mean".
pub fn similar(place: In, name: &str) -> Option<&'static str> {
    // No keyword is longer.
    let name: String = name.chars().take(64).collect();
    let names = TABLE
        .iter()
        .filter(|row| row.place & place != 0)
        .flat_map(|row| row.names.split(' '));
    let length = name.chars().count();
    names
        // A distance is never less than the difference of the lengths, and takes much longer to compute.
        .filter(|n| n.len().abs_diff(length) <= n.len() / 4)
        .map(|n| (strsim::osa_distance(n, &name), n))
        .filter(|(d, n)| *d <= n.len() / 4)
        .min()
        .map(|(_, n)| n)
}

/// Name of a place, for messages.
pub fn place_name(place: In) -> &'static str {
    match place.trailing_zeros() {
        0 => "the file itself",
        1 => "global_defs",
        2 => "vrrp_script",
        3 => "vrrp_track_process",
        4 => "track_file",
        5 => "vrrp_sync_group",
        6 => "garp_group",
        7 => "vrrp_instance",
        8 => "authentication",
        9 => "track_group",
        _ => "auth_hmac",
    }
}
