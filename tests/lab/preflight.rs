//! What else lives on the hosts and on their segment is found before anything is changed.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::foreign_cluster::adverts;
use crate::support::*;

const VIP: &str = "192.168.0.200";

/// `ip ARGS` where the controller is, which to the pair is a stranger.
fn outside(twins: &Twins, args: &[&str]) {
    twins.outside(|| assert!(Command::new("ip").args(args).status().expect("ip runs").success()));
}

/// The findings of `check`, which must end with this code.
#[track_caller]
fn findings(twins: &Twins, code: i32) -> Vec<Value> {
    let run = twins.hapair(&["check", "--output", "json"]).expect(code);
    let summary = run.summary();
    let found: Vec<Value> = run
        .json()
        .into_iter()
        .filter(|line| line["type"] == "finding")
        .collect();
    let blocks = found.iter().filter(|f| f["severity"] == "blocks").count();
    assert_eq!(summary["findings"]["blocks"], blocks, "{summary}");
    found
}

/// What blocks: id, host, cause.
#[track_caller]
fn blocking(twins: &Twins) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = findings(twins, 7);
    let blocks = found.iter().filter(|f| f["severity"] == "blocks");
    blocks
        .map(|f| (text(&f["id"]), text(&f["host"]), text(&f["cause"])))
        .collect()
}

/// `check`, `plan` and `apply` all refuse, with this finding alone, and leave both hosts as they were.
#[track_caller]
fn refused(twins: &Twins, id: &str, hosts: &[&str], cause: &str) {
    let before = HOSTS.map(|host| twins.fingerprint(host));
    let found = blocking(twins);
    let seen: Vec<(&str, &str)> = found.iter().map(|(id, host, _)| (id.as_str(), host.as_str())).collect();
    let wanted: Vec<(&str, &str)> = hosts.iter().map(|host| (id, *host)).collect();
    assert_eq!(seen, wanted, "{found:#?}");
    assert!(found.iter().all(|(_, _, told)| told.contains(cause)), "{found:#?}");
    twins.hapair(&["plan"]).expect(7).says(cause).says("remedy:");
    let accepts = format!("--accept {id}");
    let run = twins.hapair(&["apply", "--yes"]).expect(7).says(cause);
    run.says("neither host was changed").says(&accepts);
    twins.hapair(&["plan", "--accept", id]).expect(3);
    let after = HOSTS.map(|host| twins.fingerprint(host));
    assert!(before == after, "a host was changed");
}

#[test]
fn strangers_on_the_segment_are_named_before_anything_is_changed() {
    let twins = Twins::up(EXAMPLE);
    assert_eq!(findings(&twins, 0), [] as [Value; 0]);

    let label = format!("{VIP}/32");
    outside(&twins, &["addr", "add", &label, "dev", "eth0"]);
    refused(
        &twins,
        "vip-in-use",
        &[""],
        "192.168.0.200 is in use already: 52:54:00:6c:ff:00 answers for it",
    );
    outside(&twins, &["addr", "del", &label, "dev", "eth0"]);

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| twins.outside(|| adverts(&over)));
        let cause = "virtual_router_id 51 of VI_1 is in use by 192.168.0.254, which announces 192.168.0.50";
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            refused(&twins, "vrid-in-use", &[""], cause);
        }));
        over.store(true, Ordering::Relaxed);
        stranger.join().expect("the stranger's adverts went out");
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(findings(&twins, 0), [] as [Value; 0]);
}

#[test]
fn what_is_on_a_host_already_is_named_before_anything_is_changed() {
    let twins = Twins::up(EXAMPLE);
    twins
        .hapair(&["check"])
        .expect(0)
        .says("nothing stands in the way of an apply");
    HOSTS.iter().for_each(|host| twins.mark(host));
    twins.hapair(&["check"]).expect(0);
    HOSTS
        .iter()
        .for_each(|host| assert_eq!(twins.changed_since_mark(host), "", "check changed {host}"));

    // An alias file, put there by hand and active.
    let alias = "/etc/sysconfig/network-scripts/ifcfg-enp0s3:0";
    for host in HOSTS {
        twins.sh(
            host,
            &format!(
                "printf 'DEVICE=enp0s3:0\\nONBOOT=yes\\nBOOTPROTO=static\\nIPADDR={VIP}\\nNETMASK=255.255.255.0\\n' > {alias}
                 ip addr add {VIP}/24 dev enp0s3 label enp0s3:0"
            ),
        );
    }
    refused(&twins, "vip-static", &[BACKUP, MASTER], alias);
    for host in HOSTS {
        twins.sh(host, &format!("rm {alias}; ip addr del {VIP}/24 dev enp0s3"));
    }

    // On an interface that no engine puts it on.
    twins.sh(MASTER, &format!("ip addr add {VIP}/32 dev lo"));
    refused(&twins, "vip-elsewhere", &[MASTER], "192.168.0.200 is on lo");
    twins.sh(MASTER, &format!("ip addr del {VIP}/32 dev lo"));

    // Another web server.
    twins.sh(BACKUP, "systemd-run -q --unit=web --collect python3 -m http.server 80");
    wait_until("the other server listens", Duration::from_secs(20), || {
        twins.try_sh(BACKUP, "ss -Hltn 'sport = :80' | grep -q .").code == 0
    });
    refused(&twins, "port-taken", &[BACKUP], "port 80 is taken by python3");
    twins.sh(BACKUP, "systemctl stop web");

    // Certificates that nobody copied.
    twins.write(&example_with(&[(
        "    # TLS, with the paths",
        "    - {listen: 443, proxy_pass: app, tls: true, certificate: /etc/pki/site.pem, certificate_key: /etc/pki/site.key}\n    # TLS, with the paths",
    )]));
    let found = blocking(&twins);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found.iter().all(|(id, ..)| id == "tls-file-missing"), "{found:#?}");
}

#[test]
fn a_keepalived_outside_of_its_unit_is_found_before_the_agent_starts() {
    let twins = Twins::up(EXAMPLE);
    twins.write_with_engine(EXAMPLE, "keepalived");
    twins.apply().expect(0);
    for host in HOSTS {
        twins.sh(
            host,
            "systemctl stop keepalived && cp /etc/keepalived/keepalived.conf /etc/other.conf
             systemd-run -q --unit=myha --collect -p Type=simple /usr/sbin/keepalived -n -D -f /etc/other.conf",
        );
    }
    twins.write_with_engine(EXAMPLE, "agent");
    refused(
        &twins,
        "vrrp-speaker",
        &[BACKUP, MASTER],
        "myha.service) speaks VRRP on this host",
    );
    for host in HOSTS {
        twins.sh(host, "! systemctl is-active hapair-agent && systemctl stop myha");
    }
    twins.apply().expect(0);
    // Its own engine is none of the findings.
    assert_eq!(findings(&twins, 0), [] as [Value; 0]);
}

#[test]
fn a_packet_filter_that_drops_adverts_is_found_and_two_owners_do_not_stay() {
    let twins = Twins::up(EXAMPLE);
    for host in HOSTS {
        twins.sh(
            host,
            "systemctl -q disable --now firewalld
             iptables -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
             iptables -A INPUT -i lo -j ACCEPT
             iptables -A INPUT -p tcp --dport 22 -j ACCEPT
             iptables -A INPUT -p tcp --dport 80 -j ACCEPT
             iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited",
        );
    }
    refused(
        &twins,
        "vrrp-filtered",
        &[BACKUP, MASTER],
        "the packet filter drops the adverts of 192.168.0.20",
    );

    // Who goes on all the same does not end with two owners.
    let run = twins.hapair(&["apply", "--yes", "--accept", "vrrp-filtered"]).expect(1);
    run.says("so VRRP was stopped on this host").says("protocol 112");
    let owners = HOSTS.map(|host| twins.sh(host, "ip -4 -o addr").contains(&format!(" {VIP}/")));
    assert_eq!(owners, [false, true], "the owner of before has the VIP alone");
    let unit = engine_unit();
    twins.sh(MASTER, &format!("! systemctl is-active {unit}"));
    twins.sh(BACKUP, &format!("systemctl is-active {unit}"));

    HOSTS.iter().for_each(|host| drop(twins.sh(host, "iptables -F INPUT")));
    twins.apply().expect(0);
}

#[test]
fn a_port_of_a_bridge_is_told_to_be_one() {
    let twins = Twins::up(EXAMPLE);
    for host in HOSTS {
        twins.sh(
            host,
            "address=$(ip -o -4 addr show enp0s3 | awk '{print $4}')
             cd /etc/sysconfig/network-scripts
             printf \"DEVICE=br0\\nTYPE=Bridge\\nONBOOT=yes\\nBOOTPROTO=none\\nIPADDR=${address%/*}\\nPREFIX=24\\nGATEWAY=192.168.0.1\\n\" > ifcfg-br0
             printf 'DEVICE=enp0s3\\nTYPE=Ethernet\\nONBOOT=yes\\nBOOTPROTO=none\\nBRIDGE=br0\\n' > ifcfg-enp0s3
             ip link add br0 type bridge && ip addr flush dev enp0s3 && ip link set enp0s3 master br0
             ip link set br0 up && ip addr add $address dev br0 && ip route replace default via 192.168.0.1",
        );
    }
    refused(
        &twins,
        "interface-is-port",
        &[BACKUP, MASTER],
        "enp0s3 is a port of the bridge br0",
    );
    twins.hapair(&["check"]).expect(7).says("`interface: br0`");
}

#[test]
fn an_apply_that_is_repeated_does_not_listen() {
    let twins = Twins::up(EXAMPLE);
    let waits = |run: &Run| {
        run.json()
            .iter()
            .any(|line| line["what"].as_str().is_some_and(|w| w.contains("the segment")))
    };
    assert!(waits(&twins.apply().expect(0)), "everything is new");
    assert!(!waits(&twins.apply().expect(0)), "nothing is new");
    // Another VIP is.
    twins.write(&example_with(&[(
        "[192.168.0.200/24]",
        "[192.168.0.200/24, 192.168.0.210/24]",
    )]));
    outside(&twins, &["addr", "add", "192.168.0.210/32", "dev", "eth0"]);
    let run = twins.apply().expect(7);
    assert!(waits(&run));
    run.says("192.168.0.210 is in use already");
}
