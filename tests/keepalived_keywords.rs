//! The language table knows every keyword that keepalived's own parser has, at every place where it has it.
//!
//! The names are those that `global_parser.c`, `vrrp_parser.c` and `track_file.c` of keepalived install (2.2.8 with every
//! option built in, deprecated spellings included), and what 2.3 and 2.4 added.

use hapair::keepalived::table::{self, Does};
use hapair::keepalived::{Options, Severity, lint};

const INVENTORY: &[(table::In, &str)] = &[
    (
        table::ROOT,
        "track_group static_ipaddress static_routes static_rules vrrp_sync_group garp_group linkbeat_interfaces vrrp_instance \
         vrrp_script vrrp_track_process track_file vrrp_track_file interface_up_down_delays net_namespace net_namespace_ipvs \
         namespace_with_ipsets use_pid_dir linkbeat_use_polling instance child_wait_time global_defs virtual_server \
         virtual_server_group SSL bfd_instance",
    ),
    (table::TRACK, "group"),
    (
        table::SYNC,
        "group track_interface track_script track_file track_process track_bfd notify_backup notify_master notify_fault \
         notify_stop notify smtp_alert global_tracking sync_group_tracking_weight notify_priority_changes",
    ),
    (table::GARP, "garp_interval gna_interval interface interfaces"),
    (
        table::INSTANCE,
        "use_vmac use_vmac_addr vmac_xmit_base use_ipvlan unicast_peer unicast_fault_no_peer check_unicast_src \
         old_unicast_checksum native_ipv6 state interface vrf dont_track_primary track_interface track_script track_file \
         track_process track_bfd mcast_src_ip unicast_src_ip mcast_dst_ip track_src_ip virtual_router_id unicast_ttl version \
         priority advert_int virtual_ipaddress virtual_ipaddress_excluded no_virtual_ipaddress promote_secondaries \
         linkbeat_use_polling v3_checksum_as_v2 virtual_routes virtual_rules accept no_accept skip_check_adv_addr strict_mode \
         preempt nopreempt preempt_delay debug notify_backup notify_master notify_fault notify_stop notify_deleted notify \
         notify_master_rx_lower_pri smtp_alert notify_priority_changes lvs_sync_daemon_interface garp_master_delay \
         garp_master_refresh garp_master_repeat garp_master_refresh_repeat garp_lower_prio_delay garp_lower_prio_repeat \
         down_timer_adverts timer_expired_backup garp_extra_if vmac_garp_intvl lower_prio_no_advert higher_prio_send_advert \
         kernel_rx_buf_size authentication auth_hmac",
    ),
    (table::AUTH, "auth_type auth_pass"),
    (table::HMAC, "key active_key anti_replay mode time_window"),
    (table::SCRIPT, "script interval timeout weight rise fall user init_fail"),
    (
        table::PROCESS,
        "process param_match weight quorum quorum_max delay terminate_delay fork_delay full_command",
    ),
    (table::FILE, "file weight init_file"),
    (
        table::GLOBAL,
        "process_names process_name vrrp_process_name checker_process_name lvs_process_name bfd_process_name router_id \
         notification_email_from smtp_server smtp_helo_name smtp_connect_timeout notification_email smtp_alert startup_script \
         startup_script_timeout shutdown_script shutdown_script_timeout max_auto_priority min_auto_priority_delay \
         smtp_alert_vrrp smtp_alert_checker checker_log_all_failures dynamic_interfaces no_email_faults default_interface \
         disable_local_igmp lvs_timeouts lvs_flush lvs_flush_on_stop lvs_flush_onstop lvs_sync_daemon vrrp_mcast_group4 \
         vrrp_mcast_group6 vrrp_garp_master_delay vrrp_garp_master_repeat vrrp_garp_master_refresh \
         vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_garp_interval \
         vrrp_gna_interval vrrp_min_garp vrrp_garp_extra_if vrrp_vmac_garp_intvl vrrp_lower_prio_no_advert \
         vrrp_higher_prio_send_advert vrrp_version vrrp_iptables vrrp_ipsets nftables nftables_priority nftables_ifindex \
         nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark nftables_counters vrrp_check_unicast_src \
         vrrp_skip_check_adv_addr vrrp_strict vrrp_priority vrrp_no_swap vrrp_rt_priority vrrp_cpu_affinity vrrp_rlimit_rttime \
         vrrp_rlimit_rtime notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script \
         vrrp_notify_priority_changes lvs_notify_fifo lvs_notify_fifo_script checker_priority checker_no_swap \
         checker_rt_priority checker_cpu_affinity checker_rlimit_rttime checker_rlimit_rtime bfd_priority bfd_no_swap \
         bfd_rt_priority bfd_cpu_affinity bfd_rlimit_rttime bfd_rlimit_rtime snmp_socket enable_traps enable_snmp_vrrp \
         enable_snmp_keepalived enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 enable_snmp_checker enable_dbus \
         dbus_service_name script_user enable_script_security vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force \
         vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs \
         process_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs \
         lvs_netlink_monitor_rcv_bufs_force rs_init_notifies no_checker_emails vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier \
         vrrp_startup_delay vrrp_delay_after_boot log_unknown_vrids vmac_prefix vmac_addr_prefix umask random_seed \
         reload_check_config reload_time_file reload_repeat reload_file include_check tmp_config_directory data_use_instance \
         vrrp_down_timer_adverts fifo_write_vrrp_states_on_reload vrrp_owner_ignore_adverts json_version",
    ),
];

#[test]
fn every_keyword_of_keepalived_is_in_the_table() {
    let mut missing = Vec::new();
    for (place, names) in INVENTORY {
        for name in names.split_whitespace() {
            if table::lookup(*place, name).is_none() {
                missing.push(format!("{name} in {}", table::place_name(*place)));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What keepalived has somewhere else, or nowhere, must not be obeyed: the other host may run keepalived.
#[test]
fn nothing_is_obeyed_that_keepalived_does_not_know_there() {
    let mut invented = Vec::new();
    for row in table::TABLE.iter().filter(|row| row.does == Does::Obeys) {
        for name in row.names.split(' ') {
            for bit in 0..11 {
                let place: table::In = 1 << bit;
                let known = INVENTORY
                    .iter()
                    .any(|(p, names)| *p == place && names.split_whitespace().any(|n| n == name));
                if row.place & place != 0 && !known {
                    invented.push(format!("{name} in {}", table::place_name(place)));
                }
            }
        }
    }
    assert!(invented.is_empty(), "{invented:#?}");
}

#[test]
fn unknown_words_are_warned_of_with_their_place_and_a_guess() {
    let text = "vrrp_instance V {\n  interface eth0\n  virtual_router_id 51\n    virtual_ipadress {\n    10.0.0.9\n  }\n\
                \x20 vrrp_version 3\n  no_virtual_ipaddress\n  frobnicate 1\n}\nvrrp_instence W {\n}\n";
    let (_, found) = lint(text, &Options::default());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "keepalived.conf:4:5: warning: unknown keyword `virtual_ipadress` in vrrp_instance is ignored\n  hint: did you mean \
             `virtual_ipaddress`?",
            "keepalived.conf:7:3: warning: `vrrp_version` does not belong in vrrp_instance and is ignored\n  hint: it belongs in \
             global_defs",
            "keepalived.conf:9:3: warning: unknown keyword `frobnicate` in vrrp_instance is ignored",
            "keepalived.conf:11:1: warning: unknown keyword `vrrp_instence` in the file itself is ignored\n  hint: did you mean \
             `vrrp_instance`?",
        ]
    );
}

#[test]
fn all_errors_are_found_at_once() {
    let text = "vrrp_instance V {\n  state NEITHER\n  virtual_router_id 256\n  advert_int -1\n  authentication {\n    auth_type PASS\n  \
                }\n  virtual_ipaddress {\n    10.0.0\n  }\n  track_script {\n    none\n  }\n";
    let (_, found) = lint(text, &Options::default());
    let errors: Vec<(u32, u32)> = found
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| (d.place.line, d.place.column))
        .collect();
    // No interface at the head; then the values, each at its own word.
    assert_eq!(errors, [(1, 1), (3, 21), (4, 14), (9, 5)]);
    let warnings: Vec<(u32, u32)> = found
        .iter()
        .filter(|d| d.severity == Severity::Warning)
        .map(|d| (d.place.line, d.place.column))
        .collect();
    // Never closed; a state that counts as BACKUP, no password, a check that is defined nowhere.
    assert_eq!(warnings, [(1, 1), (2, 9), (5, 3), (12, 5)]);
}

/// Parsing ends soon, whatever the text expands to: each of these would run for hours if it cost what it says.
#[test]
fn expansion_has_an_end() {
    let references = format!("$A={}\nx {}\n", "y ".repeat(100_000), "${A}".repeat(60_000));
    let texts = [
        // Rounds that leave nothing behind are not free.
        "~SEQ(A, 1, 1000000000) ~SEQ(B, 1, 1000000000)\n".to_owned(),
        "~SEQ(A, 1, 1000000000) x ${A}\n".to_owned(),
        // Definitions that are copied, references that never end.
        references,
        format!("x {}\n", "${".repeat(120_000)),
        format!("x {}}}\n", "${".repeat(120_000)),
        // Everything there is to say about many of a kind.
        "~SEQ(A, 1, 100000) vrrp_script s${A} { }\n".to_owned(),
        "~SEQ(A, 1, 100000) unknown${A}\n".to_owned(),
        "vrrp_instance V {\n virtual_ipaddress {\n ~SEQ(A, 1, 250) ~SEQ(B, 1, 250) 10.0.${A}.${B}\n }\n}\n".to_owned(),
    ];
    for text in texts {
        lint(&text, &Options::default());
    }
    let (_, found) = lint("~SEQ(A, 1, 1000000000) ~SEQ(B, 1, 1000000000)\n", &Options::default());
    let endless = found.iter().filter(|d| {
        d.message
            .starts_with("the configuration is longer than 8000000 characters")
    });
    assert_eq!(endless.count(), 1, "{found:?}");
}
