//! What was done to a host by hand is named by plan and status, and put right by an apply; and two operators at once.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::*;

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(since.as_millis()).expect("fits")
}

/// Details of the drift of one host.
fn details(twins: &Twins, host: usize) -> Vec<Value> {
    let status = twins.hapair(&["status", "--output", "json"]).expect(0);
    assert!(!status.all().contains("1111"), "a secret shows\n{}", status.all());
    let summary = status.summary();
    let host = &summary["hosts"][host];
    let details = host["drift_details"].as_array().expect("a list").clone();
    let named: Vec<Value> = details.iter().map(|d| d["resource"].clone()).collect();
    assert_eq!(host["drift"], Value::Array(named), "the short form names the same");
    details
}

#[track_caller]
fn about<'a>(all: &'a [Value], what: &str) -> &'a Value {
    let found = all
        .iter()
        .find(|d| d["resource"].as_str().is_some_and(|r| r.contains(what)));
    found.unwrap_or_else(|| panic!("{what} is not among {all:#?}"))
}

#[test]
fn what_was_changed_by_hand_is_named_with_who_when_and_a_diff_and_put_right() {
    const SITE: &str = "/etc/nginx/conf.d/00-hapair.conf";
    const DEFAULT: &str = "/etc/nginx/conf.d/default.conf";
    const VRRP: &str = "/etc/keepalived/keepalived.conf";
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let applied = now_ms();
    let before = twins.fingerprint(BACKUP);
    assert!(details(&twins, 1).is_empty());

    // The standby, so that nothing of this moves the VIP.
    let unit = engine_unit();
    twins.sh(
        BACKUP,
        &format!(
            "echo '# by hand' >> {SITE} && rm {VRRP} && echo '10.9.9.9 other' >> /etc/hosts && systemctl stop {unit} \
             && systemctl disable {unit} && rm {DEFAULT} && yum -y reinstall nginx"
        ),
    );
    let all = details(&twins, 1);
    let site = about(&all, SITE);
    assert_eq!(site["what"], "1 line changed", "{site}");
    assert_eq!(site["by"]["name"], "root", "{site}");
    assert_eq!(site["remedy"], "puts_right", "{site}");
    let at = site["when"]["at_ms"].as_u64().expect("a time");
    assert!(applied <= at && at <= now_ms(), "{site}");
    assert!(
        site["since_ms"].as_u64().is_some_and(|since| since <= applied),
        "{site}"
    );
    let diff = site["diff"].as_str().expect("a diff");
    assert!(
        diff.contains("\n+# by hand\n") && diff.contains("(as hapair left it)"),
        "{diff}"
    );
    let vrrp = about(&all, VRRP);
    assert_eq!(vrrp["what"], "deleted", "{vrrp}");
    assert!(vrrp["when"]["at_or_before_ms"].is_u64(), "{vrrp}");
    assert!(
        vrrp["diff"].as_str().is_some_and(|d| d.contains("auth_pass ********")),
        "{vrrp}"
    );
    let hosts = about(&all, "/etc/hosts");
    assert_eq!(hosts["remedy"], "keeps", "{hosts}");
    let service = about(&all, &format!("service {unit}"));
    assert_eq!(service["what"], "stopped, disabled", "{service}");
    assert!(
        service["when"]["at_ms"].as_u64().is_some_and(|at| applied <= at + 1000),
        "{service}"
    );
    // What the package manager put back is its own work.
    let default = about(&all, DEFAULT);
    assert_eq!(default["by"]["kind"], "package", "{default}");
    assert!(
        default["by"]["package"]
            .as_str()
            .is_some_and(|p| p.starts_with("nginx-")),
        "{default}"
    );

    twins
        .hapair(&["plan"])
        .expect(3)
        .says("changed by hand since 20")
        .says("1 line changed, by root at 20")
        .says("changed by the package nginx-")
        .says("+10.9.9.9 other")
        .says("apply keeps it");
    twins
        .hapair(&["status"])
        .expect(0)
        .says(&format!("drift: file {SITE}: changed by hand since 20"))
        .says("+# by hand");

    twins.apply().expect(0);
    assert!(details(&twins, 1).is_empty());
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    assert_eq!(
        twins.sh(
            BACKUP,
            &format!("systemctl is-active {unit}; systemctl is-enabled {unit}")
        ),
        "active\nenabled\n"
    );
    twins.sh(BACKUP, "sed -i '/10.9.9.9 other/d' /etc/hosts");
    let after = twins.fingerprint(BACKUP);
    let differs: Vec<&str> = after.lines().filter(|l| !before.contains(l)).collect();
    assert!(differs.is_empty(), "{differs:#?}");
}

#[test]
fn a_broken_lock_stops_the_first_operator_and_not_the_transaction_that_runs() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    // A reload that lasts as long as the test wants.
    let drop_in = "/run/systemd/system/nginx.service.d";
    twins.sh(
        BACKUP,
        &format!(
            "mkdir -p {drop_in} && printf '[Service]\\nExecReload=\\nExecReload=/bin/sh -c \"while [ ! -e /run/go ]; do \
             sleep 0.1; done; kill -HUP $MAINPID\"\\n' > {drop_in}/test.conf && systemctl daemon-reload"
        ),
    );
    twins.write(&example_with(&[("\"10.0.0.12:8080\"", "\"10.0.0.13:8080\"")]));
    let mut first = twins.spawn(&["apply", "--yes", "--output", "json"]);
    let mut hers = lines(&mut first);
    assert!(
        hers.any(|l| l.contains("\"resource_done\"")),
        "it ended before it changed anything"
    );
    twins
        .hapair(&["apply", "--yes"])
        .expect(1)
        .says("is locked by")
        .says("--break-lock");

    let mut second = twins.spawn(&["apply", "--yes", "--break-lock", "--output", "json"]);
    let mut his = lines(&mut second);
    assert!(his.any(|l| l.contains("took over the lock from")), "nothing was broken");
    assert!(
        his.any(|l| l.contains("to finish")),
        "the transaction was not waited for"
    );
    twins.sh(
        BACKUP,
        "grep -q 10.0.0.13 /etc/nginx/conf.d/00-hapair.conf && touch /run/go",
    );
    let said = hers.collect::<Vec<_>>().join("\n");
    assert_eq!(first.wait().expect("it ended").code(), Some(1), "{said}");
    assert!(said.contains("the operator lock was taken over by"), "{said}");
    let said = his.collect::<Vec<_>>().join("\n");
    let code = second.wait().expect("it ended").code();
    // What he had looked at may have moved while he waited.
    assert!(
        code == Some(0) || said.contains("the host has changed since the plan was made"),
        "{said}"
    );

    twins.apply().expect(0);
    twins.hapair(&["plan"]).expect(0).says("nothing to do");
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    for host in &status["hosts"].as_array().expect("hosts")[..] {
        let all = host["transactions"].as_array().expect("a list");
        assert!(all.iter().all(|t| t["outcome"] == "applied"), "{all:#?}");
        assert_eq!(host["drift"].as_array().map(Vec::len), Some(0), "{host}");
    }
}

#[test]
fn what_hapair_itself_stopped_is_not_blamed_on_someone_else() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]));
    // The standby is silent while the owner changes, and is cut when it begins to change itself.
    twins.hold_after(BACKUP, 1);
    let mut child = twins.spawn(&["apply", "--yes"]);
    wait_until("the standby changes", Duration::from_secs(60), || {
        twins.held(BACKUP) == "held"
    });
    twins.kill_executor(BACKUP);
    twins.let_go(BACKUP);
    assert_eq!(child.wait().expect("hapair ends").code(), Some(1));
    let name = engine_unit().trim_end_matches(".service").to_owned();
    let all = details(&twins, 1);
    let engine = about(&all, &format!("service {name}"));
    assert_eq!(engine["by"]["kind"], "hapair", "{engine}");
    twins.apply().expect(0);
    assert!(details(&twins, 1).is_empty());
    // A later stop is somebody else's.
    twins.sh(BACKUP, &format!("systemctl stop {name}"));
    let all = details(&twins, 1);
    let engine = about(&all, &format!("service {name}"));
    assert_eq!(engine["by"], Value::Null, "{engine}");
}
