//! hapair's own VRRP engine on real hosts: switching to it and back, its crash, its upgrade. These choose their engines
//! themselves, so once is enough: tests/run leaves them out of its second round.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;
use crate::watch::{Seen, watch};

const VIP: &str = "192.168.0.200";

/// A pair with the agent on both hosts.
fn agents() -> Twins {
    let twins = Twins::up(EXAMPLE);
    twins.write_with_engine(EXAMPLE, "agent");
    twins.apply().expect(0);
    twins
}

fn look_on(twins: &Twins, work: impl FnOnce() + Send) -> Seen {
    watch(twins, VIP.parse::<IpAddr>().expect("address"), work)
}

fn status(twins: &Twins) -> [Value; 2] {
    let summary = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    [summary["hosts"][0].clone(), summary["hosts"][1].clone()]
}

fn state(host: &Value) -> &str {
    host["instances"][0]["state"].as_str().expect("a state")
}

/// Exactly one engine runs and is enabled on a host.
#[track_caller]
fn runs_alone(twins: &Twins, host: &str, unit: &str, other: &str) {
    twins.sh(
        host,
        &format!("systemctl is-active {unit} && systemctl is-enabled {unit}"),
    );
    twins.sh(
        host,
        &format!("! systemctl is-active {other} && ! systemctl is-enabled {other}"),
    );
}

#[test]
fn switching_the_engine_of_a_living_pair_is_an_ordinary_apply() {
    let twins = agents();
    let changed_password = example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]);
    // Both ways; then back together with a change that decides the election.
    let steps = [
        ("to keepalived", EXAMPLE, "keepalived", ["keepalived", "hapair-agent"]),
        ("to the agent", EXAMPLE, "agent", ["hapair-agent", "keepalived"]),
        (
            "to keepalived with a new password",
            &changed_password,
            "keepalived",
            ["keepalived", "hapair-agent"],
        ),
    ];
    for (what, inventory, engine, [unit, other]) in steps {
        twins.write_with_engine(inventory, engine);
        let seen = look_on(&twins, || {
            twins.apply().expect(0);
        });
        seen.gently(what);
        for host in HOSTS {
            runs_alone(&twins, host, unit, other);
        }
        let hosts = status(&twins);
        assert_eq!([state(&hosts[0]), state(&hosts[1])], ["MASTER", "BACKUP"], "{what}");
        assert_eq!(hosts[0]["engine"], engine, "{what}");
        let again = twins.apply().expect(0).summary();
        assert_eq!([&again["changed"][MASTER], &again["changed"][BACKUP]], [0, 0], "{what}");
    }
}

#[test]
fn a_pair_may_have_two_engines() {
    let twins = agents();
    twins.write_with_engine(EXAMPLE, "keepalived");
    let seen = look_on(&twins, || {
        twins.hapair(&["apply", "--yes", "--limit", BACKUP]).expect(0);
    });
    seen.gently("keepalived beside the agent");
    let hosts = status(&twins);
    assert_eq!(
        [hosts[0]["engine"].as_str(), hosts[1]["engine"].as_str()],
        [Some("agent"), Some("keepalived")]
    );
    assert_eq!([state(&hosts[0]), state(&hosts[1])], ["MASTER", "BACKUP"]);
    // Each gives way to the other and takes the VIP back.
    let drill = twins
        .hapair(&["failover", "--yes", "--output", "json", "--scenario", "vrrp-stop"])
        .expect(0)
        .summary();
    let scenario = &drill["scenarios"][0];
    assert_eq!(
        [&scenario["owner_before"], &scenario["owner_after"]],
        [MASTER, BACKUP],
        "{drill}"
    );
    twins.apply().expect(0);
    for host in HOSTS {
        runs_alone(&twins, host, "keepalived", "hapair-agent");
    }
}

#[test]
fn a_killed_agent_gives_the_vip_away_and_holds_back() {
    let twins = agents();
    let seen = look_on(&twins, || {
        twins.sh(MASTER, "systemctl kill --kill-who=main --signal=KILL hapair-agent");
        wait_until("the standby owns the VIP", Duration::from_secs(20), || {
            let hosts = status(&twins);
            [state(&hosts[0]), state(&hosts[1])] == ["BACKUP", "MASTER"]
        });
    });
    // keepalived keeps the addresses of a killed daemon, and the peer waits for three adverts.
    seen.gently("SIGKILL of the daemon");
    twins.sh(MASTER, &format!("! ip -4 -o addr show | grep -q {VIP}"));
    let hosts = status(&twins);
    assert_eq!(hosts[0]["instances"][0]["held"], true, "{}", hosts[0]);
    twins.sh(MASTER, "systemctl is-active hapair-agent && hapair-agent resume");
    wait_until("resumed, it takes the VIP back", Duration::from_secs(20), || {
        let hosts = status(&twins);
        [state(&hosts[0]), state(&hosts[1])] == ["MASTER", "BACKUP"]
    });
}

#[test]
fn another_binary_of_the_agent_is_replaced_without_a_second_owner() {
    let twins = agents();
    for host in HOSTS {
        // Bytes behind the last section: it runs all the same, and is not ours any more.
        twins.sh(
            host,
            "cp /usr/local/sbin/hapair-agent /root/old && echo old >> /root/old && mv /root/old /usr/local/sbin/hapair-agent",
        );
    }
    twins
        .hapair(&["plan"])
        .expect(3)
        .says("/usr/local/sbin/hapair-agent")
        .says("replace the binary");
    let seen = look_on(&twins, || {
        let run = twins.apply().expect(0);
        assert_eq!(run.summary()["changed"][MASTER], 1, "{}", run.stdout);
    });
    seen.gently("the agent's upgrade");
    let hosts = status(&twins);
    assert_eq!([state(&hosts[0]), state(&hosts[1])], ["MASTER", "BACKUP"]);
    twins.hapair(&["plan"]).expect(0);
}

#[test]
fn the_daemon_as_installed() {
    let twins = agents();
    for host in HOSTS {
        // Real-time, and what it starts is not; locked memory.
        let facts = twins.sh(
            host,
            "pid=$(systemctl show -p MainPID hapair-agent | cut -d= -f2); chrt -p $pid; grep VmLck /proc/$pid/status; \
             systemd-analyze verify /etc/systemd/system/hapair-agent.service 2>&1",
        );
        assert!(facts.contains("SCHED_RR"), "{facts}");
        assert!(!facts.contains("VmLck:\t       0 kB"), "{facts}");
        // The socket is root's alone, and says what status says.
        assert_eq!(
            twins.sh(host, "stat -c '%a %U' /run/hapair/agent.sock").trim(),
            "600 root"
        );
        twins.sh(host, "hapair-agent status --json --wait settled | grep -q VI_1");
        twins.sh(
            host,
            "hapair-agent metrics | grep -q '^hapair_master{instance=\"VI_1\"}'",
        );
        // A configuration that is broken by hand is not taken, and nothing moves.
        twins.sh(
            host,
            "cp -p /etc/keepalived/keepalived.conf /root/good && echo 'vrrp_instance {' >> /etc/keepalived/keepalived.conf \
             && ! systemctl reload hapair-agent; cp -p /root/good /etc/keepalived/keepalived.conf && systemctl reload hapair-agent",
        );
    }
    twins.sh(MASTER, &format!("ip addr del {VIP}/24 dev enp0s3"));
    wait_until("the address is added again", Duration::from_secs(10), || {
        twins
            .try_sh(MASTER, &format!("ip -4 -o addr show | grep -q {VIP}"))
            .code
            == 0
    });
    let hosts = status(&twins);
    assert_eq!([state(&hosts[0]), state(&hosts[1])], ["MASTER", "BACKUP"]);
    assert!(
        twins
            .sh(MASTER, "journalctl -q -o cat -u hapair-agent")
            .contains("adding it again")
    );

    // Stopped in good order nothing is left behind, and the next start is no start after a crash.
    twins.sh(
        MASTER,
        "systemctl stop hapair-agent && test ! -e /run/hapair/agent.running",
    );
    twins.sh(MASTER, &format!("! ip -4 -o addr show | grep -q {VIP}"));
    twins.sh(MASTER, "systemctl start hapair-agent");
    wait_until("it takes the VIP back", Duration::from_secs(20), || {
        let hosts = status(&twins);
        [state(&hosts[0]), state(&hosts[1])] == ["MASTER", "BACKUP"]
    });
}
