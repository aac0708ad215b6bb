//! The inventory's options, each seen on a host.

use crate::support::*;

/// Applies twice: done, then nothing to do.
#[track_caller]
fn converges(twins: &Twins) {
    twins.apply().expect(0);
    let again = twins.apply().expect(0);
    for host in HOSTS {
        assert_eq!(again.summary()["changed"][host], 0, "{}", again.stdout);
    }
}

#[test]
fn an_address_is_changed_under_our_own_feet() {
    // The hosts start at addresses that their installer gave them.
    let twins = Twins::up(&example_with(&[
        ("    #: address: 192.168.0.101", "    address: 192.168.0.151"),
        (
            "  - name: nginx-backup\n",
            "  - name: nginx-backup\n    address: 192.168.0.152\n",
        ),
    ]));
    assert!(twins.sh(MASTER, "ip -4 -o addr show enp0s3").contains("192.168.0.151"));
    let uuid = twins.sh(MASTER, "grep ^UUID= /etc/sysconfig/network-scripts/ifcfg-enp0s3");
    converges(&twins);
    for (host, address) in [(MASTER, "192.168.0.201/24"), (BACKUP, "192.168.0.202/24")] {
        let addresses = twins.sh(host, "ip -4 -o addr show enp0s3");
        assert!(
            addresses.contains(address) && !addresses.contains("192.168.0.15"),
            "{addresses}"
        );
        twins.sh(host, "ip -4 route show default | grep -q 'via 192.168.0.1 '");
        twins.sh(
            host,
            "! systemctl list-timers --no-pager | grep hapair; ! ls /etc/systemd/system/hapair-boot-guard-* 2>/dev/null",
        );
    }
    assert_eq!(
        twins.sh(MASTER, "grep ^UUID= /etc/sysconfig/network-scripts/ifcfg-enp0s3"),
        uuid
    );
}

#[test]
fn an_interface_that_networkmanager_owns() {
    let twins = Twins::up_with(
        &example_with(&[
            ("    #: address: 192.168.0.101", "    address: 192.168.0.151"),
            (
                "  - name: nginx-backup\n",
                "  - name: nginx-backup\n    address: 192.168.0.152\n",
            ),
        ]),
        &["--nm"],
        Company::Others,
    );
    converges(&twins);
    for (host, address) in [(MASTER, "192.168.0.201/24"), (BACKUP, "192.168.0.202/24")] {
        assert!(twins.sh(host, "ip -4 -o addr show enp0s3").contains(address));
        assert!(
            twins
                .sh(host, "nmcli -t -f DEVICE,STATE device")
                .contains("enp0s3:connected")
        );
    }
}

#[test]
fn a_managed_firewall_lets_in_http_and_the_peer_only() {
    let twins = Twins::up(&example_with(&[("firewalld: disabled", "firewalld: managed")]));
    converges(&twins);
    for (host, peer) in [(MASTER, "192.168.0.202/32"), (BACKUP, "192.168.0.201/32")] {
        twins.sh(host, "systemctl is-active firewalld && systemctl is-enabled firewalld");
        for view in ["", "--permanent"] {
            let rules = twins.sh(host, &format!("firewall-cmd {view} --list-all"));
            assert!(
                rules.lines().any(|l| l.contains("services:") && l.contains("http")),
                "{rules}"
            );
            let vrrp: Vec<&str> = rules
                .lines()
                .filter(|l| l.contains("112") || l.contains("vrrp"))
                .collect();
            assert!(!vrrp.is_empty() && vrrp.iter().all(|l| l.contains(peer)), "{rules}");
        }
    }
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    assert_eq!(status["hosts"][0]["instances"][0]["state"], "MASTER", "{status}");
    assert_eq!(status["hosts"][1]["instances"][0]["state"], "BACKUP", "{status}");
}

#[test]
fn two_crossed_instances_make_both_hosts_active() {
    let second = "
    - name: VI_2
      virtual_router_id: 52
      priorities: {nginx-master: 100, nginx-backup: 101}
      advert_int: 1
      auth_pass: \"2222\"
      virtual_ipaddress: [192.168.0.199/24]
      track_script: [chk_nginx]
";
    let twins = Twins::up(&format!("{}{second}", EXAMPLE.trim_end()));
    converges(&twins);
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    let state = |host: usize, instance: usize| status["hosts"][host]["instances"][instance]["state"].clone();
    assert_eq!(
        [state(0, 0), state(0, 1), state(1, 0), state(1, 1)],
        ["MASTER", "BACKUP", "BACKUP", "MASTER"]
    );
    let drill = twins
        .hapair(&["failover", "--yes", "--output", "json", "--scenario", "vrrp-stop"])
        .expect(0);
    assert!(
        drill.summary()["scenarios"].as_array().is_some_and(|s| !s.is_empty()),
        "{}",
        drill.stdout
    );
}

#[test]
fn packages_from_a_disc_and_the_development_tools() {
    let base = "base: {local_media: {path: /mnt/CentOS7_ISO, copy_from: \"/run/media/root/CentOS 7 x86_64\"}}";
    let twins = Twins::up(&example_with(&[("base: aliyun", base)]));
    converges(&twins);
    for host in HOSTS {
        twins.sh(host, "test -e /mnt/CentOS7_ISO/.discinfo && rpm -q nginx");
        twins.sh(host, "ls /etc/yum.repos.d/*.repo.bak");
        twins.sh(
            host,
            "grep -q file:///mnt/CentOS7_ISO /etc/yum.repos.d/CentOS-Media.repo",
        );
    }
    twins.write(&example_with(&[(
        "development_tools: false",
        "development_tools: true",
    )]));
    converges(&twins);
    HOSTS
        .iter()
        .for_each(|host| drop(twins.sh(host, "rpm -q gcc make rpm-build")));
}

#[test]
fn the_vault_and_the_restart_check() {
    let twins = Twins::up(&example_with(&[
        ("base: aliyun", "base: vault"),
        ("kind: http", "kind: restart"),
        ("      url: \"http://localhost/\"\n", ""),
    ]));
    converges(&twins);
    twins.sh(MASTER, "grep -q vault.centos.org /etc/yum.repos.d/CentOS-Base.repo");
    // The seed's promise: the check starts nginx again.
    twins.sh(MASTER, "systemctl stop nginx");
    wait_until(
        "the check starts nginx again",
        std::time::Duration::from_secs(20),
        || twins.try_sh(MASTER, "systemctl is-active nginx").code == 0,
    );
}

#[test]
fn sudo_with_and_without_a_password() {
    let twins = Twins::up(&example_with(&[(
        "user: root",
        "user: deploy\n  become: {password: s3same}",
    )]));
    converges(&twins);
    drop(twins);
    let twins = Twins::up(&example_with(&[("user: root", "user: deploy\n  become: {}")]));
    twins.hapair(&["plan"]).expect(3);
}
