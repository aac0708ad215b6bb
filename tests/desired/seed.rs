//! The seed's own two files.

use super::*;

/// Every statement of a configuration with the blocks it stands in, sorted: order means nothing here.
fn statements(text: &str) -> Vec<String> {
    fn walk(prefix: &str, blocks: &[keepalived::Block], out: &mut Vec<String>) {
        for block in blocks {
            let line = format!("{prefix}{}", block.words.join(" "));
            if block.children.is_empty() {
                out.push(line);
            } else {
                walk(&format!("{line} / "), &block.children, out);
            }
        }
    }
    let (blocks, found) = keepalived::blocks(text, &options());
    assert!(
        found.iter().all(|d| d.severity != keepalived::Severity::Error),
        "{found:?}"
    );
    let mut out = Vec::new();
    walk("", &blocks, &mut out);
    out.sort();
    out
}

/// The inventory that says what the seed's two files say.
pub(super) fn seed_inventory(global_defs: &str) -> Inventory {
    let text = format!(
        r#"
name: seed
hosts:
  - {{name: nginx-master, network: {{interface: enp0s3, address: 192.168.0.201/24, gateway: 192.168.0.1}}}}
  - {{name: nginx-backup, network: {{interface: enp0s3, address: 192.168.0.202/24, gateway: 192.168.0.1}}}}
vrrp:
  engine: keepalived
  global_defs:
    router_id: {{nginx-master: nginx_master, nginx-backup: nginx_backup}}
    vrrp_garp_interval: 0
    vrrp_gna_interval: 0
{global_defs}
  scripts:
    - {{name: chk_nginx, kind: restart, unit: nginx.service, interval: 2, weight: -5, fall: 3, rise: 2}}
  instances:
    - name: VI_1
      virtual_router_id: 51
      priorities: {{nginx-master: 101, nginx-backup: 100}}
      advert_int: 1
      auth_pass: "1111"
      virtual_ipaddress: [192.168.0.200]
      track_script: [chk_nginx]
"#
    );
    match Inventory::parse(&text, Path::new("seed.yaml")) {
        Ok(inventory) => inventory,
        Err(errors) => panic!("{errors}"),
    }
}

/// What the rendered file has and the seed's has not, and the other way round.
fn differences(seed: &str, rendered: &str) -> (Vec<String>, Vec<String>) {
    let (seed, rendered) = (statements(seed), statements(rendered));
    let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    (only(&rendered, &seed), only(&seed, &rendered))
}

/// Where hapair means to differ from the seed's files, and nowhere else.
const MEANT: [&str; 5] = [
    // A script of root's that others could write is refused, and that has to be asked for.
    "global_defs / enable_script_security",
    "global_defs / script_user root",
    // A peer's stale ARP entry is corrected within a minute.
    "vrrp_instance VI_1 / garp_master_refresh 60",
    // SELinux's policy lets scripts run unconfined only there.
    "vrrp_script chk_nginx / script /usr/libexec/keepalived/chk_ng.sh",
    // Without it the script is killed after its interval of 2 s, in the middle of starting nginx.
    "vrrp_script chk_nginx / timeout 10",
];

#[test]
fn the_seed_files_are_rendered() {
    let inventory = seed_inventory("");
    for (host, file) in [("nginx-master", "master.conf"), ("nginx-backup", "backup.conf")] {
        let seed = std::fs::read_to_string(golden().join("seed").join(file)).expect("the seed's file");
        let rendered = conf(&state(&inventory, host, &fresh(&inventory, host, 7)));
        let (more, less) = differences(&seed, &rendered);
        assert_eq!(more, MEANT, "{file}");
        assert_eq!(
            less,
            ["vrrp_script chk_nginx / script /etc/keepalived/check_ng.sh"],
            "{file}"
        );
    }
}

#[test]
fn the_seed_files_with_their_commented_lines_are_rendered() {
    let inventory = seed_inventory(
        "    notification_email: [acassen@firewall.loc, failover@firewall.loc, sysadmin@firewall.loc]
    notification_email_from: Alexandre.Cassen@firewall.loc
    smtp_server: 192.168.200.1
    smtp_connect_timeout: 30
    vrrp_skip_check_adv_addr: true",
    );
    for (host, file) in [("nginx-master", "master.conf"), ("nginx-backup", "backup.conf")] {
        let seed = std::fs::read_to_string(golden().join("seed").join(file)).expect("the seed's file");
        // In global_defs every commented line is one to enable, but vrrp_strict: it makes the VIP unreachable.
        let (head, tail) = seed.split_once("\n}\n").expect("global_defs ends");
        let head: String = head
            .lines()
            .filter(|line| !line.contains("vrrp_strict"))
            .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
            .collect();
        let rendered = conf(&state(&inventory, host, &fresh(&inventory, host, 7)));
        let (more, less) = differences(&format!("{head}}}\n{tail}"), &rendered);
        // The seed's text promises mail at a switch; keepalived sends it only where the instance says so.
        let mut meant = MEANT.to_vec();
        meant.insert(3, "vrrp_instance VI_1 / smtp_alert");
        assert_eq!(more, meant, "{file}");
        assert_eq!(
            less,
            ["vrrp_script chk_nginx / script /etc/keepalived/check_ng.sh"],
            "{file}"
        );
    }
}
