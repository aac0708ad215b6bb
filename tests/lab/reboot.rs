//! Reboots on request, on a live pair. The twins' kernel has no SELinux, so the reboot is real and its effect is not.

use std::net::IpAddr;

use serde_json::json;

use crate::rollback::on_a_terminal;
use crate::support::*;
use crate::watch::watch;

/// The example with the mode on the other side of `disabled`.
fn permissive() -> String {
    example_with(&[("selinux: disabled", "selinux: permissive")])
}

fn boot_ids(twins: &Twins) -> [String; 2] {
    HOSTS.map(|host| twins.sh(host, "cat /proc/sys/kernel/random/boot_id"))
}

#[test]
fn a_change_that_crosses_disabled_reboots_both_hosts_only_on_request_and_without_an_outage() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let booted = boot_ids(&twins);
    twins.write(&permissive());

    let plan = twins.hapair(&["plan", "--output", "json"]).expect(3);
    assert_eq!(plan.summary()["reboot_needed"], json!(HOSTS), "{}", plan.stdout);
    twins.hapair(&["plan"]).expect(3).says("apply --reboot");

    // --yes is a yes to the changes, not to this.
    let named = twins.apply().expect(0).summary();
    assert_eq!(named["reboot_needed"], json!(HOSTS), "{named}");
    assert_eq!(named["rebooted"], json!([]), "{named}");
    // Everything is in place, and the reboot is still known to be due: also to a run that knows nothing of this one.
    twins
        .hapair(&["plan"])
        .expect(0)
        .says("nothing to do")
        .says("apply --reboot");
    let asked = on_a_terminal(&twins, "apply", "n\n");
    let shown = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{shown}");
    assert!(shown.contains("reboot now, one host at a time? [y/N]"), "{shown}");
    assert_eq!(boot_ids(&twins), booted, "nobody asked for a reboot");

    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let mut done = None;
    let seen = watch(&twins, vip, || {
        done = Some(twins.hapair(&["apply", "--reboot", "--yes", "--output", "json"]));
    });
    let done = done.expect("it ran").expect(0);
    let summary = done.summary();
    assert_eq!(summary["rebooted"], json!([BACKUP, MASTER]), "{summary}");
    assert_eq!(summary["reboot_needed"], json!([]), "{summary}");
    assert_eq!(summary["verified"][0]["owner"], MASTER, "{summary}");
    seen.gently("reboots");
    for (now, before) in boot_ids(&twins).iter().zip(&booted) {
        assert_ne!(now, before);
    }
    // No reboot gives this kernel SELinux, and it says so instead of trying again.
    let done = done.says("another reboot will not turn it on");
    assert_eq!(done.summary()["changed"], json!({ MASTER: 0, BACKUP: 0 }));

    let booted = boot_ids(&twins);
    let again = twins
        .hapair(&["apply", "--reboot", "--yes", "--output", "json"])
        .expect(0)
        .summary();
    assert_eq!(again["changed"], json!({ MASTER: 0, BACKUP: 0 }), "{again}");
    assert_eq!(again["rebooted"], json!([]), "{again}");
    assert_eq!(boot_ids(&twins), booted);
    for host in HOSTS {
        twins.sh(
            host,
            "! ls /etc/systemd/system/hapair-boot-* /etc/systemd/system/*/hapair-boot-* 2>/dev/null",
        );
    }
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    for host in 0..2 {
        assert_eq!(
            status["hosts"][host]["drift"],
            json!([]),
            "a reboot is no drift: {status}"
        );
    }
}

#[test]
fn a_host_that_does_not_come_back_leaves_the_vip_with_its_peer() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&permissive());
    // The owner boots, but nobody can reach it.
    twins.sh(MASTER, "systemctl disable sshd.service");
    let run = twins
        .hapair(&["apply", "--reboot", "--reboot-timeout", "30", "--yes"])
        .expect(4)
        .says(MASTER)
        .says("not back from its reboot within 30 s");
    assert!(run.all().contains("hint:"), "{}", run.all());
    twins.sh(BACKUP, "ip -4 -o addr show | grep -q 192.168.0.200");
    // It does not take the VIP back before somebody has seen that it is well.
    twins.sh(MASTER, "! ip -4 -o addr show | grep -q 192.168.0.200");
    twins.sh(MASTER, "systemctl enable sshd.service && systemctl start sshd.service");
    twins.hapair(&["handover", "--resume", "--yes"]).expect(0);
    twins.sh(MASTER, "ip -4 -o addr show | grep -q 192.168.0.200");
    let again = twins
        .hapair(&["apply", "--reboot", "--yes", "--output", "json"])
        .expect(0)
        .summary();
    assert_eq!(again["rebooted"], json!([]), "both were: {again}");
}

#[test]
fn changes_made_after_a_reboot_are_rolled_back_with_their_apply() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&permissive());
    let stray = "/etc/systemd/system/stray.service";
    twins.sh(
        BACKUP,
        &format!(
            "printf '[Unit]\\nBefore=sshd.service\\n[Service]\\nType=oneshot\\nExecStart=/bin/sed -i /nginx-/d /etc/hosts\\n\
             [Install]\\nWantedBy=multi-user.target\\n' > {stray} && systemctl daemon-reload && systemctl -q enable stray"
        ),
    );
    let done = twins
        .hapair(&["apply", "--reboot", "--yes", "--output", "json"])
        .expect(0)
        .summary();
    assert_eq!(done["changed"], json!({ MASTER: 1, BACKUP: 2 }), "{done}");
    twins.sh(BACKUP, "grep -q nginx- /etc/hosts");
    twins.sh(
        BACKUP,
        &format!("systemctl -q disable stray && rm {stray} && systemctl daemon-reload"),
    );

    // The last run is all of it.
    twins.hapair(&["rollback", "--yes"]).expect(0);
    for host in HOSTS {
        twins.sh(host, "grep -q ^SELINUX=disabled /etc/selinux/config");
    }
    twins.sh(BACKUP, "! grep -q nginx- /etc/hosts");
    twins.write(EXAMPLE);
    twins.apply().expect(0);
}
