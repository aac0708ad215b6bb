//! What can go wrong: a clear message, the right exit code, and an unharmed host.

use crate::support::*;

/// Applies, expects a failure on a bare pair, and that both hosts are as before it.
#[track_caller]
fn fails_unharmed(twins: &Twins, code: i32, message: &str) -> Run {
    let before = HOSTS.map(|host| twins.fingerprint(host));
    let run = twins.apply().expect(code).says(message);
    for (host, before) in HOSTS.into_iter().zip(before) {
        let after = twins.fingerprint(host);
        assert!(before == after, "{host} was harmed:\n{}", difference(&before, &after));
    }
    run
}

fn difference(before: &str, after: &str) -> String {
    let gone = before
        .lines()
        .filter(|l| !after.contains(l))
        .map(|l| format!("- {l}\n"));
    let new = after
        .lines()
        .filter(|l| !before.contains(l))
        .map(|l| format!("+ {l}\n"));
    gone.chain(new).collect()
}

#[test]
fn a_host_that_is_down_ends_in_time_and_leaves_the_other_alone() {
    let twins = Twins::up(EXAMPLE);
    twins.sh(BACKUP, "ip link set enp0s3 down");
    let before = twins.fingerprint(MASTER);
    let run = twins.hapair(&["apply", "--yes", "--connect-timeout", "5"]).expect(4);
    run.says(BACKUP).says("hint:");
    assert!(before == twins.fingerprint(MASTER));
}

#[test]
fn a_host_that_accepts_and_then_hangs_ends_in_time() {
    let twins = Twins::up(EXAMPLE);
    // Everything of sshd's stops; the kernel still accepts connections.
    twins.sh(BACKUP, "pkill -STOP -x sshd");
    twins
        .hapair(&["plan", "--connect-timeout", "5"])
        .expect(4)
        .says(BACKUP)
        .says("hint:");
    twins.sh(BACKUP, "pkill -CONT -x sshd");
}

#[test]
fn unusable_credentials_are_named() {
    let twins = Twins::up(&example_with(&[("ssh:", "ssh:\n  password: right-horse")]));
    // The lab's own key is what `--lab` logs in with: taken off the hosts, only the password is left.
    HOSTS
        .iter()
        .for_each(|host| drop(twins.sh(host, "rm -f /root/.ssh/authorized_keys")));
    twins.hapair(&["plan"]).expect(3);
    twins.write(&example_with(&[("ssh:", "ssh:\n  password: wrong-horse")]));
    let run = twins.hapair(&["plan"]).expect(4).says("password").says("hint:");
    assert!(!run.all().contains("wrong-horse"), "{}", run.all());
}

#[test]
fn a_repository_without_the_package_reverts_the_host() {
    // CentOS 7's own repositories have no nginx.
    let twins = Twins::up(&example_with(&[("nginx: stable", "nginx: keep")]));
    let run = twins.apply();
    let run = run.expect(5).says("nginx").says("hint");
    assert!(run.all().contains("package"), "{}", run.all());
    for host in HOSTS {
        twins.sh(host, "! rpm -q nginx");
    }
}

#[test]
fn a_configuration_that_nginx_refuses_is_never_in_place() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    std::fs::write(
        twins.dir().join("extra.conf"),
        "server { listen 8081; no_such_directive on; }\n",
    )
    .expect("written");
    twins.write(&example_with(&[(
        "nginx:\n  upstreams:",
        "nginx:\n  extra_files: [extra.conf]\n  upstreams:",
    )]));
    // Both hosts look at their new files before either is touched: nothing was applied, so nothing was rolled back.
    fails_unharmed(&twins, 1, "no_such_directive").says("neither host was changed");
    let runs = format!("systemctl is-active nginx {} && nginx -t", engine_unit());
    HOSTS.iter().for_each(|host| drop(twins.sh(host, &runs)));
}

#[test]
fn a_full_disk_is_named_and_reverts_the_host() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&example_with(&[("weight: -5", "weight: -7")]));
    twins.sh(BACKUP, "mount -t tmpfs -o size=64k,mode=755 none /var/lib/hapair && dd if=/dev/zero of=/var/lib/hapair/full bs=1k count=64 2>/dev/null; true");
    let before = twins.fingerprint(BACKUP);
    let run = twins.apply();
    assert!(matches!(run.code, 1 | 5), "{}", run.all());
    let run = run.says("No space left on device").says(BACKUP);
    assert!(run.all().contains("hint"), "{}", run.all());
    assert_eq!(before, twins.fingerprint(BACKUP), "the host was harmed");
    let runs = format!("umount /var/lib/hapair && systemctl is-active nginx {}", engine_unit());
    twins.sh(BACKUP, &runs);
    twins.apply().expect(0);
}

#[test]
fn ctrl_c_in_mid_apply_reverts_the_running_transaction() {
    let twins = Twins::up(EXAMPLE);
    let before = HOSTS.map(|host| twins.fingerprint(host));
    let mut child = twins.spawn(&["apply", "--yes", "--output", "json"]);
    let mut lines = lines(&mut child);
    // The first transaction has begun to change the first host.
    until_changing(&mut lines, BACKUP);
    // SAFETY: signals the child this test started.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let rest: Vec<String> = lines.collect();
    let status = child.wait().expect("hapair ends");
    assert_eq!(status.code(), Some(5), "{}", rest.join("\n"));
    assert!(rest.join("\n").contains("interrupted"), "{}", rest.join("\n"));
    for (host, before) in HOSTS.into_iter().zip(before) {
        let after = twins.fingerprint(host);
        assert!(before == after, "{host} was harmed:\n{}", difference(&before, &after));
        twins.sh(host, "! systemctl list-timers --no-pager | grep hapair");
    }
    twins.apply().expect(0);
}
