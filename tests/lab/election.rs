//! Changes that decide the election, on a live pair, watched from outside.

use std::net::IpAddr;

use crate::support::*;
use crate::watch::watch;

#[test]
fn changes_that_decide_the_election_make_no_second_owner_and_lose_no_vip() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let steps: [(&str, &[(&str, &str)]); 3] = [
        ("auth_pass", &[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]),
        (
            "advert_int",
            &[
                ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
                ("advert_int: 1", "advert_int: 2"),
            ],
        ),
        (
            "virtual_ipaddress",
            &[
                ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
                ("advert_int: 1", "advert_int: 2"),
                ("[192.168.0.200/24]", "[192.168.0.200/24, 192.168.0.210/24]"),
            ],
        ),
    ];
    for (what, edits) in steps {
        twins.write(&example_with(edits));
        let seen = watch(&twins, vip, || {
            twins.apply().expect(0);
        });
        seen.gently(what);
    }
    twins.sh(MASTER, "ip -4 -o addr show | grep -q 192.168.0.210");
    twins.apply().expect(0);

    // One host alone would make two owners.
    twins.write(EXAMPLE);
    twins
        .hapair(&["apply", "--yes", "--limit", BACKUP])
        .expect(2)
        .says("--limit");
}

#[test]
fn an_election_critical_change_that_is_interrupted_halfway_makes_no_second_owner() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]));
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let seen = watch(&twins, vip, || {
        let mut child = twins.spawn(&["apply", "--yes", "--output", "json"]);
        let mut lines = lines(&mut child);
        // The owner has its new password; the standby, silent meanwhile, begins to get its own.
        until_changing(&mut lines, BACKUP);
        // SAFETY: signals the child this test started.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
        let rest: Vec<String> = lines.collect();
        let code = child.wait().expect("hapair ends").code();
        // Too late to be put back is as good: what counts is what the client sees.
        assert!(matches!(code, Some(0 | 1 | 5)), "{code:?}\n{}", rest.join("\n"));
    });
    seen.gently("apply");
    twins.apply().expect(0);
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    assert_eq!(status["hosts"][1]["instances"][0]["state"], "BACKUP", "{status}");
}

#[test]
fn a_stopped_standby_gets_its_new_password_after_the_owner() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.sh(BACKUP, &format!("systemctl stop {}", engine_unit()));
    twins.write(&example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]));
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let mut run = None;
    let seen = watch(&twins, vip, || run = Some(twins.apply()));
    run.expect("it ran").expect(0);
    seen.gently("apply");
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    assert_eq!(status["hosts"][1]["instances"][0]["state"], "BACKUP", "{status}");
}

#[test]
fn a_standby_that_lost_its_nginx_gets_it_back_before_the_owner_has_to_hand_over() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let dns = "dns: [221.228.255.1]";
    twins.write(&EXAMPLE.replace(dns, "dns: [221.228.255.1, 221.228.255.2]"));
    // As after a boot without it.
    twins.sh(BACKUP, "systemctl -q disable nginx; systemctl stop nginx");
    // Where it does not start, nothing is handed over.
    let owner = twins.fingerprint(MASTER);
    let broken = "/run/systemd/system/nginx.service.d";
    twins.sh(
        BACKUP,
        &format!(
            "mkdir -p {broken} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {broken}/broken.conf && \
             systemctl daemon-reload"
        ),
    );
    twins
        .hapair(&["apply", "--yes"])
        .expect(1)
        .says("nginx does not start")
        .says("its peer cannot take over the VIP: nginx is failed")
        .says(&format!("repair {BACKUP} first"));
    assert_eq!(twins.fingerprint(MASTER), owner);
    twins.sh(BACKUP, &format!("rm -r {broken}; systemctl daemon-reload"));
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let mut run = None;
    let seen = watch(&twins, vip, || run = Some(twins.apply()));
    run.expect("it ran").expect(0).says("nginx is started first");
    seen.gently("apply");
    twins.hapair(&["plan"]).expect(0);
}
