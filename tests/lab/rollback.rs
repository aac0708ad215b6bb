//! Going back on a live pair: what an apply replaced, what a failing run had done, and everything.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;
use crate::watch::watch;

/// Both hosts' files.
fn fingerprints(twins: &Twins) -> [String; 2] {
    HOSTS.map(|host| twins.fingerprint(host))
}

#[track_caller]
fn assert_same(before: &[String; 2], after: &[String; 2]) {
    for (before, after) in before.iter().zip(after) {
        let gone: Vec<&str> = before.lines().filter(|l| !after.contains(l)).collect();
        let new: Vec<&str> = after.lines().filter(|l| !before.contains(l)).collect();
        assert!(gone.is_empty() && new.is_empty(), "gone {gone:#?}\nnew {new:#?}");
    }
}

/// The history of a host, newest first.
fn transactions(twins: &Twins, host: usize) -> Vec<Value> {
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    status["hosts"][host]["transactions"]
        .as_array()
        .expect("a list")
        .clone()
}

fn outcomes(twins: &Twins, host: usize) -> Vec<String> {
    let all = transactions(twins, host);
    all.iter()
        .map(|t| t["outcome"].as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn a_rollback_on_a_live_pair_leaves_every_file_as_before_and_the_vip_where_it_is() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let before = fingerprints(&twins);
    let changed = [
        ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
        ("[192.168.0.200/24]", "[192.168.0.200/24, 192.168.0.210/24]"),
        ("\"10.0.0.12:8080\"", "\"10.0.0.12:8080 backup\""),
    ];
    twins.write(&example_with(&changed));
    twins.apply().expect(0);
    let newest = transactions(&twins, 0)[0].clone();
    assert_eq!(newest["outcome"], "applied", "{newest}");
    assert!(newest["changed"].as_u64().is_some_and(|n| n > 0), "{newest}");
    assert!(newest["operator"].as_str().is_some_and(|o| o.contains('@')), "{newest}");

    // Nobody is asked without a terminal, and nothing is lost that other hands did.
    twins.hapair(&["rollback"]).expect(2).says("--yes").says("rolled back");
    let conf = "/etc/nginx/conf.d/00-hapair.conf";
    twins.sh(BACKUP, &format!("cp -p {conf} /root/kept; echo '# by hand' >> {conf}"));
    twins
        .hapair(&["rollback", "--yes"])
        .expect(1)
        .says("modified since by someone else")
        .says(conf)
        .says("--force");
    twins.sh(BACKUP, &format!("cp -p /root/kept {conf}"));

    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    // Judged outside: the watcher ends with the work.
    let mut done = None;
    let seen = watch(&twins, vip, || {
        done = Some(twins.hapair(&["rollback", "--yes", "--output", "json"]));
    });
    let done = done.expect("it ran").expect(0).summary();
    for host in HOSTS {
        assert!(done["changed"][host].as_u64().is_some_and(|n| n > 0), "{done}");
        assert!(
            !done["rolled_back"][host].as_array().expect("a list").is_empty(),
            "{done}"
        );
    }
    seen.gently("rollback");
    assert_same(&before, &fingerprints(&twins));
    assert_eq!(
        outcomes(&twins, 0)[..2],
        ["applied", "rolled_back"],
        "{:?}",
        transactions(&twins, 0)
    );
    twins
        .hapair(&["status"])
        .expect(0)
        .says("rolled back")
        .says("rolled back 20");
    twins.write(EXAMPLE);
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    let id = newest["id"].as_str().expect("an id");
    twins
        .hapair(&["rollback", id, "--yes"])
        .expect(0)
        .says("nothing to roll back");
    twins
        .hapair(&["rollback", "20200101T000000Z-0000", "--yes"])
        .expect(2)
        .says("no transaction");
}

#[test]
fn a_rollback_of_every_kind_of_change_leaves_nothing_to_do_for_the_old_inventory() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let before = fingerprints(&twins);
    twins.write(&every_kind());
    twins.apply().expect(0);
    assert!(before != fingerprints(&twins));
    twins.hapair(&["rollback", "--yes"]).expect(0);
    assert_same(&before, &fingerprints(&twins));
    twins.write(EXAMPLE);
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    let state = |host: usize| status["hosts"][host]["instances"][0]["state"].clone();
    assert_eq!([state(0), state(1)], ["MASTER", "BACKUP"], "{status}");
}

/// `hapair --lab COMMAND` on a terminal, with these answers.
pub(crate) fn on_a_terminal(twins: &Twins, command: &str, answers: &str) -> std::process::Output {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let program = env!("CARGO_BIN_EXE_hapair");
    let line = format!(
        "{program} -i {} --lab --no-progress {command}",
        twins.inventory().display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(twins.dir())
        .env("HOME", twins.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux, runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answers.as_bytes()).expect("answered");
    // Its end would be the terminal's: it stays open as long as the command runs.
    let output = child.wait_with_output().expect("it ended");
    drop(stdin);
    output
}

#[test]
fn a_run_that_fails_on_the_second_host_is_rolled_back_on_the_first() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let before = fingerprints(&twins);
    // The owner, which comes second, does not reload what is new.
    let drop_in = "/run/systemd/system/nginx.service.d";
    twins.sh(
        MASTER,
        &format!(
            "mkdir -p {drop_in} && printf '[Service]\\nExecReload=\\nExecReload=/bin/sh -c \"! grep -q 10.0.0.13 \
             /etc/nginx/conf.d/*.conf && kill -HUP $MAINPID\"\\n' > {drop_in}/test.conf && systemctl daemon-reload"
        ),
    );
    twins.write(&example_with(&[("\"10.0.0.12:8080\"", "\"10.0.0.13:8080\"")]));
    let failed = twins.hapair(&["apply", "--yes"]).expect(5);
    let hint = failed.all();
    let id = hint
        .split("`hapair rollback ")
        .nth(1)
        .and_then(|rest| rest.split('`').next())
        .expect("the command to roll back");
    twins.sh(BACKUP, "grep -q 10.0.0.13 /etc/nginx/conf.d/00-hapair.conf");
    twins.hapair(&["rollback", id, "--yes"]).expect(0);
    assert_same(&before, &fingerprints(&twins));

    // On a terminal the operator is asked: first whether to apply, then whether to roll back.
    let asked = on_a_terminal(&twins, "apply", "y\ny\n");
    assert_eq!(
        asked.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&asked.stdout)
    );
    let shown = String::from_utf8_lossy(&asked.stdout);
    assert!(
        shown.contains("roll back what this run did before the failure? [y/N]"),
        "{shown}"
    );
    assert_same(&before, &fingerprints(&twins));

    let undone = twins
        .hapair(&["apply", "--yes", "--undo-on-failure", "--output", "json"])
        .expect(5);
    assert!(
        undone.all().contains("everything that this run did was rolled back"),
        "{}",
        undone.all()
    );
    assert_same(&before, &fingerprints(&twins));
    assert_eq!(
        outcomes(&twins, 1)[..2],
        ["applied", "rolled_back"],
        "{:?}",
        transactions(&twins, 1)
    );
    twins.write(EXAMPLE);
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
}

#[test]
fn a_removal_leaves_the_hosts_as_they_were_and_nothing_of_hapair() {
    let twins = Twins::up(EXAMPLE);
    let before = fingerprints(&twins);
    let units = |host: &str| {
        let each = "echo $u $(systemctl is-active $u) $(systemctl is-enabled $u 2>/dev/null)";
        let units = "hapair-agent keepalived nginx firewalld NetworkManager network";
        twins.sh(host, &format!("for u in {units}; do {each}; done; hostname"))
    };
    let services = HOSTS.map(units);
    let packages = |host: &str| twins.sh(host, "rpm -qa | sort");
    let installed = HOSTS.map(packages);
    twins.apply().expect(0);
    twins.hapair(&["remove"]).expect(2).says("--yes").says("the pair ends");
    // What somebody else put there and that needs nginx is not taken along.
    twins.sh(
        BACKUP,
        "cd /root && printf 'Name: shop\\nVersion: 2\\nRelease: 1\\nSummary: x\\nLicense: MIT\\nBuildArch: noarch\\n\
         Requires: nginx\\n%%description\\nx\\n%%files\\n' > shop.spec && rpmbuild -bb --quiet --define '_topdir /root/rpm' shop.spec \
         && rpm -i --nosignature rpm/RPMS/noarch/shop-2-1.noarch.rpm",
    );
    twins
        .hapair(&["remove", "--packages", "--yes"])
        .expect(1)
        .says("shop-2-1.noarch needs nginx")
        .says("nothing was changed");
    for host in HOSTS {
        twins.sh(
            host,
            "rpm -q nginx && systemctl is-active nginx && test -d /var/lib/hapair",
        );
    }
    twins.sh(BACKUP, "rpm -e shop && rm -rf /root/rpm /root/shop.spec");
    twins
        .hapair(&["remove", "--packages", "--yes"])
        .expect(0)
        .says("hapair was removed from both hosts");
    for host in HOSTS {
        twins.sh(
            host,
            "test -z \"$(ls -d /usr/local/hapair /var/lib/hapair /usr/local/sbin/hapair-agent /run/hapair \
             /run/hapair.lock /run/hapair-txn.lock 2>/dev/null)\" && ! rpm -q nginx && ! pgrep hapair && ! ip -4 -o addr show | grep -w 192.168.0.200",
        );
    }
    // What rpm and its package manager leave behind in /etc is theirs.
    let theirs = |text: &String| -> String {
        let lines = text.lines().filter(|l| {
            !l.contains(".rpmsave")
                && !l.contains("/etc/passwd")
                && !l.contains("/etc/group")
                && !l.contains("/etc/shadow")
                && !l.contains("/etc/gshadow")
        });
        lines.map(|l| format!("{l}\n")).collect()
    };
    assert_same(
        &before.each_ref().map(theirs),
        &fingerprints(&twins).each_ref().map(theirs),
    );
    assert_eq!(HOSTS.map(units), services);
    assert_eq!(HOSTS.map(packages), installed);
    twins.hapair(&["remove", "--yes"]).expect(0).says("nothing to do");
    twins.sh(MASTER, "test ! -e /usr/local/hapair && test ! -e /var/lib/hapair");
    // And back again.
    twins.apply().expect(0);
}

#[test]
fn removal_restores_an_earlier_pair_without_two_owners() {
    let twins = Twins::up(EXAMPLE);
    twins.write_with_engine(EXAMPLE, "keepalived");
    twins.apply().expect(0);
    // As if it had been set up by hand.
    for host in HOSTS {
        twins.sh(
            host,
            "rm -rf /var/lib/hapair /usr/local/hapair /etc/systemd/system/keepalived.service.d && systemctl daemon-reload",
        );
    }
    let before = fingerprints(&twins);
    let changed = [
        ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
        ("[192.168.0.200/24]", "[192.168.0.200/24, 192.168.0.210/24]"),
    ];
    twins.write(&example_with(&changed));
    twins.apply().expect(0);
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let mut done = None;
    let seen = watch(&twins, vip, || done = Some(twins.hapair(&["remove", "--yes"])));
    done.expect("it ran")
        .expect(0)
        .says("the pair continues")
        .says("no host answers on 192.168.0.210 any more");
    assert!(seen.most_owners <= 1, "{} owners at once", seen.most_owners);
    assert_same(&before, &fingerprints(&twins));
    let owns = "ip -4 -o addr show | grep -w 192.168.0.200";
    twins.sh(MASTER, owns);
    twins.sh(BACKUP, &format!("systemctl is-active keepalived && ! {{ {owns}; }}"));
}

#[test]
fn the_host_reverts_a_rollback_that_is_not_confirmed() {
    let twins = Twins::up(EXAMPLE);
    let fresh = fingerprints(&twins);
    twins.apply().expect(0);
    let before = fingerprints(&twins);
    // The whole first run, network included: the standby is first.
    let mut child = twins.spawn(&["rollback", "--yes", "--confirm-timeout", "20", "--output", "json"]);
    let mut lines = lines(&mut child);
    assert!(lines.any(|l| l.contains("\"armed\"")), "it ended without arming");
    child.kill().expect("killed");
    child.wait().expect("it ended");
    wait_until("the host has taken it back", Duration::from_secs(90), || {
        let run = twins.hapair(&["status", "--output", "json"]);
        run.code == 0 && run.summary()["hosts"][1]["transactions"][0]["outcome"] == "reverted"
    });
    assert_same(&before, &fingerprints(&twins));
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    let after = outcomes(&twins, 1);
    assert_eq!(after[1..3], ["applied", "applied"], "{:?}", transactions(&twins, 1));
    wait_until("the pair is whole", Duration::from_secs(30), || {
        let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
        [(0, "MASTER"), (1, "BACKUP")]
            .iter()
            .all(|(host, state)| status["hosts"][host]["instances"][0]["state"] == *state)
    });

    // With somebody to confirm it goes through; the packages stay, and their files with them.
    twins
        .hapair(&["rollback", "--yes"])
        .expect(0)
        .says("packages stay installed");
    for (host, now) in fingerprints(&twins).iter().enumerate() {
        // The package manager adds users of the packages.
        let accounts = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
        let before = fresh[host].lines().filter(|l| !accounts.iter().any(|a| l.contains(a)));
        let gone: Vec<&str> = before.filter(|l| !now.contains(l)).collect();
        assert!(gone.is_empty(), "gone {gone:#?}");
        assert!(!now.contains("hapair"), "{now}");
    }
}
