//! A configuration means what keepalived 2.2.7 makes of it.

use std::net::IpAddr;
use std::time::Duration;

use crate::keepalived::*;

/// What is found in a text, without places.
fn found(text: &str) -> Vec<String> {
    let (_, found) = lint(text, &Options::default());
    found.iter().map(|d| format!("{}: {}", d.severity, d.message)).collect()
}

/// An instance of these lines with a VIP, and its only finding if there is one.
fn instance(global: &str, lines: &str) -> (Instance, Vec<String>) {
    let text = format!(
        "global_defs {{\n{global}\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 1\n{lines}\n \
         virtual_ipaddress {{\n 10.0.0.1/24\n }}\n}}\n"
    );
    let (config, _) = lint(&text, &Options::default());
    let mut findings = found(&text);
    findings.retain(|f| !f.contains("`vrrp_strict`: "));
    ((*config.instances[0]).clone(), findings)
}

const PASS: &str = " authentication {\n auth_type PASS\n auth_pass 1111\n }\n";

#[test]
fn strict_mode_is_obeyed_and_said() {
    let lines = format!(
        "{PASS} state MASTER\n priority 150\n preempt_delay 5\n down_timer_adverts 5\n lower_prio_no_advert off\n \
         higher_prio_send_advert\n garp_lower_prio_repeat 3\n garp_lower_prio_delay 4\n"
    );
    for (global, line) in [("vrrp_strict", ""), ("", " strict_mode on\n")] {
        let (i, found) = instance(global, &format!("{line}{lines}"));
        assert!(i.strict);
        assert_eq!(
            (i.auth, i.state, i.preempt_delay),
            (None, Some(InitState::Backup), Duration::ZERO)
        );
        assert_eq!((i.down_timer_adverts, i.lower_prio_no_advert), (3, true));
        assert_eq!(i.higher_prio_send_advert, Some(false));
        assert_eq!(
            (i.garp.lower_prio_repeat, i.garp.lower_prio_delay),
            (Some(0), Some(Duration::ZERO))
        );
        for what in [
            "the password of `V` is not used",
            "`V` starts as BACKUP, as its priority is 150",
            "`preempt_delay` of `V` has no effect with strict mode",
            "waits for three adverts",
            "`lower_prio_no_advert` of `V` has no effect",
            "`higher_prio_send_advert` of `V` has no effect",
            "`garp_lower_prio_repeat` of `V` has no effect",
            "`garp_lower_prio_delay` of `V` has no effect",
        ] {
            assert_eq!(
                found.iter().filter(|f| f.contains(what)).count(),
                1,
                "{what}: {found:#?}"
            );
        }
        assert!(found.iter().all(|f| f.starts_with("warning: ")), "{found:#?}");
    }
    let (i, found) = instance("vrrp_strict", &format!("{PASS} strict_mode off\n"));
    assert_eq!(
        (i.strict, i.auth.is_some(), found.len()),
        (false, true, 0),
        "{found:#?}"
    );
    let (i, _) = instance("", PASS);
    assert_eq!((i.lower_prio_no_advert, i.higher_prio_send_advert), (false, None));
}

#[test]
fn only_a_type_in_capitals_and_a_password_are_authentication() {
    for (auth, wanted, says) in [
        ("auth_type PASS\n auth_pass 1111", true, ""),
        ("auth_type pass\n auth_pass 1111", false, "`pass` is ignored"),
        ("auth_type MD5\n auth_pass 1111", false, "`MD5` is ignored"),
        ("auth_pass 1111", false, "no `auth_type`"),
        ("auth_type PASS", false, "no `auth_pass`"),
        ("auth_type AH", false, "no `auth_pass`"),
    ] {
        let (i, found) = instance("", &format!(" authentication {{\n {auth}\n }}\n"));
        assert_eq!(i.auth.is_some(), wanted, "{auth}");
        assert!(
            says.is_empty() == found.is_empty() && found.iter().all(|f| f.starts_with("warning: ")),
            "{found:?}"
        );
        assert!(says.is_empty() || found[0].contains(says), "{found:?}");
    }
    let (i, found) = instance("", &format!(" version 3\n{PASS}"));
    assert_eq!((i.auth, found.len()), (None, 1), "version 3 has none: {found:?}");
}

#[test]
fn priority_and_state_follow_from_each_other() {
    let (master, backup) = (Some(InitState::Master), Some(InitState::Backup));
    for (lines, state, priority, says) in [
        ("", backup, 100, ""),
        (" state MASTER\n", master, 255, "it is 255"),
        (" priority 255\n", master, 255, ""),
        (" state MASTER\n priority 101\n", master, 101, ""),
        (" state SLAVE\n", backup, 100, "`SLAVE` counts as BACKUP"),
        (" state master\n priority 7\n", backup, 7, "`master` counts as BACKUP"),
        (
            " state MASTER\n state BACKUP\n priority 7\n",
            master,
            7,
            "this line is ignored",
        ),
    ] {
        let (i, found) = instance("", lines);
        assert_eq!((i.state, i.priority), (state, priority), "{lines}");
        assert!(says.is_empty() == found.is_empty(), "{lines}: {found:?}");
        assert!(says.is_empty() || found[0].contains(says), "{found:?}");
    }
}

#[test]
fn a_flag_has_no_value_that_switches_it_off() {
    for (lines, on) in [
        (" nopreempt\n", true),
        (" nopreempt off\n", true),
        (" nopreempt 1\n", true),
        (" nopreempt\n preempt\n", false),
        (" state MASTER\n priority 9\n nopreempt\n", false),
        (" priority 255\n nopreempt\n", false),
    ] {
        assert_eq!(instance("", lines).0.nopreempt, on, "{lines}");
    }
    let (_, found) = instance("", " nopreempt off\n");
    assert_eq!(
        found,
        ["warning: `nopreempt` takes no value: with `off` it is on too, as in keepalived"]
    );
    assert!(instance("", " skip_check_adv_addr off\n").0.skip_check_adv_addr);
    assert!(instance("vrrp_strict off", "").0.strict);
}

#[test]
fn peers_and_sources_are_those_that_keepalived_keeps() {
    let ips = |i: &Instance| i.unicast_peers.iter().map(|p| p.ip.to_string()).collect::<Vec<_>>();
    let (i, found) = instance("", " unicast_peer {\n 10.0.0.9/24\n fd00::9\n }\n");
    assert_eq!(
        (ips(&i), i.unicast, found.len()),
        (vec!["10.0.0.9".to_owned()], true, 2),
        "{found:?}"
    );
    let (i, found) = instance("", " unicast_peer {\n }\n");
    assert_eq!((i.unicast, found.len()), (false, 1), "{found:?}");
    assert!(found[0].contains("its adverts go by multicast"), "{found:?}");
    let (i, found) = instance("", " unicast_src_ip 10.0.0.9\n unicast_peer {\n 10.0.0.9\n }\n");
    assert!(
        i.unicast && found[0].starts_with("warning: `V` has its own address"),
        "{found:?}"
    );
    // The first line that shows a family decides.
    let (i, found) = instance("", " mcast_src_ip fd00::7\n");
    assert!(i.family == Family::V6 && i.version == 3 && i.vips.is_empty(), "{i:?}");
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("warning: 10.0.0.1 is not of the family")),
        "{found:?}"
    );
}

#[test]
fn vips_are_those_that_keepalived_keeps() {
    let vips = |lines: &str, more: &str| {
        let text = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n{more} virtual_ipaddress {{\n{lines} }}\n}}\n"
        );
        let (config, _) = lint(&text, &Options::default());
        let i = &config.instances[0];
        let ips: Vec<IpAddr> = i.vips.iter().map(|v| v.ip).collect();
        (ips, i.vips_excluded.len(), found(&text))
    };
    let one: IpAddr = [10, 0, 0, 1].into();
    let (ips, _, found) = vips("10.0.0.1\n 10.0.0.1/24\n", "");
    assert_eq!((ips, found.len()), (vec![one, one], 1), "twice in an advert");
    assert!(found[0].starts_with("warning: 10.0.0.1 is written twice"), "{found:?}");
    let (ips, _, found) = vips("10.0.0.1\n fd00::1\n", "");
    assert_eq!((ips, found.len()), (vec![one], 1));
    assert!(
        found[0].starts_with("warning: fd00::1 is not of the family"),
        "{found:?}"
    );
    let (ips, _, found) = vips("", "");
    assert!(
        ips.is_empty() && found[0].starts_with("warning: ") && found.len() == 1,
        "{found:?}"
    );
    for more in [" version 3\n", " native_ipv6\n", " strict_mode\n"] {
        let (_, _, found) = vips("", more);
        let errors: Vec<&String> = found.iter().filter(|f| f.starts_with("error: ")).collect();
        assert!(
            errors.len() == 1 && errors[0].contains("has no virtual_ipaddress"),
            "{more} {found:?}"
        );
    }
    let many: String = (0..=255).map(|n| format!("10.0.1.{n}\n")).collect();
    let (ips, excluded, found) = vips(&many, "");
    assert_eq!((ips.len(), excluded, found.len()), (255, 1, 1), "{found:?}");
}

#[test]
fn a_bad_vip_or_router_id_is_one_message() {
    for (lines, says) in [
        (
            "virtual_router_id 256\n virtual_ipaddress {\n 10.0.0.1\n }",
            "`virtual_router_id` is a whole number",
        ),
        (
            "virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.300\n }",
            "`10.0.0.300` is not an address",
        ),
    ] {
        let found = found(&format!("vrrp_instance V {{\n interface eth0\n {lines}\n}}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("error: ") && found[0].contains(says), "{found:?}");
    }
}

#[test]
fn what_cannot_be_read_beside_others_is_left_out() {
    let text = |vips: &str, more: &str, end: &str| {
        format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n{more} virtual_ipaddress {{\n{vips} }}\n{end}"
        )
    };
    let one = "10.0.0.1\n 10.0.0.999\n";
    let (config, _) = lint(&text(one, "", "}\n"), &Options::default());
    assert_eq!(config.instances[0].vips.len(), 1);
    assert_eq!(
        found(&text(one, "", "}\n")),
        ["warning: `10.0.0.999` is not an address with an optional /prefix: it is left out, as in keepalived"]
    );
    let bad = text("10.0.0.1\n", " state MASTER\n priority 256\n", "}\n");
    let (config, _) = lint(&bad, &Options::default());
    assert_eq!(config.instances[0].priority, 100);
    let says = found(&bad);
    assert!(
        says.len() == 1 && says[0].starts_with("warning: ") && says[0].contains(": 100 is used"),
        "{says:?}"
    );
    // The last brace, and no other.
    let says = found(&text("10.0.0.1\n", "", ""));
    assert!(
        says.len() == 1 && says[0].starts_with("warning: ") && says[0].contains("ends with the file"),
        "{says:?}"
    );
    let says = found(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n priority 9\n}\n",
    );
    assert!(
        says.iter().any(|f| f.starts_with("error: `priority` among addresses")),
        "{says:?}"
    );
}

#[test]
fn the_interval_is_what_can_be_sent() {
    let ms = |lines: &str| {
        let (i, found) = instance("", lines);
        (i.advert_int.as_millis(), found.len())
    };
    assert_eq!(ms(" advert_int 2\n"), (2000, 0));
    assert_eq!(ms(" advert_int 0.3\n"), (1000, 1));
    assert_eq!(ms(" advert_int 1.5\n"), (2000, 1));
    assert_eq!(ms(" version 3\n advert_int 0.3\n"), (300, 0));
    assert_eq!(ms(" version 3\n advert_int 0.015\n"), (20, 1));
    assert_eq!(ms(" version 3\n advert_int 41\n"), (40_950, 1));
}

#[test]
fn version_is_the_first_that_fits_the_addresses() {
    let text = "global_defs {\n vrrp_version 2\n}\nvrrp_instance V {\n interface eth0\n virtual_router_id 1\n \
                virtual_ipaddress {\n fe80::1\n }\n version 2\n}\n";
    let (config, _) = lint(text, &Options::default());
    assert_eq!(config.instances[0].version, 3);
    assert_eq!(
        found(text),
        ["warning: the addresses above are IPv6, which is version 3: this line is ignored, as in keepalived"]
    );
    assert_eq!(instance("", " version 3\n version 2\n").0.version, 3);
}

const OTHERS: &str = "vrrp_script a {\n script /bin/a\n weight 5\n}\nvrrp_script a {\n script /bin/b\n}\nvrrp_script empty {\n}\n\
    vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n track_script {\n a\n \
    a weight 9\n empty\n later\n }\n notify_master /bin/x\n notify_master /bin/y\n}\n\
    vrrp_instance V {\n interface eth1\n virtual_router_id 9\n}\nvrrp_script later {\n script /bin/l\n}\n\
    vrrp_sync_group G {\n group {\n V\n nobody\n }\n}\nvrrp_sync_group H {\n group {\n V\n }\n}\nvrrp_sync_group E {\n}\n";

#[test]
fn of_two_the_first_counts_and_what_is_not_there_is_left_out() {
    let (config, _) = lint(OTHERS, &Options::default());
    let found = found(OTHERS);
    assert!(found.iter().all(|f| !f.starts_with("error: ")), "{found:#?}");
    let names: Vec<&str> = config.scripts.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        (names, config.scripts[0].command.argv[0].as_str()),
        (vec!["a", "later"], "/bin/a")
    );
    let i = &config.instances[0];
    assert_eq!(
        (config.instances.len(), i.interface.as_str(), i.tracks.scripts.len()),
        (1, "eth0", 1)
    );
    assert_eq!(i.tracks.scripts[0].weight, None);
    assert_eq!(i.notify.master.as_ref().unwrap().argv, ["/bin/x"]);
    assert_eq!((config.sync_groups.len(), config.sync_groups[0].members.len()), (1, 1));
    for what in [
        "vrrp_script `a` exists already, at line 1",
        "vrrp_script `empty` has no `script`",
        "`a` is tracked already",
        "there is no vrrp_script `empty` above",
        "there is no vrrp_script `later` above",
        "`notify_master` is written already",
        "vrrp_instance `V` exists already",
        "there is no vrrp_instance `nobody`",
        "`V` is a member of `G` already",
        "vrrp_sync_group `H` has no members left",
        "vrrp_sync_group `E` has no members",
    ] {
        assert_eq!(
            found.iter().filter(|f| f.contains(what)).count(),
            1,
            "{what}: {found:#?}"
        );
    }
}

#[test]
fn many_braces_that_do_not_match_are_read_in_time() {
    // A file of the wrong kind, and a block of load balancing that is known but far away.
    for first in ["", "virtual_server 10.0.0.1 80 {\n}\n"] {
        let begin = std::time::Instant::now();
        let found = found(&format!("{first}{}", "a\n}\n".repeat(20_000)));
        // Each with its own message, and none that looks through all that stands before it.
        assert!(found.iter().filter(|f| f.contains("`}` without a `{`")).count() == 20_000);
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    }
}

#[test]
fn braces_of_load_balancing_are_not_ours() {
    let ours = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n";
    for lvs in [
        "virtual_server 10.0.0.1 80 {\n real_server 1.1.1.1 80 {\n }\n}\n}\n",
        "virtual_server 10.0.0.1 80 {\n real_server 1.1.1.1 80 {\n }\n}\n real_server 2.2.2.2 80 {\n }\n}\n}\n",
        "virtual_server 10.0.0.1 80 {\n real_server 1.1.1.1 80 {\n }\n",
        "virtual_server 10.0.0.1 80 {\n {\n }\n}\n",
    ] {
        let found = found(&format!("{ours}{lvs}"));
        assert!(
            found.iter().all(|f| f.starts_with("warning: ")) && found.len() > 1,
            "{lvs} {found:?}"
        );
    }
    // Those of VRRP are.
    let found = found(&format!("{ours}}}\n"));
    assert!(found[0].starts_with("error: `}` without a `{`"), "{found:?}");
    // What an open block swallows is not there, as in keepalived.
    let text = format!("virtual_server 10.0.0.1 80 {{\n{ours}");
    let (config, found) = lint(&text, &Options::default());
    assert!(config.instances.is_empty());
    assert!(
        found
            .iter()
            .any(|f| f.message.contains("everything after it is skipped")),
        "{found:?}"
    );
}

#[test]
fn every_word_without_effect_is_named() {
    for row in table::TABLE.iter().filter(|r| r.does == table::Does::Ignores) {
        for name in row.names.split(' ') {
            let (open, close) = match row.place & table::ROOT {
                0 if row.place & table::GLOBAL != 0 => ("global_defs {\n", "\n}\n"),
                0 if row.place & table::INSTANCE != 0 => ("vrrp_instance V {\n", "\n}\n"),
                0 => ("vrrp_sync_group G {\n", "\n}\n"),
                _ => ("", "\n"),
            };
            let wanted = format!("warning: `{name}` has no effect in the agent");
            let found = found(&format!("{open}{name}{close}"));
            assert!(found.contains(&wanted), "{name}: {found:?}");
        }
    }
    // Words after an address, and what a shell would read.
    let (_, found) = instance(
        "",
        " notify_backup \"/bin/logger b; /bin/true\"\n notify \"/bin/e > /run/x\"\n",
    );
    assert_eq!(
        found.iter().filter(|f| f.contains("shell characters")).count(),
        2,
        "{found:?}"
    );
}

#[test]
fn a_limit_is_told_as_one() {
    let long = "# a comment of some length\nvrrp_x 1234567890\n".repeat(300_000);
    let (_, found) = blocks(&long, &Options::default());
    let errors: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("the configuration is longer than 8000000 characters"),
        "{errors:?}"
    );
    assert!(!errors[0].contains("itself"), "{errors:?}");
    let (_, found) = blocks("$A=${A}x\n${A}\n", &Options::default());
    assert!(
        found[0].message.contains("definitions are nested deeper than 48"),
        "{found:?}"
    );
    assert!(
        found[0].hint.as_deref() == Some("does a definition contain itself?"),
        "{found:?}"
    );
}
