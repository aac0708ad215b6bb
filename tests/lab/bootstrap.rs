//! The main job: bare hosts become a pair; again changes nothing.

use crate::support::*;

#[test]
fn bare_hosts_become_a_verified_pair_and_a_second_apply_changes_nothing() {
    let twins = Twins::up(EXAMPLE);

    // plan: exit code 3, and nothing but the executor appears on the hosts.
    HOSTS.iter().for_each(|host| twins.mark(host));
    let plan = twins.hapair(&["plan", "--output", "json"]).expect(3);
    assert!(plan.summary()["changed"][MASTER].as_u64() > Some(5), "{}", plan.stdout);
    for host in HOSTS {
        let changed = twins.changed_since_mark(host);
        let executor = |line: &&str| line.starts_with("/usr/local/hapair/sbin/hapair-agent-");
        assert!(
            changed.lines().all(|l| executor(&l)),
            "plan wrote on {host}:\n{changed}"
        );
    }

    let first = twins.apply().expect(0);
    let summary = first.summary();
    assert!(summary["changed"][MASTER].as_u64() > Some(5), "{summary}");
    assert_eq!(summary["verified"][0]["vip"], "192.168.0.200", "{summary}");
    assert_eq!(summary["verified"][0]["owner"], MASTER, "{summary}");
    assert_eq!(summary["verified"][0]["from"], "controller", "{summary}");

    // Every step of the seed, looked at with the host's own tools.
    for host in HOSTS {
        assert_eq!(twins.sh(host, "hostname").trim(), host);
        assert_eq!(twins.sh(host, "cat /etc/hostname").trim(), host);
        for family in ["127.0.0.1", "::1"] {
            twins.sh(host, &format!("grep -E '^{family}[[:space:]].*{host}' /etc/hosts"));
        }
        assert_eq!(
            twins.sh(host, "grep ^SELINUX= /etc/selinux/config").trim(),
            "SELINUX=disabled"
        );
        assert_ne!(twins.try_sh(host, "systemctl is-active firewalld").code, 0);
        assert_ne!(twins.try_sh(host, "systemctl is-enabled firewalld").code, 0);
        twins.sh(host, "rpm -q nginx");
        let unit = engine_unit();
        twins.sh(
            host,
            &format!("systemctl is-enabled nginx {unit} && systemctl is-active nginx {unit}"),
        );
        if engine() == "agent" {
            twins.sh(host, "! rpm -q keepalived && ! systemctl is-active keepalived");
        }
        twins.sh(host, "grep -q mirrors.aliyun.com /etc/yum.repos.d/CentOS-Base.repo");
        twins.sh(host, "grep -q gpgcheck=1 /etc/yum.repos.d/nginx.repo");
        assert_eq!(
            twins.sh(host, "stat -c %a /etc/keepalived/keepalived.conf").trim(),
            "600"
        );
        twins.sh(host, "test -x /usr/libexec/keepalived/*");
    }

    // Again: no change, one connection, one exec, no write.
    for host in HOSTS {
        twins.sh(
            host,
            "echo 'LogLevel VERBOSE' >> /etc/ssh/sshd_config && (systemctl reload sshd || systemctl reload ssh)",
        );
    }
    HOSTS.iter().for_each(|host| twins.mark(host));
    let sessions = |host: &str| -> (usize, usize) {
        let log = twins.sh(host, "journalctl -q --no-pager -o cat -t sshd");
        (
            log.matches("Accepted publickey").count(),
            log.matches("Starting session: command").count(),
        )
    };
    let before = HOSTS.map(sessions);
    let second = twins.apply().expect(0);
    assert_eq!(second.summary()["changed"][MASTER], 0, "{}", second.stdout);
    assert_eq!(second.summary()["changed"][BACKUP], 0, "{}", second.stdout);
    for (host, (connections, execs)) in HOSTS.into_iter().zip(before) {
        assert_eq!(
            sessions(host),
            (connections + 1, execs + 1),
            "connections and execs on {host}"
        );
        assert_eq!(twins.changed_since_mark(host), "", "the second apply wrote on {host}");
    }
    twins.hapair(&["plan"]).expect(0);

    // The contract of status.
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    let hosts = status["hosts"].as_array().expect("hosts");
    assert_eq!(hosts[0]["host"], MASTER);
    assert_eq!(hosts[0]["engine"], engine().as_str());
    assert_eq!(hosts[0]["instances"][0]["state"], "MASTER");
    assert_eq!(hosts[1]["instances"][0]["state"], "BACKUP");
    assert_eq!(hosts[0]["nginx"], "active");
    assert_eq!(hosts[0]["drift"].as_array().map(Vec::len), Some(0));

    // Drift is named.
    twins.sh(BACKUP, "echo '# by hand' >> /etc/keepalived/keepalived.conf");
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    let drift = status["hosts"][1]["drift"].to_string();
    assert!(drift.contains("/etc/keepalived/keepalived.conf"), "{drift}");
}

#[test]
fn rehearse_keeps_the_contract_of_its_summary() {
    let turn = Turn::wait(Company::Others);
    let dir = tempfile::tempdir().expect("a scratch folder");
    let inventory = dir.path().join("inventory.yaml");
    let edits = [
        ("name: edge", format!("name: {}", turn.name())),
        (ENGINE_LINE, format!("engine: {}", engine())),
    ];
    let edits = edits.each_ref().map(|(from, to)| (*from, to.as_str()));
    std::fs::write(&inventory, example_with(&edits)).expect("inventory");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hapair"))
        .arg("-i")
        .arg(&inventory)
        .args(["rehearse", "--yes", "--output", "json"])
        .output()
        .expect("hapair runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary: serde_json::Value =
        serde_json::from_str(stdout.lines().last().expect("output")).expect("a JSON summary");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{summary}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let steps = summary["steps"].as_array().expect("steps");
    let names: Vec<&str> = steps.iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["up", "apply", "reapply", "failover", "down"]);
    assert!(steps.iter().all(|s| s["passed"] == true), "{summary}");
    assert_eq!(steps[2]["changed"], 0);
}
