//! Networks and firewalls that would cut a host off: refused before anything is touched, or reverted by the host.

use std::process::Command;

use crate::support::*;

/// Seconds until an unconfirmed change is reverted, in these tests.
const CONFIRM: u64 = 20;

/// What the host may need beyond that to be as before.
const MARGIN: u64 = 15;

/// Applies `bad`, which must fail, and expects both hosts as `good` had made them, and reachable where they were.
#[track_caller]
fn harmless(twins: &Twins, good: &str, bad: &str, code: i32) -> Run {
    let before = HOSTS.map(|host| twins.fingerprint(host));
    twins.write(bad);
    let timeout = CONFIRM.to_string();
    let run = twins
        .hapair(&["apply", "--yes", "--output", "json", "--confirm-timeout", &timeout])
        .expect(code);
    twins.write(good);
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    for (host, before) in HOSTS.into_iter().zip(before) {
        let after = twins.fingerprint(host);
        let gone: Vec<&str> = before.lines().filter(|l| !after.contains(l)).collect();
        let new: Vec<&str> = after.lines().filter(|l| !before.contains(l)).collect();
        assert!(before == after, "{host} was harmed: gone {gone:#?}\nnew {new:#?}");
        twins.sh(host, "! systemctl list-timers --no-pager | grep hapair");
    }
    run
}

/// The same for what the host reverts itself, in time by its own clock.
#[track_caller]
fn reverted(twins: &Twins, good: &str, bad: &str) -> Run {
    let run = harmless(twins, good, bad, 5).says(BACKUP);
    let lines = run.json();
    let at = |event: &str| {
        let line = lines.iter().rev().find(|l| l["event"] == event);
        line.and_then(|l| l["at_ms"].as_u64())
            .unwrap_or_else(|| panic!("no event {event}\n{}", run.stdout))
    };
    let took = at("finished") - at("armed");
    assert!(took <= (CONFIRM + MARGIN) * 1000, "reverted after {took} ms");
    run
}

/// The second host's network in the example.
const NETWORK: &str = "interface: enp0s3\n      address: 192.168.0.202/24\n      gateway: 192.168.0.1\n";

/// The example with another network for the second host.
fn second(network: &str) -> String {
    example_with(&[(NETWORK, network)])
}

#[test]
fn what_the_segment_shows_to_be_wrong_is_refused_before_anything_is_touched() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);

    let gateway = second(&NETWORK.replace("gateway: 192.168.0.1", "gateway: 192.168.0.77"));
    harmless(&twins, EXAMPLE, &gateway, 1)
        .says("nobody answers as the gateway 192.168.0.77")
        .says("neither host was changed");

    let interface = second(&NETWORK.replace("enp0s3", "enp0s9"));
    harmless(&twins, EXAMPLE, &interface, 7)
        .says("there is no interface enp0s9 on this host, only enp0s3")
        .says("neither host was changed");

    // Somebody else's: here our own, who have no sshd that could be taken for the host's.
    twins.outside(|| {
        let add = ["addr", "add", "192.168.0.77/24", "dev", "eth0"];
        assert!(Command::new("ip").args(add).status().expect("ip runs").success());
    });
    let address = second(&NETWORK.replace("192.168.0.202", "192.168.0.77"));
    harmless(&twins, EXAMPLE, &address, 1)
        .says("192.168.0.77 is in use already: 52:54:00:6c:ff:00 answers for it on enp0s3")
        .says("neither host was changed");

    // A machine that the operator knows well and can log in to: here the peer.
    twins.outside(|| {
        let away = ["addr", "del", "192.168.0.77/24", "dev", "eth0"];
        assert!(Command::new("ip").args(away).status().expect("ip runs").success());
    });
    twins.sh(MASTER, "ip addr add 192.168.0.77/24 dev enp0s3");
    let known = twins.lab().known_hosts();
    let keys = std::fs::read_to_string(&known).expect("known hosts");
    let theirs = keys.lines().filter(|l| l.contains("192.168.0.201"));
    let more: String = theirs
        .map(|l| l.replace("192.168.0.201", "192.168.0.77") + "\n")
        .collect();
    std::fs::write(&known, format!("{}\n{more}", keys.trim_end())).expect("written");
    harmless(&twins, EXAMPLE, &address, 4).says("different machines answer at 192.168.0.202 and at 192.168.0.77");

    // A slip in the prefix alone leaves the gateway outside.
    let prefix = second(&NETWORK.replace("/24", "/28"));
    harmless(&twins, EXAMPLE, &prefix, 2).says("gateway");
}

/// The example with a VIP that fits a smaller subnet too.
fn small() -> String {
    example_with(&[("[192.168.0.200/24]", "[192.168.0.200]")])
}

#[test]
fn the_host_reverts_what_cuts_ssh_off() {
    let good = small();
    let twins = Twins::up(&good);
    twins.apply().expect(0);

    // A wrong prefix: the way back to us is gone.
    let prefix = good.replacen(NETWORK, "interface: enp0s3\n      address: 192.168.0.202/28\n", 1);
    assert_ne!(prefix, good);
    reverted(&twins, &good, &prefix).says("not confirmed within 20 s");

    // An address that nobody reaches: the host drops what is sent to it.
    let table = "nft add table ip block && nft 'add chain ip block in { type filter hook input priority 0; }'";
    twins.sh(
        BACKUP,
        &format!("{table} && nft add rule ip block in ip daddr 192.168.0.77 drop"),
    );
    let address = good.replacen("192.168.0.202/24", "192.168.0.77/24", 1);
    reverted(&twins, &good, &address).says("not confirmed within 20 s");

    // A firewall that was off, with a zone of its own for our subnet that nobody remembered: it has no SSH.
    twins.sh(
        BACKUP,
        "printf '<?xml version=\"1.0\" encoding=\"utf-8\"?>\\n<zone>\\n  <source address=\"192.168.0.0/24\"/>\\n</zone>\\n' \
         > /etc/firewalld/zones/internal.xml",
    );
    let firewall = good.replacen("firewalld: disabled", "firewalld: managed", 1);
    reverted(&twins, &good, &firewall).says("not confirmed within 20 s");
    twins.sh(
        BACKUP,
        "! systemctl is-active firewalld && ! systemctl is-enabled firewalld",
    );
}

#[test]
fn a_gateway_that_proves_wrong_only_afterwards_is_reverted() {
    let subnet = |text: String| text.replace(".201/24", ".201/28").replace(".202/24", ".202/28");
    let good = subnet(small()).replace("gateway: 192.168.0.1\n", "gateway: 192.168.0.193\n");
    let twins = Twins::up(&good);
    twins.apply().expect(0);
    // We are its neighbours before and after: SSH alone would never show it.
    let before = NETWORK
        .replace("/24", "/28")
        .replace("192.168.0.1\n", "192.168.0.193\n");
    let after = NETWORK.replace("192.168.0.1\n", "192.168.0.77\n");
    let bad = good.replacen(&before, &after, 1);
    assert_ne!(bad, good);
    reverted(&twins, &good, &bad).says("nobody answers as the gateway 192.168.0.77");
}

#[test]
fn the_wrong_one_of_two_interfaces_is_reverted() {
    // SSH comes in by an interface that is none of the pair's business.
    let stable = "  - name: nginx-backup\n    address: 192.168.9.152\n    address_is_stable: true\n";
    let good = example_with(&[("  - name: nginx-backup\n", stable)]);
    let twins = Twins::up(&good);
    twins.apply().expect(0);
    let bad = good.replacen(NETWORK, &NETWORK.replace("enp0s3", "mgmt0"), 1);
    assert_ne!(bad, good);
    reverted(&twins, &good, &bad);
    twins.sh(BACKUP, "ip -4 -o addr show mgmt0 | grep -q 192.168.9.152/24");
    twins.sh(BACKUP, "ip -4 -o addr show enp0s3 | grep -q 192.168.0.202/24");
}

/// Applies a change of both hosts' nginx, there or back, and does something when the standby is being changed. Exit code, and
/// what was said from then on.
fn meanwhile(twins: &Twins, work: impl FnOnce()) -> (Option<i32>, String) {
    let other = EXAMPLE.replace("10.0.0.12:8080", "10.0.0.13:8080");
    let is_other = std::fs::read_to_string(twins.inventory()).is_ok_and(|text| text.contains("10.0.0.13:8080"));
    twins.write(if is_other { EXAMPLE } else { &other });
    // So that it is surely still at work: after the stage has started, and its first resource.
    twins.hold_after(BACKUP, 2);
    let mut child = twins.spawn(&["apply", "--yes", "--output", "json"]);
    let mut lines = lines(&mut child);
    until_changing(&mut lines, BACKUP);
    work();
    twins.let_go(BACKUP);
    let rest: Vec<String> = lines.collect();
    (child.wait().expect("hapair ends").code(), rest.join("\n"))
}

#[test]
fn a_connection_lost_while_the_other_host_changes_is_reconnected() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    // The owner waits until the standby is done.
    let (code, said) = meanwhile(&twins, || twins.kill_connections(MASTER));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the connection was lost between transactions"), "{said}");
    twins.hapair(&["plan"]).expect(0);

    // Not from somebody who took the lock since, with an executor as any other.
    let bob = r#"{"request":"lock","operator":{"name":"bob@desk","run":"another"}}"#;
    let (code, said) = meanwhile(&twins, || {
        twins.kill_connections(MASTER);
        twins.sh(
            MASTER,
            &format!(
                "{{ (echo '{bob}'; sleep 600) | systemd-run --quiet --pipe --unit bob \
                 $(ls /usr/local/hapair/sbin/hapair-agent-* | head -n 1) serve; }} >/dev/null 2>&1 & \
                 until grep -q bob@desk /run/hapair.lock; do sleep 0.1; done"
            ),
        );
    });
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("bob@desk"), "{said}");
    twins.sh(MASTER, "systemctl stop bob");
    twins.apply().expect(0);

    // It is the same host, but who knows what became of it.
    let lab = twins.lab();
    let (code, said) = meanwhile(&twins, || {
        lab.power_off(MASTER).expect("off");
        lab.power_on(MASTER).expect("on");
    });
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("rebooted during this run"), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    twins.apply().expect(0);

    let (code, said) = meanwhile(&twins, || lab.power_off(MASTER).expect("off"));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("tried to reconnect for 15 s"), "{said}");
    lab.power_on(MASTER).expect("on");
    twins.apply().expect(0);
    twins.hapair(&["plan"]).expect(0);
}
